"""The answer's side of a stream: heads, data and trailers through the filters to the codec, replies of our own.

Not here: the request (stream.py).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, ResponseHeaders
from mizzen.proxy.filters.base import DISABLED
from mizzen.proxy.http.clock import NEVER, date
from mizzen.proxy.http.codec import Codec
from mizzen.proxy.http.grpc import is_grpc
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.http.local_reply import grpc_reply, grpc_status_for
from mizzen.proxy.http.mutate import mutate_response

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm
    from mizzen.proxy.filters.router_exchange import Exchange


class ResponseSide(StreamInfo):
    """The answer of one request on its way through the filters to the codec, and the end of it all."""

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
        if (server.draining or server.health_failed or server.overloaded) and server.draining_header(self):
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
