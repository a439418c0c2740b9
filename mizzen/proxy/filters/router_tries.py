"""The router's tries: a host for each, time limits, retries and their budget, what a failure answers.

Not here: the messages (router_exchange.py), what is retried (http/retry.py), which host (upstream/balancer.py).
"""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.router_attempt import Attempt
from mizzen.proxy.http import info as flags
from mizzen.proxy.http import retry
from mizzen.proxy.http.clock import NEVER
from mizzen.proxy.http.rewrite import set_host

if TYPE_CHECKING:
    from mizzen.proxy.filters.router import Router
    from mizzen.proxy.filters.router_exchange import Exchange
    from mizzen.proxy.http.route import RouteAction
    from mizzen.proxy.http.stream import Stream
    from mizzen.proxy.upstream.cluster import Cluster
    from mizzen.proxy.upstream.host import Host

CONNECT_FAILURES: Final = ("local connection failure", "remote connection failure", "connection timeout")


FLAG_OF: Final = {
    "local connection failure": flags.UPSTREAM_CONNECTION_FAILURE,
    "remote connection failure": flags.UPSTREAM_CONNECTION_FAILURE,
    "connection timeout": flags.UPSTREAM_CONNECTION_FAILURE,
    "connection termination": flags.UPSTREAM_CONNECTION_TERMINATION,
    "local reset": flags.LOCAL_RESET,
    "remote reset": flags.UPSTREAM_REMOTE_RESET,
    "remote refused stream reset": flags.UPSTREAM_REMOTE_RESET,
    "overflow": flags.UPSTREAM_OVERFLOW,
    "protocol error": flags.UPSTREAM_PROTOCOL_ERROR,
}


class Tries:
    """One request's tries at hosts: which host, how long, whether once more. The base of Exchange, which hands messages through."""

    __slots__ = (
        "action",
        "attempt",
        "body",
        "body_size",
        "cluster",
        "deadline_try",
        "end",
        "headers",
        "limit",
        "mirrors",
        "per_try",
        "per_try_idle",
        "policy",
        "retries_left",
        "retry_held",
        "retry_timer",
        "retrying",
        "router",
        "sent_early",
        "started",
        "stream",
        "timed_out",
        "timeout",
        "trailers",
        "tried",
        "vcluster",
    )

    def __init__(self, router: Router, stream: Stream, action: RouteAction, cluster: Cluster) -> None:
        self.router = router
        self.stream = stream
        self.action = action
        self.cluster = cluster
        self.attempt: Attempt | None = None
        self.body: list[bytes] | None = None
        self.body_size = 0
        self.limit = 0
        self.end = False
        self.trailers: Headers | None = None
        self.policy: retry.RetryPolicy | None = None
        self.retries_left = 0
        self.retrying = False
        self.retry_held = False
        self.retry_timer: Any = None
        self.mirrors: list[Any] | None = None
        self.deadline_try = NEVER
        self.per_try = 0.0
        self.per_try_idle = 0.0
        self.timeout = 0.0
        self.timed_out = False
        self.tried: list[Host] | None = None
        self.started = 0.0
        self.headers: RequestHeaders | None = None
        self.vcluster: Any = None
        self.sent_early = False

    def try_once(self) -> None:
        """One attempt: a host, a connection, the request on it."""
        stream, cluster = self.stream, self.cluster
        stream.attempts += 1
        host = self._host()
        if host is None:
            cluster.stats.upstream_cx_none_healthy += 1
            self._fail_local(503, "no healthy upstream", "no_healthy_upstream", flags.NO_HEALTHY_UPSTREAM)
            return
        stream.host = host
        if self.action.auto_host_rewrite and host.hostname and self.headers is not None:
            set_host(self.action, self.headers, host.hostname)
        attempt = self.attempt = Attempt(cast("Exchange", self), host)  # nothing else has this base
        if self.per_try or self.per_try_idle:
            self._arm_try()
        if (
            stream.upgrade
            and "connect terminate" in self.action.upgrades
            and self.headers is not None
            and self.headers.method == "CONNECT"
        ):
            from mizzen.proxy.filters.connect_tunnel import Tunnel

            Tunnel(cluster, host, attempt).start(stream)
            return
        cluster.pool(host, stream, self.action.priority).request(attempt)

    def _host(self) -> Host | None:
        policy = self.policy
        host: Host | None = self.cluster.pick(self.stream)
        tried = self.tried
        if host is None or policy is None or not tried:
            return host
        if policy.previous_priorities:
            host = self.cluster.balancer.pick_excluding(self.stream, tried, policy.previous_priorities) or host
        if policy.previous_hosts:
            for i in range(policy.host_attempts):
                if host not in tried:
                    break
                self.stream.lb_attempt = i + 1  # consistent hashing steps on by it
                host = self.cluster.pick(self.stream)
            self.stream.lb_attempt = 0
        return host

    def _arm_try(self) -> None:
        if not self.end:
            return
        now = monotonic()
        waits = [wait for wait in (self.per_try, self.per_try_idle) if wait]
        self.deadline_try = now + min(waits)
        self.stream.next_deadline = min(self.stream.next_deadline, self.deadline_try)

    def on_reset(self, attempt: Attempt, reason: str, text: str | None) -> None:
        stream, cluster = self.stream, self.cluster
        self.attempt = None
        self.deadline_try = NEVER
        if text is not None:
            stream.upstream_failure = text
        if cluster.outlier is not None and reason != "overflow":
            cluster.outlier.local(attempt.host, False)
        if not attempt.answered:
            attempt.host.rq_error += reason != "overflow"
        if attempt.answered:
            stream.flags |= FLAG_OF.get(reason, 0)
            self._release_retry()
            if reason == "remote reset":
                cluster.stats.upstream_rq_rx_reset += 1
            stream.hcm.stats.rq_reset_after_downstream_response_started += 1
            stream.upstream_reset(f"upstream_reset_after_response_started{{{reason}}}")
            return
        if reason == "remote reset":
            cluster.stats.upstream_rq_rx_reset += 1
        policy = self.policy
        if (
            policy is not None
            and not stream.response_started
            and retry.on_reset(policy, reason, attempt.sent)
            and self._may_retry()
        ):
            self._retry(attempt, None)
            return
        self._release_retry()
        code = 502 if reason == "protocol error" else 503
        self._charge(code)
        detail = reason if text is None or reason not in CONNECT_FAILURES else f"{reason}|{text}"
        said = "retried and the latest reset reason" if self.retrying else "reset reason"
        body = f"upstream connect error or disconnect/reset before headers. {said}: {reason}"
        self._fail_local(
            code,
            body,
            f"upstream_reset_before_response_started{{{detail}}}",
            FLAG_OF.get(reason, 0),
            overloaded=reason == "overflow",
        )

    def _charge(self, status: int) -> None:
        """Count a local answer as the cluster's, as Envoy does."""
        stats = self.cluster.stats
        stats.upstream_rq_completed += 1
        key = status << 2 | (1 if self.stream.internal else 0)
        stats.outcomes[key] = stats.outcomes.get(key, 0) + 1
        if self.vcluster is not None:
            count_vcluster(self.vcluster, status)

    def _fail_local(self, code: int, body: str, details: str, flag: int, overloaded: bool = False) -> None:
        stream = self.stream
        attempts = str(stream.attempts)
        in_response = stream.vhost.attempt_count_in_response

        def modify(response: ResponseHeaders) -> None:
            if in_response:
                response.set("x-envoy-attempt-count", attempts)
            if overloaded:
                response.set("x-envoy-overloaded", "true")

        if code == 503 and details == "no_healthy_upstream":
            self._charge(503)
        stream.router = None
        self.abandon()
        stream.local_reply(code, body, details, flag, modify=modify)

    def route_timeout(self) -> None:
        """The route's timeout struck."""
        stream, cluster = self.stream, self.cluster
        cluster.stats.upstream_rq_timeout += 1
        if self.vcluster is not None:
            self.vcluster.upstream_rq_timeout += 1
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            if cluster.outlier is not None and not attempt.answered:
                cluster.outlier.local(attempt.host, False, 504)
            attempt.host.rq_timeout += 1
            attempt.abort(False)
        stream.flags |= flags.UPSTREAM_REQUEST_TIMEOUT
        if stream.response_started:
            stream.upstream_reset("response_timeout")
            return
        self._charge(504)
        self._fail_local(504, "upstream request timeout", "response_timeout", 0)

    def try_timeout(self, now: float) -> None:
        """One attempt took too long."""
        attempt = self.attempt
        if attempt is None or now < self.deadline_try:
            return
        self.deadline_try = NEVER
        if attempt.answered:
            return
        cluster = self.cluster
        idle = not self.per_try or (self.per_try_idle and self.per_try_idle < self.per_try)
        if idle:
            cluster.stats.upstream_rq_per_try_idle_timeout += 1
        else:
            cluster.stats.upstream_rq_per_try_timeout += 1
        if cluster.outlier is not None:
            cluster.outlier.local(attempt.host, False, 504)
        attempt.host.rq_timeout += 1
        self.attempt = None
        attempt.abort(False)
        policy = self.policy
        if policy is not None and policy.on & (retry.R_5XX | retry.R_GATEWAY | retry.R_RESET) and self._may_retry():
            if self.stream.vhost.is_timeout_retry and self.headers is not None:
                self.headers.set("x-envoy-is-timeout-retry", "true")
            self._retry(attempt, None)
            return
        self.stream.flags |= flags.UPSTREAM_REQUEST_TIMEOUT
        self._release_retry()
        self._charge(504)
        details = "upstream_per_try_idle_timeout" if idle else "upstream_per_try_timeout"
        self._fail_local(504, "upstream request timeout", details, flags.UPSTREAM_REQUEST_TIMEOUT)

    def _may_retry(self) -> bool:
        """Whether one more attempt is allowed; counts why not."""
        cluster = self.cluster
        self._release_retry()
        if self.retries_left <= 0:
            cluster.stats.upstream_rq_retry_limit_exceeded += 1
            if self.vcluster is not None:
                self.vcluster.upstream_rq_retry_limit_exceeded += 1
            self.stream.flags |= flags.UPSTREAM_RETRY_LIMIT_EXCEEDED
            return False
        resources = cluster.resources[self.action.priority]
        if resources.retries >= resources.retry_limit():
            cluster.stats.upstream_rq_retry_overflow += 1
            if self.vcluster is not None:
                self.vcluster.upstream_rq_retry_overflow += 1
            self.stream.flags |= flags.UPSTREAM_OVERFLOW
            return False
        resources.retries += 1
        self.retry_held = True
        self.retries_left -= 1
        return True

    def _retry(self, attempt: Attempt, wait: float | None) -> None:
        cluster = self.cluster
        policy = self.policy
        assert policy is not None
        self.retrying = True
        cluster.stats.upstream_rq_retry += 1
        if self.vcluster is not None:
            self.vcluster.upstream_rq_retry += 1
        if self.tried is None:
            self.tried = []
        self.tried.append(attempt.host)
        if wait is None:
            cluster.stats.upstream_rq_retry_backoff_exponential += 1
            wait = retry.backoff(policy, self.stream.attempts)
        else:
            cluster.stats.upstream_rq_retry_backoff_ratelimited += 1
        self.retry_timer = cluster.loop.call_later(wait, self._retry_now)

    def _retry_now(self) -> None:
        self.retry_timer = None
        stream = self.stream
        if stream is None or stream.done:
            return
        headers = self.headers
        assert headers is not None
        if stream.vhost.attempt_count:
            headers.set("x-envoy-attempt-count", str(stream.attempts + 1))
        stream.upstream_failure = None
        self.try_once()

    def _release_retry(self) -> None:
        """Give back what the retry that is over took of the cluster's retries."""
        if self.retry_held:
            self.retry_held = False
            self.cluster.resources[self.action.priority].retries -= 1

    def abandon(self) -> None:
        """The stream no longer needs an answer."""
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.abort(False)
        if self.retry_timer is not None:
            self.retry_timer.cancel()
            self.retry_timer = None
        self._release_retry()
        self.body = None


def count_vcluster(group: Any, status: int) -> None:
    group.outcomes[status << 2] = group.outcomes.get(status << 2, 0) + 1
    group.count("upstream_rq_completed")


def chance(share: float) -> bool:
    return random.random() < share
