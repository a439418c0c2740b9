"""One request's way through the router: its head, body and trailers to the try that goes on, the answer back to the stream."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.router_attempt import Attempt, grpc_outcome, is_grpc_response
from mizzen.proxy.filters.router_tries import Tries, count_vcluster
from mizzen.proxy.http import retry
from mizzen.proxy.http.clock import NEVER
from mizzen.proxy.http.grpc import grpc_timeout, is_grpc
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.http.rewrite import rewrite
from mizzen.proxy.upstream import hashing

if TYPE_CHECKING:
    from mizzen.proxy.http.route import Route, VirtualHost


class Exchange(Tries):
    """One request in the router. Holds the body while it may have to be sent again."""

    __slots__ = ()

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

    def pause_response(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.pause_reading()
            self.cluster.stats.upstream_flow_control_paused_reading_total += 1

    def resume_response(self) -> None:
        if self.attempt is not None and self.attempt.connection is not None:
            self.attempt.connection.resume_reading()
            self.cluster.stats.upstream_flow_control_resumed_reading_total += 1
