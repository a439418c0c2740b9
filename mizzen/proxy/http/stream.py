"""One HTTP request on its way through the filter chain, and its answer on its way back.

A codec (http/h1_server.py, http/h2_server.py) makes a Stream, calls `on_request`, `on_data`, `on_trailers`, `on_reset`; the
stream writes its answer with the codec's `send_headers`, `send_data`, `send_trailers`, `reset`. Filters are in filters/.
Deadlines are plain times that the server's sweeper looks at (`next_deadline`, `expire`), not timers.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.base import DISABLED
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.clock import date
from mizzen.proxy.http.codec import Codec
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.http.local_reply import grpc_reply, grpc_status_for
from mizzen.proxy.http.mutate import mutate_request, mutate_response, normalise_path

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm
    from mizzen.proxy.filters.router_exchange import Exchange
    from mizzen.proxy.http.route import RouteTable

NEVER = float("inf")


class Stream(StreamInfo):
    """An active request. `at` is the decoder filter that holds it while `held` is True."""

    __slots__ = (
        "at",
        "back_at",
        "back_end",
        "back_held",
        "back_parts",
        "back_trailers",
        "close_after",
        "codec",
        "deadline_duration",
        "deadline_request",
        "deadline_route",
        "done",
        "expected_timeout",
        "hcm",
        "held",
        "held_parts",
        "held_trailers",
        "idle_timeout",
        "internal",
        "lb_attempt",
        "lb_hash",
        "lb_match",
        "local",
        "next_deadline",
        "per_filter",
        "request_end",
        "request_ops",
        "response_end",
        "response_ops",
        "response_started",
        "route_done",
        "router",
        "state",
        "target",
        "touched",
        "upgrade",
    )

    def __init__(self, hcm: Hcm, codec: Codec) -> None:
        now = monotonic()
        StreamInfo.__init__(self, codec.conn, now)
        self.hcm = hcm
        self.codec = codec
        self.request_end = False
        self.response_started = False
        self.response_end = False
        self.done = False
        self.local = False
        self.close_after = False
        self.internal = False
        self.route_done = False
        self.router: Exchange | None = None
        self.target: Any = None
        self.per_filter: dict[str, Any] | None = None
        self.request_ops: Any = ()
        self.response_ops: Any = ()
        self.state: dict[Any, Any] | None = None
        self.at = 0
        self.held = False
        self.held_parts: list[bytes] | None = None
        self.held_trailers: Headers | None = None
        self.back_at = 0
        self.back_held = False
        self.back_end = False
        self.back_parts: list[bytes] | None = None
        self.back_trailers: Headers | None = None
        self.lb_hash: int | None = None
        self.lb_attempt = 0
        self.lb_match: dict[str, Any] | None = None
        self.upgrade = False
        self.touched = now
        self.idle_timeout = hcm.stream_idle_timeout
        self.deadline_route = NEVER
        self.deadline_duration = now + hcm.max_stream_duration if hcm.max_stream_duration else NEVER
        self.deadline_request = now + hcm.request_timeout if hcm.request_timeout else NEVER
        self.next_deadline = 0.0  # sweep looks at it once and sets it
        self.expected_timeout = 0.0

    # --- the request, from the codec ---

    def on_request(self, request: RequestHeaders, end: bool) -> None:
        hcm = self.hcm
        hot = hcm.hot
        hot.downstream_rq_total += 1
        hot.downstream_rq_active += 1
        self.request = request
        self.request_end = end
        hcm.active.add(self)
        if end:
            self.last_downstream_rx = monotonic()
            self.deadline_request = NEVER
        if request.authority is None:
            self.direct_reply(400, "", "missing_host_header", close=True)
            return
        if request.path[:1] != "/":
            if request.method != "CONNECT":
                self.direct_reply(404, "", "absolute_path_rejected", count="downstream_rq_non_relative_path")
                return
        elif "#" in request.path:
            self.direct_reply(400, "", "path_normalization_failed", count="downstream_rq_failed_path_normalization")
            return
        outcome = normalise_path(hcm, request)
        if outcome == "reject":
            self.direct_reply(400, "", "path_normalization_failed", count="downstream_rq_failed_path_normalization")
            return
        if hcm.strip_any_port or hcm.merge_host_port or hcm.strip_trailing_dot:
            self._strip_host(request)
        mutate_request(hcm, self, request)
        if outcome == "redirect":
            hcm.stats.downstream_rq_redirected_with_normalized_path += 1
            self.direct_reply(307, "", "path_normalization_redirect", headers={"location": request.path})
            return
        self.stream_id = request.d.get("x-request-id")
        self.resolve_route()
        if request.protocol is not None or request.method == "CONNECT":
            if not self._upgrade_allowed(request):
                hcm.stats.downstream_rq_ws_on_non_ws_route += 1
                self.local_reply(403, "", "upgrade_failed", close=True)
                return
            self.upgrade = True
        self._decode(0, end)

    def _strip_host(self, request: RequestHeaders) -> None:
        host = request.authority or ""
        if self.hcm.strip_trailing_dot and host.endswith("."):
            host = host[:-1]
        name, colon, port = host.rpartition(":")
        if colon and port.isdigit() and (self.hcm.strip_any_port or int(port) == self.conn.local[1]):
            host = name
        request.authority = host

    def _upgrade_allowed(self, request: RequestHeaders) -> bool:
        kind = (
            "connect" if request.method == "CONNECT" and request.protocol is None else (request.protocol or "").lower()
        )
        route = self.route
        if route is not None and route.action is not None and kind in route.action.upgrades:
            return bool(route.action.upgrades[kind])
        return bool(self.hcm.upgrades.get(kind, False))

    def resolve_route(self) -> None:
        """Find virtual host, route and cluster for the request as it is now."""
        self.route_done = True
        table: RouteTable | None = self.hcm.routes.table
        request = self.request
        self.route = self.target = self.cluster = None
        self.upstream_cluster_name = None
        off = self.hcm.off
        self.per_filter = off or None
        if table is None or request is None:
            return
        authority = request.authority or ""
        if table.vhost_header:
            authority = request.get(table.vhost_header) or authority
        vhost = self.vhost = table.virtual_host(authority)
        if vhost is None:
            return
        if (
            vhost.require_tls
            and request.d.get("x-forwarded-proto") != "https"
            and (vhost.require_tls == 2 or not self.internal)
        ):
            self.route = self.hcm.server.tls_redirect
            return
        route = self.route = vhost.find(request, self)
        if route is None:
            return
        self.per_filter = {**off, **route.per_filter} if off else route.per_filter
        self.request_ops, self.response_ops = route.request_ops, route.response_ops
        action = route.action
        if action is None:
            return
        target = self.target = action.choose(request)
        if target.per_filter is not None:
            self.per_filter = {**off, **target.per_filter} if off else target.per_filter
        if target.request_ops is not None:
            self.request_ops = target.request_ops
        if target.response_ops is not None:
            self.response_ops = target.response_ops
        name = target.cluster or (request.get(target.cluster_header) or "" if target.cluster_header else "")
        cluster = self.cluster = self.hcm.clusters.get(name)
        if cluster is not None:
            self.upstream_cluster_name = cluster.config.alt_stat_name
        if action.idle_timeout is not None:
            self.idle_timeout = action.idle_timeout
            self.next_deadline = 0.0
        if action.max_stream_duration is not None or action.grpc_timeout_header_max is not None:
            self._duration(action, request)

    def _duration(self, action: Any, request: RequestHeaders) -> None:
        limit = action.max_stream_duration
        if limit is None:
            limit = self.hcm.max_stream_duration
        elif limit < 0:
            return  # max_grpc_timeout: the router's business
        if action.grpc_timeout_header_max is not None:
            asked = grpc_timeout(request.d.get("grpc-timeout"))
            if asked is not None:
                limit = min(asked, action.grpc_timeout_header_max) if action.grpc_timeout_header_max else asked
                if action.grpc_timeout_offset and limit > action.grpc_timeout_offset:
                    limit -= action.grpc_timeout_offset
        self.deadline_duration = self.start + limit if limit else NEVER
        self.next_deadline = 0.0

    def clear_route_cache(self) -> None:
        """A filter changed what routing depends on."""
        self.resolve_route()

    def _decode(self, at: int, end: bool) -> None:
        filters = self.hcm.decoders
        request = self.request
        per_filter = self.per_filter
        for i in range(at, len(filters)):
            filter_ = filters[i]
            if per_filter and per_filter.get(filter_.name) is DISABLED:
                continue
            self.at = i
            if not filter_.request_headers(self, request, end):
                if not self.done and not self.local and i < len(filters) - 1:
                    self.held = True
                return
            if self.done or self.local:
                return
            per_filter = self.per_filter

    def continue_request(self) -> None:
        """Go on behind the filter that held the request, with what came meanwhile."""
        if self.done or self.local or not self.held:
            return
        self.held = False
        parts, self.held_parts = self.held_parts, None
        trailers, self.held_trailers = self.held_trailers, None
        at = self.at + 1
        end = self.request_end and not parts and trailers is None
        self._decode(at, end)
        if self.done or self.local:
            return
        if self.held:
            if parts:
                self.held_parts = parts + (self.held_parts or [])
            self.held_trailers = trailers or self.held_trailers
            return
        if parts:
            self._data_from(at, b"".join(parts), self.request_end and trailers is None)
        if trailers is not None and not self.done and not self.local:
            self._trailers_from(at, trailers)
        if self.router is not None:
            self.router.flush_request()
        self.codec.resume_request()

    def on_data(self, data: bytes, end: bool) -> None:
        """Request body from the codec."""
        self.bytes_received += len(data)
        self.touched = monotonic()
        if end:
            self.request_end = True
            self.last_downstream_rx = self.touched
            self.deadline_request = NEVER
        if self.done or (self.local and not self.held):
            return
        if self.held:
            self._data_held(data, end)
            return
        self._data_from(0, data, end)

    def _data_held(self, data: bytes, end: bool) -> None:
        filters = self.hcm.decoders
        holder = filters[self.at]
        for filter_ in self.hcm.data_decoders:
            if filter_ is holder:
                break
            if filters.index(filter_) > self.at:
                break
            passed = filter_.request_data(self, data, end)
            if passed is None:
                return
            data = passed
        if holder.reads_request_data:
            kept = holder.request_data(self, data, end)
            if kept is None or not self.held:
                return
            data = kept
        if self.held_parts is None:
            self.held_parts = []
        if data:
            self.held_parts.append(data)
        if sum(map(len, self.held_parts)) > self.codec.limit():
            self.codec.pause_request()

    def _data_from(self, at: int, data: bytes, end: bool) -> None:
        data_decoders = self.hcm.data_decoders
        if data_decoders:
            filters = self.hcm.decoders
            for filter_ in data_decoders:
                if filters.index(filter_) < at or (self.per_filter and self.per_filter.get(filter_.name) is DISABLED):
                    continue
                passed = filter_.request_data(self, data, end)
                if passed is None or self.done or self.local:
                    return
                data = passed
        router = self.router
        if router is not None:
            router.request_data(data, end)

    def on_trailers(self, trailers: Headers) -> None:
        self.request_end = True
        self.touched = self.last_downstream_rx = monotonic()
        self.deadline_request = NEVER
        if self.done or self.local:
            return
        if self.held:
            holder = self.hcm.decoders[self.at]
            self.held_trailers = trailers
            if holder.reads_request_data:
                holder.request_trailers(self, trailers)
            return
        self._trailers_from(0, trailers)

    def _trailers_from(self, at: int, trailers: Headers) -> None:
        for filter_ in self.hcm.data_decoders:
            if self.hcm.decoders.index(filter_) >= at and not filter_.request_trailers(self, trailers):
                return
        if self.router is not None:
            self.router.request_trailers(trailers)

    def flush_request(self) -> None:
        """The codec has no more for now: what waits for company may go out."""
        if self.router is not None:
            self.router.flush_request()

    def on_reset(self, details: str, flag: int = flags.DOWNSTREAM_CONNECTION_TERMINATION) -> None:
        """The client is gone, or has reset the stream."""
        if self.done:
            return
        self.flags |= flag
        if not self.details or not self.response_started or not self.response_end:
            self.details = details
        stats = self.hcm.stats
        stats.downstream_rq_rx_reset += 1
        self.finish()

    # --- the answer, from the router or a filter ---

    def respond(self, headers: ResponseHeaders, end: bool) -> None:
        """Send an answer's head through the filters to the client."""
        self.response = headers
        self.code = headers.status
        self._encode(0, headers, end)

    def _encode(self, at: int, headers: ResponseHeaders, end: bool) -> None:
        encoders = self.hcm.encoders
        if encoders:
            per_filter = self.per_filter
            for i in range(at, len(encoders)):
                filter_ = encoders[i]
                if per_filter and per_filter.get(filter_.name) is DISABLED:
                    continue
                self.back_at = i
                if not filter_.response_headers(self, headers, end):
                    self.back_held = True
                    self.back_end = end
                    return
                if self.done:
                    return
        self._send_head(headers, end)

    def _send_head(self, headers: ResponseHeaders, end: bool) -> None:
        hcm = self.hcm
        d = headers.d
        mutate_response(hcm, self, headers)
        if "date" not in d:
            d["date"] = date()
        if hcm.server_transformation == 0 or (hcm.server_transformation == 1 and "server" not in d):
            if headers.more is None:
                d["server"] = hcm.server_name
            else:
                headers.set("server", hcm.server_name)
        server = hcm.server
        if (server.draining or server.health_failed) and server.draining_header(self):
            self.close_after = True
        self.response_started = True
        self.code = headers.status
        now = self.touched = monotonic()
        code = headers.status
        if code >= 200 or code == 101:
            self._count(code)
        self.codec.send_headers(self, headers, end)
        if end:
            self.last_downstream_tx = now
            self._response_complete()

    def _count(self, code: int) -> None:
        hcm = self.hcm
        hot, listener = hcm.hot, hcm.listener_hot
        hot.downstream_rq_completed += 1
        if listener is not None:
            listener.downstream_rq_completed += 1
        if code < 300 and code >= 200:
            hot.downstream_rq_2xx += 1
            if listener is not None:
                listener.downstream_rq_2xx += 1
            return
        name = f"downstream_rq_{code // 100}xx"
        hcm.stats.counter(name)
        if hcm.listener_stats is not None:
            hcm.listener_stats.counter(name)

    def respond_early(self, headers: ResponseHeaders) -> None:
        """A 1xx answer before the final one."""
        self.codec.send_early(headers)

    def respond_data(self, data: bytes, end: bool) -> None:
        if self.back_held:
            holder = self.hcm.encoders[self.back_at]
            if holder.reads_response_data:
                kept = holder.response_data(self, data, end)
                if kept is None or not self.back_held:
                    return
                data = kept
            if self.back_parts is None:
                self.back_parts = []
            self.back_parts.append(data)
            self.back_end = end
            return
        self._encode_data(0, data, end)

    def _encode_data(self, at: int, data: bytes, end: bool) -> None:
        for filter_ in self.hcm.data_encoders:
            if at and self.hcm.encoders.index(filter_) < at:
                continue
            if self.per_filter and self.per_filter.get(filter_.name) is DISABLED:
                continue
            passed = filter_.response_data(self, data, end)
            if passed is None or self.done:
                return
            data = passed
        self._send_data(data, end)

    def add_response_data(self, filter_: Any, data: bytes) -> None:
        """Body that a filter has left when the trailers come."""
        if data:
            self._add_data(filter_, data, False)

    def end_response(self, filter_: Any, data: bytes) -> None:
        """Body that a filter puts in the trailers' place: the last there is."""
        self._add_data(filter_, data, True)

    def _add_data(self, filter_: Any, data: bytes, end: bool) -> None:
        encoders = self.hcm.data_encoders
        for each in encoders[encoders.index(filter_) + 1 :]:
            passed = each.response_data(self, data, end)
            if passed is None:
                return
            data = passed
        self._send_data(data, end)

    def _send_data(self, data: bytes, end: bool) -> None:
        self.bytes_sent += len(data)
        self.touched = monotonic()
        self.codec.send_data(self, data, end)
        if end:
            self.last_downstream_tx = self.touched
            self._response_complete()

    def respond_trailers(self, trailers: Headers) -> None:
        self.response_trailers = trailers
        if self.back_held:
            self.back_trailers = trailers
            holder = self.hcm.encoders[self.back_at]
            if holder.reads_response_data:
                holder.response_trailers(self, trailers)
            return
        for filter_ in self.hcm.data_encoders:
            if not filter_.response_trailers(self, trailers) or self.done:
                return
        self._send_trailers(trailers)

    def _send_trailers(self, trailers: Headers) -> None:
        self.codec.send_trailers(self, trailers)
        self.last_downstream_tx = monotonic()
        self._response_complete()

    def continue_response(self) -> None:
        """Go on behind the filter that held the answer."""
        if self.done or not self.back_held or self.response is None:
            return
        self.back_held = False
        parts, self.back_parts = self.back_parts, None
        trailers, self.back_trailers = self.back_trailers, None
        at = self.back_at + 1
        self._encode(at, self.response, self.back_end and not parts and trailers is None)
        if parts and not self.done:
            self._encode_data(at, b"".join(parts), self.back_end and trailers is None)
        if trailers is not None and not self.done:
            self._send_trailers(trailers)
        self.flush_response()

    def flush_response(self) -> None:
        if not self.done:
            self.codec.flush()

    def direct_reply(
        self,
        code: int,
        body: str,
        details: str,
        flag: int = 0,
        close: bool = False,
        headers: dict[str, str] | None = None,
        count: str = "",
    ) -> None:
        """A local reply before there is a filter chain to go through."""
        if count:
            self.hcm.stats.counter(count)
        self.route_done = True
        self.local_reply(code, body, details, flag, headers, close=close, filters=False)

    def local_reply(
        self,
        code: int,
        body: str,
        details: str,
        flag: int = 0,
        headers: dict[str, str] | None = None,
        grpc_status: int | None = None,
        close: bool = False,
        filters: bool = True,
        modify: Any = None,
        content_type: str | None = None,
    ) -> None:
        """Answer in the upstream's stead. After an answer has begun this can only cut the stream off."""
        if self.done:
            return
        self.flags |= flag
        if self.response_started:
            self.details = details
            self.reset_downstream(details)
            return
        self.details = details
        self.held = self.back_held = False
        self.held_parts = self.back_parts = None
        self.local = True
        if close or (code == 400 and self.protocol != "HTTP/2"):  # after a messaging error nothing that follows is sure
            self.close_after = True
        router, self.router = self.router, None
        if router is not None:
            router.abandon()
        grpc = self.request is not None and is_grpc(self.request)
        response = ResponseHeaders(code)
        self.code = code
        if headers:
            for name, value in headers.items():
                response.set(name, value)
        kind = "text/plain"
        if self.hcm.local_replies is not None:
            self.response = response
            self.local_body = body
            body, kind = self.hcm.local_replies.rewrite(self, response, body)
        raw = body.encode("utf-8", "surrogateescape") if body else b""
        if grpc:
            status = grpc_status if grpc_status is not None else grpc_status_for(response.status)
            fresh = grpc_reply(status, body)
            for name, value in response.d.items():
                fresh.d.setdefault(name, value)
            response, raw = fresh, b""
        elif raw:
            response.set("content-length", str(len(raw)))
            if content_type or "content-type" not in response.d:
                response.set("content-type", content_type or kind)
        if modify is not None:
            modify(response)
        if self.route is not None and self.route.action is not None:
            apply(self.response_ops, response, self)
        self.response = response
        self.code = response.status
        head_only = self.request is not None and self.request.method == "HEAD"
        end = not raw or head_only
        if filters:
            self._encode(0, response, end)
            if not end and not self.done:
                if self.back_held:
                    self.respond_data(raw, True)
                else:
                    self._encode_data(0, raw, True)
        else:
            self._send_head(response, end)
            if not end:
                self._send_data(raw, True)
        self.flush_response()

    def upstream_reset(self, details: str) -> None:
        """The upstream broke off after its answer had begun."""
        self.details = details
        self.reset_downstream(details)

    def reset_downstream(self, details: str) -> None:
        if self.done:
            return
        self.hcm.stats.downstream_rq_tx_reset += 1
        self.hcm.stats.downstream_rq_rx_reset += 1  # Envoy hears its own reset as one of the codec's
        self.codec.reset(self, details)
        self.finish()

    # --- the end ---

    def _response_complete(self) -> None:
        self.response_end = True
        if not self.request_end and not self.upgrade:
            self.hcm.stats.downstream_rq_response_before_rq_complete += 1
        self.codec.response_complete(self)
        self.finish()

    def finish(self) -> None:
        """Log, count and let go. Safe to call once only; later calls do nothing."""
        if self.done:
            return
        self.done = True
        hcm = self.hcm
        hcm.active.discard(self)
        router, self.router = self.router, None
        if router is not None:
            router.abandon()
        now = self.end = monotonic()
        hot = hcm.hot
        hot.downstream_rq_active -= 1
        hot.downstream_rq_time.record((now - self.start) * 1000)
        for filter_ in hcm.finishers:
            filter_.finished(self)
        for log in hcm.access_logs:
            log.log(self)
        self.codec.stream_done(self)
        self.state = None

    # --- deadlines ---

    def sweep(self, now: float) -> None:
        """Called when next_deadline has passed: acts on what expired, sets the next."""
        idle = self.touched + self.idle_timeout if self.idle_timeout else NEVER
        router = self.router
        tried = router.deadline_try if router is not None else NEVER
        if now >= self.deadline_request:
            self.deadline_request = NEVER
            self.hcm.stats.downstream_rq_timeout += 1
            self.local_reply(408, "request timeout", "request_overall_timeout", close=True)
            return
        if now >= self.deadline_duration:
            self.deadline_duration = NEVER
            self.hcm.stats.downstream_rq_max_duration_reached += 1
            if self.response_started:
                self.local_reply(408, "", "max_duration_timeout")
            else:
                grpc = self.request is not None and is_grpc(self.request)
                self.local_reply(
                    408 if not self.request_end else 504,
                    "downstream duration timeout",
                    "max_duration_timeout",
                    0,
                    None,
                    4 if grpc else None,
                )
            return
        if now >= self.deadline_route:
            self.deadline_route = NEVER
            if router is not None:
                router.route_timeout()
            return
        if now >= tried and router is not None:
            router.try_timeout(now)
            tried = router.deadline_try
        if self.done:
            return
        if now >= idle:
            self.hcm.stats.downstream_rq_idle_timeout += 1
            code = 504 if self.request_end else 408
            self.local_reply(code, "stream timeout", "stream_idle_timeout", flags.STREAM_IDLE_TIMEOUT)
            return
        self.next_deadline = min(idle, self.deadline_request, self.deadline_duration, self.deadline_route, tried)


def is_grpc(request: RequestHeaders) -> bool:
    kind = request.d.get("content-type")
    return kind is not None and kind.startswith("application/grpc") and (len(kind) == 16 or kind[16] in "+;")


UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def grpc_timeout(text: str | None) -> float | None:
    """A grpc-timeout header in seconds; None when it is absent or malformed."""
    if not text or text[-1] not in UNITS or not text[:-1].isdigit() or len(text) > 9:
        return None
    return int(text[:-1]) * UNITS[text[-1]]
