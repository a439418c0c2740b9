"""The router: the last filter. Sends the request to a host of the route's cluster, tries again where that helps, hands the
answer back.

`Router` is the configured filter, `Exchange` one request's way through it, `Attempt` one try at one host.
Not here: which route (http/route.py), which host (upstream/balancer.py), what is retried (http/retry.py).
"""

from __future__ import annotations

import random
from time import monotonic
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.http import info as flags
from mizzen.proxy.http import retry
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.http.rewrite import redirect_location, rewrite, set_host
from mizzen.proxy.http.stream import NEVER, grpc_timeout, is_grpc
from mizzen.proxy.upstream import hashing
from mizzen.proxy.upstream.h1_client import H1Client
from mizzen.proxy.upstream.request import UpstreamRequest

if TYPE_CHECKING:
    from mizzen.proxy.http.route import Route, RouteAction, VirtualHost
    from mizzen.proxy.http.stream import Stream
    from mizzen.proxy.upstream.cluster import Cluster
    from mizzen.proxy.upstream.host import Host

CONNECT_FAILURES = ("local connection failure", "remote connection failure", "connection timeout")
FLAG_OF = {
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


class Router:
    """envoy.filters.http.router: an HttpFilter by its hooks; no subclass, so that it can be compiled."""

    def __init__(self, suppress_envoy_headers: bool = False, respect_expected: bool = False) -> None:
        self.decodes = True
        self.encodes = self.reads_request_data = self.reads_response_data = self.finishes = self.off = False
        self.name = "envoy.filters.http.router"
        self.suppress = suppress_envoy_headers
        self.respect_expected = respect_expected

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        route = stream.route
        hcm = stream.hcm
        hcm.hot.rq_total += 1
        if route is None:
            hcm.stats.no_route += 1
            stream.local_reply(404, "", "route_not_found", flags.NO_ROUTE_FOUND)
            return False
        action = route.action
        if action is None:
            self._no_upstream(stream, headers, route)
            return False
        cluster = stream.cluster
        if cluster is None:
            hcm.stats.no_cluster += 1
            stream.local_reply(action.cluster_not_found_code, "", "cluster_not_found", flags.NO_CLUSTER_FOUND)
            return False
        if cluster.drop_share and chance(cluster.drop_share):
            self._drop(stream, cluster)
            return False
        exchange = stream.router = Exchange(self, stream, action, cluster)
        exchange.start(headers, end)
        return False

    @staticmethod
    def _drop(stream: Stream, cluster: Any) -> None:
        """The endpoints' assignment says to refuse a share of the requests."""
        stats = cluster.stats
        key = 503 << 2 | (1 if stream.internal else 0)
        stats.outcomes[key] = stats.outcomes.get(key, 0) + 1
        stats.upstream_rq_completed += 1
        if cluster.drop_share < 1:
            said = {"x-envoy-drop-overload": "true"}
            stream.local_reply(503, "drop overload", "drop_overload", flags.DROP_OVERLOAD, said)
            return
        said = {"x-envoy-unconditional-drop-overload": "true"}
        details = "unconditional_drop_overload"
        stream.local_reply(503, "unconditional drop overload", details, flags.UNCONDITIONAL_DROP_OVERLOAD, said)

    @staticmethod
    def _no_upstream(stream: Stream, headers: RequestHeaders, route: Any) -> None:
        def modify(response: ResponseHeaders) -> None:
            apply(route.response_ops, response, stream)

        direct = route.direct
        if direct is not None:
            stream.hcm.stats.rq_direct_response += 1
            body = direct.body.decode("utf-8", "surrogateescape")
            if direct.body_format is not None:
                stream.local_body = body
                body = direct.body_format(stream)
            kind = direct.content_type if direct.body_format is not None else None
            extra = None
            if direct.status == 201 or 300 <= direct.status < 400:  # RFC 9110, section 10.2.2
                scheme = headers.get("x-forwarded-proto") or headers.scheme or "http"
                extra = {"location": f"{scheme}://{headers.authority or ''}{headers.path}"}
            stream.local_reply(direct.status, body, "direct_response", 0, extra, modify=modify, content_type=kind)
        elif route.redirect is not None:
            stream.hcm.stats.rq_redirect += 1
            location = redirect_location(route, headers)
            stream.local_reply(
                route.redirect.code, "", "direct_response", headers={"location": location}, modify=modify
            )
        else:
            stream.hcm.stats.no_route += 1
            stream.local_reply(404, "", "route_not_found", flags.NO_ROUTE_FOUND)


class Exchange:
    """One request in the router. Holds the body while it may have to be sent again."""

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

    # --- the request ---

    def start(self, headers: RequestHeaders, end: bool) -> None:
        stream, action = self.stream, self.action
        d = headers.d
        self.headers = headers
        self.end = end
        timeout = action.timeout
        per_try = action.retry.per_try if action.retry is not None else 0.0
        if "x-envoy-upstream-rq-timeout-ms" in d or "x-envoy-upstream-rq-per-try-timeout-ms" in d:
            timeout, per_try = self._header_timeouts(headers, timeout, per_try)
        if action.grpc_timeout_header_max is not None and action.max_stream_duration == -1.0 and is_grpc(headers):
            asked = grpc_timeout(d.get("grpc-timeout")) or 0.0
            most = action.grpc_timeout_header_max
            timeout = min(asked, most) if most and asked else asked or most
            if action.grpc_timeout_offset and timeout > action.grpc_timeout_offset:
                timeout -= action.grpc_timeout_offset
        if timeout and per_try >= timeout:
            per_try = 0.0
        self.timeout, self.per_try = timeout, per_try
        expected = per_try or timeout
        if not self.router.suppress and expected:
            headers.set("x-envoy-expected-rq-timeout-ms", str(int(expected * 1000)))
        vhost: VirtualHost = stream.vhost
        self.policy = retry.for_request(action.retry, headers)
        if self.policy is not None:
            self.retries_left = self.policy.num
            self.per_try_idle = self.policy.per_try_idle
            self.body = []
            self.limit = stream.route.buffer_limit if stream.route.buffer_limit is not None else stream.codec.limit()
            if not retry.STRIPPED_SET.isdisjoint(d):
                for name in retry.STRIPPED:
                    headers.remove(name)
        if vhost.attempt_count:
            headers.set("x-envoy-attempt-count", "1")
        if vhost.virtual_clusters:
            self.vcluster = next(group for test, group in vhost.virtual_clusters if test(headers))
            self.vcluster.upstream_rq_total += 1
        rewrite(action, stream.target, headers, stream)
        if stream.request_ops:
            apply(stream.request_ops, headers, stream)
        if action.hash_policies:
            stream.lb_hash = hashing.request_hash(action.hash_policies, stream)
        stream.lb_match = stream.target.metadata_match or action.metadata_match
        if end:
            self._request_complete()
        if action.mirrors:
            self._mirror(headers, end)
        self.try_once()

    def _header_timeouts(self, headers: RequestHeaders, timeout: float, per_try: float) -> tuple[float, float]:
        d = headers.d
        text = d.get("x-envoy-upstream-rq-timeout-ms", "")
        if text.isdigit():
            timeout = int(text) / 1000
        text = d.get("x-envoy-upstream-rq-per-try-timeout-ms", "")
        if text.isdigit():
            per_try = int(text) / 1000
        headers.remove("x-envoy-upstream-rq-timeout-ms")
        headers.remove("x-envoy-upstream-rq-per-try-timeout-ms")
        return timeout, per_try

    def _request_complete(self) -> None:
        """The route's timeout runs from here."""
        if self.timeout:
            stream = self.stream
            deadline = stream.deadline_route = monotonic() + self.timeout
            if deadline < stream.next_deadline:
                stream.next_deadline = deadline

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
        attempt = self.attempt = Attempt(self, host)
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

    def request_data(self, data: bytes, end: bool) -> None:
        if end:
            self.end = True
            self._request_complete()
        if self.body is not None:
            self._keep(data)
        if self.mirrors:
            for mirror in self.mirrors:
                mirror.data(data, end)
        attempt = self.attempt
        if attempt is not None:
            attempt.data(data, end)
            if end and (self.per_try or self.per_try_idle) and attempt is self.attempt:
                self._arm_try()
        elif self.body is None:
            self.body = [data]  # nothing to send it on yet and nothing kept: keep it for the attempt to come

    def _keep(self, data: bytes) -> None:
        self.body_size += len(data)
        if self.body_size > self.limit:
            self.cluster.stats.retry_or_shadow_abandoned += 1
            self.policy = None
            attempt = self.attempt
            if attempt is not None and attempt.connection is None:
                attempt.backlog = list(self.body or ())
            self.body = None
        elif self.body is not None and data:
            self.body.append(data)

    def request_trailers(self, trailers: Headers) -> None:
        self.end = True
        self.trailers = trailers
        self._request_complete()
        if self.mirrors:
            for mirror in self.mirrors:
                mirror.data(b"", True)
        if self.attempt is not None:
            self.attempt.trailers_ready(trailers)
            if self.per_try or self.per_try_idle:
                self._arm_try()

    def flush_request(self) -> None:
        attempt = self.attempt
        if attempt is not None and attempt.connection is not None and attempt.head_waits:
            attempt.head_waits = False
            attempt.connection.flush()

    def _mirror(self, headers: RequestHeaders, end: bool) -> None:
        from mizzen.proxy.filters.mirror import start_mirrors

        self.mirrors = start_mirrors(self, headers, end)

    # --- the answer ---

    def on_headers(self, attempt: Attempt, response: ResponseHeaders, end: bool) -> None:
        stream, cluster = self.stream, self.cluster
        host = attempt.host
        status = response.status
        self.deadline_try = NEVER
        now = monotonic()
        stream.first_upstream_rx = now
        if cluster.outlier is not None:
            code = status
            if is_grpc_response(response):
                code = grpc_outcome(response, status)
            cluster.outlier.result(host, code)
        if "x-envoy-immediate-health-check-fail" in response.d and cluster.health is not None:
            cluster.health.immediate_failure(host)
        policy = self.policy
        if policy is not None and not self.sent_early:
            wanted = retry.on_headers(policy, response)
            if wanted and self._may_retry():
                count_vcluster(cluster.retry_stats, status)
                host.rq_error += 1
                wait = retry.rate_limited_backoff(policy, response) if policy.rate_limited_headers else None
                attempt.abort(end)
                self.attempt = None
                self._retry(attempt, wait)
                return
            if self.retrying and not wanted:
                cluster.stats.upstream_rq_retry_success += 1
                if self.vcluster is not None:
                    self.vcluster.upstream_rq_retry_success += 1
            self._release_retry()
            self.policy = self.body = None
        self._count_codes(status, response, attempt)
        if status >= 500:
            host.rq_error += 1
        else:
            host.rq_success += 1
        if not self.router.suppress and not stream.upgrade:
            response.d["x-envoy-upstream-service-time"] = str(int((now - self.started) * 1000))
        vhost: VirtualHost = stream.vhost
        if vhost.attempt_count_in_response:
            response.d["x-envoy-attempt-count"] = str(stream.attempts)
        stream.response = response
        stream.code = status
        ops = stream.response_ops
        if ops:
            stream.response, stream.code = response, status
            apply(ops, response, stream)
        if self.action.internal_redirect is not None and status in (301, 302, 303, 307, 308):
            from mizzen.proxy.filters.internal_redirect import redirected

            if redirected(self, attempt, response, end):
                return
        stream.details = "via_upstream"
        if status == 101 or (stream.upgrade and status < 300):
            stream.deadline_route = NEVER
            self.body = None
        if end:
            self._complete(now)
        stream.respond(response, end)

    def _count_codes(self, status: int, response: ResponseHeaders, attempt: Attempt) -> None:
        hot = self.cluster.hot
        outcomes = hot.outcomes
        hot.upstream_rq_completed += 1
        key = status << 2 | (1 if self.stream.internal else 0)
        if attempt.host.canary or response.d.get("x-envoy-upstream-canary") == "true":
            key |= 2
        outcomes[key] = outcomes.get(key, 0) + 1
        if self.vcluster is not None:
            count_vcluster(self.vcluster, status)
        route: Route = self.stream.route
        group = route.stats
        if group is not None:
            count_vcluster(group, status)

    def on_data(self, data: bytes, end: bool) -> None:
        if end:
            self._complete(monotonic())
        self.stream.respond_data(data, end)

    def on_trailers(self, trailers: Headers) -> None:
        self._complete(monotonic())
        self.stream.respond_trailers(trailers)

    def _complete(self, now: float) -> None:
        """The upstream has said everything."""
        stream = self.stream
        stream.last_upstream_rx = now
        self.cluster.hot.upstream_rq_time.record((now - self.started) * 1000)
        if self.vcluster is not None:
            self.vcluster.upstream_rq_time.record((now - self.started) * 1000)
        self.attempt = None
        stream.router = None
        self._release_retry()

    def on_early(self, headers: ResponseHeaders) -> None:
        if headers.status == 100 and self.stream.hcm.proxy_100_continue and not self.sent_early:
            self.sent_early = True
            self.stream.respond_early(headers)

    # --- failures ---

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

    # --- retries ---

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

    # --- back-pressure and the end ---

    def pause_response(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()
            self.cluster.stats.upstream_flow_control_paused_reading_total += 1

    def resume_response(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()
            self.cluster.stats.upstream_flow_control_resumed_reading_total += 1

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


class Attempt(UpstreamRequest):
    """One try at one host: between a pool's connection and the exchange."""

    __slots__ = ("answered", "backlog", "connection", "exchange", "head_waits", "host", "pending_in", "sent")

    def __init__(self, exchange: Exchange, host: Host) -> None:
        self.exchange: Exchange | None = exchange
        self.host = host
        self.connection: Any = None
        self.pending_in: Any = None
        self.backlog: list[bytes] | None = None
        self.head_waits = False
        self.answered = False
        self.sent = False

    # --- from the pool ---

    def pool_ready(self, connection: Any) -> None:
        exchange = self.exchange
        if exchange is None:  # given up while it waited
            connection.cancel(self)
            return
        self.connection = connection
        stream = exchange.stream
        self.sent = True
        now = monotonic()
        if not exchange.started:
            exchange.started = now
        stream.first_upstream_tx = now
        if isinstance(connection, H1Client):
            stream.upstream_tls = connection.tls
            stream.upstream_protocol = connection.protocol
            stream.upstream_local = connection.local
        else:
            stream.upstream_tls = connection.tls
            stream.upstream_protocol = connection.protocol
            stream.upstream_local = connection.local
        end = exchange.end
        outlier = exchange.cluster.outlier
        if outlier is not None and outlier.split:
            outlier.local(self.host, True)
        body = exchange.body if exchange.body is not None else self.backlog
        trailers = exchange.trailers
        if not body:
            done = end and trailers is None
            if done:
                stream.last_upstream_tx = now
            else:
                self.head_waits = True
            headers = exchange.headers
            if isinstance(connection, H1Client) and headers is not None:
                connection.send_headers(headers, done)
            else:
                connection.send_headers(headers, done)
        else:
            connection.send_headers(exchange.headers, False)
            data = b"".join(body)
            connection.send_data(data, end and trailers is None)
            if end:
                stream.last_upstream_tx = now
        if trailers is not None and self.connection is not None:
            connection.send_trailers(trailers)
        if self.backlog is not None:
            self.backlog = None
        if exchange.body is not None and exchange.policy is None:
            exchange.body = None
        if self.head_waits and not stream.codec.in_turn():
            self.head_waits = False
            connection.flush()
        if stream.codec.blocked():
            connection.pause_reading()

    def pool_failure(self, reason: str, text: str | None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_reset(self, reason, text)

    # --- from the exchange ---

    def data(self, data: bytes, end: bool) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if self.connection is not None:
            self.head_waits = False
            if end:
                exchange.stream.last_upstream_tx = monotonic()
            self.connection.send_data(data, end)
        elif exchange.body is None:
            if self.backlog is None:
                self.backlog = []
            self.backlog.append(data)
            codec = exchange.stream.codec
            if sum(map(len, self.backlog)) > codec.limit():
                codec.pause_request()

    def trailers_ready(self, trailers: Headers) -> None:
        if self.connection is not None:
            self.head_waits = False
            self.connection.send_trailers(trailers)

    def abort(self, complete: bool) -> None:
        """No longer interested. `complete`: the answer was there in full already."""
        self.exchange = None
        if self.pending_in is not None:
            self.pending_in.cancel(self)
        elif self.connection is not None and not complete:
            self.connection.cancel(self)

    # --- from the connection ---

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        self.answered = True
        exchange = self.exchange
        if exchange is not None:
            exchange.on_headers(self, response, end)

    def on_early(self, response: ResponseHeaders) -> None:
        if self.exchange is not None:
            self.exchange.on_early(response)

    def on_data(self, data: bytes, end: bool) -> None:
        exchange = self.exchange
        if exchange is not None:
            if end:
                self.exchange = None
            exchange.on_data(data, end)

    def on_trailers(self, trailers: Headers) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_trailers(trailers)

    def on_reset(self, reason: str, text: str | None) -> None:
        exchange, self.exchange = self.exchange, None
        self.connection = None
        if exchange is not None:
            exchange.on_reset(self, reason, text)

    def flush_response(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.stream is not None:
            exchange.stream.flush_response()

    def pause_request(self) -> None:
        if self.exchange is not None:
            self.exchange.stream.codec.pause_request()

    def resume_request(self) -> None:
        if self.exchange is not None:
            self.exchange.stream.codec.resume_request()


def count_vcluster(group: Any, status: int) -> None:
    group.outcomes[status << 2] = group.outcomes.get(status << 2, 0) + 1
    group.count("upstream_rq_completed")


def is_grpc_response(response: ResponseHeaders) -> bool:
    kind = response.d.get("content-type")
    return kind is not None and kind.startswith("application/grpc")


GRPC_TO_HTTP = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,  # noqa: E501
}  # fmt: skip


def grpc_outcome(response: ResponseHeaders, status: int) -> int:
    """The HTTP status that outlier detection takes a trailers-only gRPC answer for."""
    text = response.d.get("grpc-status")
    return GRPC_TO_HTTP.get(int(text), 500) if text is not None and text.isdigit() else status


def chance(share: float) -> bool:
    return random.random() < share
