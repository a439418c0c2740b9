"""A client's HTTP/2 connection: streams off the wire into Streams, their answers onto it.

What is written in one turn of the loop goes out at once (`_later`), so that TLS makes few records. Not here: frames (codec/h2.py),
header rules (codec/h2_messages.py), what is done with a request (stream.py).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec import h2, h2_frames
from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h2_messages import STATUS, request_of, trailers_of
from mizzen.proxy.codec.h2_stream import H2Stream
from mizzen.proxy.codec.headers import Headers, ResponseHeaders
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.codec import Codec
from mizzen.proxy.http.stream import Stream

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm
    from mizzen.proxy.http.stream_response import ResponseSide
    from mizzen.proxy.net.connection import Downstream

HIGH_WATER: Final = 256 * 1024
OVERSIZED: Final = "http2.too_large_headers"
RESETS: Final = "http2.too_many_premature_resets"
TOTAL_STREAMS: Final = 500  # Envoy's overload.premature_reset_total_stream_count
YOUNG_S: Final = 2.0  # overload.premature_reset_min_stream_lifetime_seconds: whole seconds, no more than 1


class ServerStream(Codec):
    """The codec of one stream."""

    __slots__ = ("connection", "head", "kept_window", "paused", "response_paused", "stream", "wire")

    def __init__(self, connection: H2Server, wire: H2Stream) -> None:
        self.connection = connection
        self.conn = connection.conn
        self.wire = wire
        self.stream: Stream | None = None
        self.paused = False
        self.kept_window = 0
        self.response_paused = False
        self.head = False

    def limit(self) -> int:
        return self.connection.buffer_limit

    def in_turn(self) -> bool:
        return self.connection.processing

    def blocked(self) -> bool:
        return self.connection.write_paused or self.response_paused

    def send_headers(self, stream: ResponseSide, headers: ResponseHeaders, end: bool) -> None:
        connection = self.connection
        fields = headers.d.items() if headers.more is None else headers.items()
        if stream.upgrade and headers.status == 101:
            headers.remove("connection")
            headers.remove("upgrade")
            headers.status = stream.code = 200
        connection.h2.send_headers(self.wire, STATUS[headers.status], fields, end)
        if end:
            self._ended(stream)
        connection.later()

    def send_early(self, headers: ResponseHeaders) -> None:
        self.connection.h2.send_headers(self.wire, STATUS[headers.status], headers.items(), False)
        self.connection.later()

    def send_data(self, stream: ResponseSide, data: bytes, end: bool) -> None:
        if stream.request is not None and stream.request.method == "HEAD":
            data = b""
        connection = self.connection
        connection.h2.send_data(self.wire, data, end)
        if self.wire.queued > HIGH_WATER and not self.response_paused:
            self.response_paused = True
            if stream.router is not None:
                stream.router.pause_response()
        if end:
            self._ended(stream)
        connection.later()

    def send_trailers(self, stream: ResponseSide, trailers: Headers) -> None:
        self.connection.h2.send_trailers(self.wire, list(trailers.items()))
        self._ended(stream)
        self.connection.later()

    def _ended(self, stream: ResponseSide) -> None:
        if not self.wire.closed_remote and not stream.request_end:
            self.connection.h2.reset(self.wire, h2_frames.NO_ERROR)

    def writable(self) -> None:
        if self.response_paused and self.wire.queued < HIGH_WATER // 2:
            self.response_paused = False
            if not self.connection.write_paused and self.stream is not None and self.stream.router is not None:
                self.stream.router.resume_response()

    def flush(self) -> None:
        """The connection sends at the end of the turn."""

    def reset(self, stream: ResponseSide, details: str) -> None:
        code = h2_frames.INTERNAL_ERROR if "protocol_error" not in details else h2_frames.PROTOCOL_ERROR
        self.connection.h2.reset(self.wire, code)
        self.connection.hcm.codec2.tx_reset += 1
        self.connection.later()

    def response_complete(self, stream: ResponseSide) -> None:
        if stream.close_after:
            self.connection.drain()

    def stream_done(self, stream: ResponseSide) -> None:
        self.stream = None
        self.wire.app = None
        if self.kept_window:
            self.connection.h2.consumed(None, self.kept_window)
        self.connection.stream_over()

    def pause_request(self) -> None:
        self.paused = True

    def resume_request(self) -> None:
        if self.paused:
            self.paused = False
            size, self.kept_window = self.kept_window, 0
            if size:
                self.connection.h2.consumed(self.wire, size)
                self.connection.later()


class H2Server:
    """The connection's protocol, and the handler of its frames."""

    def __init__(self, hcm: Hcm, conn: Downstream, buffer_limit: int) -> None:
        self.hcm = hcm
        self.conn = conn
        self.buffer_limit = buffer_limit
        options = hcm.h2
        most = options.max_concurrent_streams.value if options.HasField("max_concurrent_streams") else 1024
        window = options.initial_stream_window_size.value if options.HasField("initial_stream_window_size") else 1 << 20
        whole = (
            options.initial_connection_window_size.value
            if options.HasField("initial_connection_window_size")
            else 16 << 20
        )
        self.h2 = h2.H2(
            self, False, window, max(whole, 65535), most, hcm.max_head, options.allow_connect, hcm.h2_limits
        )
        self.transport: Any = None
        self.listener: Any = None
        self.closing = False
        self.write_paused = False
        self.processing = False
        self.scheduled = False
        self.active = 0
        self.last = monotonic()
        self.idle_timer: Any = None
        self.pinging: Any = None
        self.requests = 0
        self.resets = 0  # of young requests without an answer

    # --- the transport's side ---

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        stats = self.hcm.stats
        stats.downstream_cx_total += 1
        stats.downstream_cx_active += 1
        stats.downstream_cx_http2_total += 1
        stats.downstream_cx_http2_active += 1
        if self.conn.tls is not None:
            stats.downstream_cx_ssl_total += 1
            stats.downstream_cx_ssl_active += 1
        self.hcm.server.connections.add(self)
        if self.hcm.idle_timeout:
            self.idle_timer = self.hcm.server.loop.call_later(self.hcm.idle_timeout, self._idle_check)
        self.flush_out()

    def data_received(self, data: bytes) -> None:
        self.hcm.hot.downstream_cx_rx_bytes_total += len(data)
        if self.closing and self.h2.dead:
            return
        self.processing = True
        try:
            self.h2.feed(data)
        except h2_frames.Broken as error:
            self.broken(error)
        finally:
            self.processing = False
        for wire in list(self.h2.streams.values()):
            app = wire.app
            if app is not None and app.stream is not None and app.stream.router is not None:
                app.stream.router.flush_request()
        self.flush_out()
        server = self.hcm.server
        if server.overloaded and self.requests and not self.closing and server.overload.ends_h2(self.conn):
            self.drain()

    def broken(self, error: h2_frames.Broken) -> None:
        """The client broke the protocol: every stream fails, the connection ends."""
        hcm = self.hcm
        details = error.details
        if details.endswith("_flood"):
            hcm.codec2.counter(details[len("http2.") :])
        else:
            hcm.stats.downstream_cx_protocol_error += 1
            if details == OVERSIZED:
                hcm.codec2.header_overflow += 1
            elif details == RESETS:
                hcm.stats.downstream_rq_too_many_premature_resets += 1
            else:
                hcm.codec2.rx_messaging_error += 1
        self.closing = True
        for wire in list(self.h2.streams.values()):
            app = wire.app
            if app is not None and app.stream is not None and not app.stream.done:
                app.stream.on_reset(details, flags.DOWNSTREAM_PROTOCOL_ERROR)
        self.flush_out()
        if self.transport is not None:  # who does not read does not keep the connection by that
            hcm.server.loop.call_later(hcm.delayed_close_timeout or 1.0, self.transport.abort)
            self.transport.close()

    def later(self) -> None:
        if not self.scheduled and not self.processing:
            self.scheduled = True
            self.hcm.server.loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self.scheduled = False
        self.flush_out()

    def flush_out(self) -> None:
        data = self.h2.take()
        if data and self.transport is not None:
            self.hcm.hot.downstream_cx_tx_bytes_total += len(data)
            self.transport.write(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        hcm = self.hcm
        stats = hcm.stats
        stats.downstream_cx_destroy += 1
        stats.downstream_cx_active -= 1
        stats.downstream_cx_http2_active -= 1
        if self.conn.tls is not None:
            stats.downstream_cx_ssl_active -= 1
        side = "local" if self.closing else "remote"
        stats.counter(f"downstream_cx_destroy_{side}")
        if self.active:
            stats.downstream_cx_destroy_active_rq += 1
            stats.counter(f"downstream_cx_destroy_{side}_active_rq")
        stats.downstream_cx_length_ms.record((monotonic() - self.conn.start) * 1000)
        hcm.server.connections.discard(self)
        for timer in (self.idle_timer, self.pinging):
            if timer is not None:
                timer.cancel()
        self.closing = True
        self.transport = None
        for wire in list(self.h2.streams.values()):
            app = wire.app
            if app is not None and app.stream is not None and not app.stream.done:
                app.stream.on_reset(
                    "downstream_remote_disconnect" if side == "remote" else "downstream_local_disconnect"
                )
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.closed(self.conn)
        self.h2.streams.clear()
        self.idle_timer = self.pinging = None

    def pause_writing(self) -> None:
        self.write_paused = self.h2.held = True
        self._routers("pause_response")

    def resume_writing(self) -> None:
        self.write_paused = self.h2.held = False
        self._routers("resume_response")

    def _routers(self, what: str) -> None:
        for wire in list(self.h2.streams.values()):
            app = wire.app
            if app is None or app.response_paused:
                continue  # its own window is what it waits for
            if app.stream is not None and app.stream.router is not None:
                getattr(app.stream.router, what)()

    # --- frames ---

    def h2_new(self, wire: H2Stream) -> bool:
        wire.app = ServerStream(self, wire)
        return True

    def h2_settings(self) -> None:
        pass

    def h2_headers(self, wire: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None:
        app = wire.app
        if app is None:
            return
        hcm = self.hcm
        if trailers:
            stream = app.stream
            if stream is not None:
                try:
                    stream.on_trailers(trailers_of(fields))
                except CodecError as error:
                    raise h2_frames.Broken(h2_frames.PROTOCOL_ERROR, error.details, True) from error
            return
        stream = app.stream = Stream(hcm, app)
        self.active += 1
        self.requests += 1
        hcm.hot.downstream_rq_http2_total += 1
        hcm.codec2.streams_active += 1
        stream.protocol = "HTTP/2"
        stream.request_end = end
        try:
            request = request_of(fields)
            length = request.d.get("content-length")
            if length is not None:
                if not length.isdigit() or (end and int(length)):
                    raise CodecError("http2.violation.of.messaging.rule")
                wire.length = int(length)
        except CodecError as error:
            self._malformed(stream, error.details)
            raise h2_frames.Broken(h2_frames.PROTOCOL_ERROR, error.details, True) from error
        if len(fields) > hcm.max_headers and len(fields) - 4 + 4 > hcm.max_headers:
            hcm.codec2.header_overflow += 1
            self._refuse(app, stream, "http2.too_many_headers")
            return
        if hcm.underscores and any("_" in name for name in request.d):
            if hcm.underscores == 1:
                hcm.codec2.requests_rejected_with_underscores_in_headers += 1
                self._refuse(app, stream, "http2.unexpected_underscore")
                return
            for name in [name for name in request.d if "_" in name]:
                hcm.codec2.dropped_headers_with_underscores += 1
                request.remove(name)
        if "expect" in request.d and request.d["expect"].lower() == "100-continue" and not hcm.proxy_100_continue:
            request.remove("expect")
            self.h2.send_headers(wire, STATUS[100], (), False)
        stream.on_request(request, end)

    def _malformed(self, stream: Stream, details: str) -> None:
        stats = self.hcm.stats
        stats.downstream_rq_total += 1
        stats.downstream_rq_active += 1
        stream.on_reset(details, flags.DOWNSTREAM_PROTOCOL_ERROR)

    def _refuse(self, app: ServerStream, stream: Stream, details: str) -> None:
        stats = self.hcm.stats
        stats.downstream_rq_total += 1
        stats.downstream_rq_active += 1
        self.h2.reset(app.wire, h2_frames.INTERNAL_ERROR)
        stream.on_reset(details, flags.DOWNSTREAM_REMOTE_RESET)

    def h2_data(self, wire: H2Stream, data: bytes, end: bool) -> None:
        app = wire.app
        size = len(data)
        if app is None or app.stream is None:
            if size:
                self.h2.consumed(None, size)
            return
        app.stream.on_data(data, end)
        if not size:
            return
        if app.paused:
            app.kept_window += size
        else:
            self.h2.consumed(wire, size)

    def h2_reset(self, wire: H2Stream, code: int) -> None:
        app = wire.app
        self.hcm.codec2.rx_reset += 1
        if app is not None and app.stream is not None and not app.stream.done:
            if code < 0:
                app.stream.on_reset("http2.violation.of.messaging.rule", flags.DOWNSTREAM_PROTOCOL_ERROR)
            else:
                unanswered = not app.stream.code and monotonic() - app.stream.start < YOUNG_S
                app.stream.on_reset("http2.remote_reset", flags.DOWNSTREAM_REMOTE_RESET)
                if unanswered:
                    self._premature()

    def _premature(self) -> None:
        """A young request was reset without an answer. Too many of these, as Envoy counts them, end the connection."""
        self.resets += 1
        closed = max(self.requests - self.active, TOTAL_STREAMS)
        if self.resets * 2 >= closed:
            raise h2_frames.Broken(h2_frames.ENHANCE_YOUR_CALM, RESETS)

    def h2_goaway(self, last: int, code: int) -> None:
        if not self.active:
            self.drain()

    def h2_writable(self, wire: H2Stream) -> None:
        if wire.app is not None:
            wire.app.writable()

    # --- the end ---

    def stream_over(self) -> None:
        self.active -= 1
        self.hcm.codec2.streams_active -= 1
        self.last = monotonic()
        if self.closing and not self.active and self.transport is not None:
            self.later()
            self.hcm.server.loop.call_soon(self._close)

    def _close(self) -> None:
        if self.transport is not None:
            self.flush_out()
            self.transport.close()

    def drain(self) -> None:
        """GOAWAY now; the connection closes with its last stream."""
        if not self.closing:
            self.closing = True
            self.h2.goaway(h2_frames.NO_ERROR)
            self.hcm.codec2.goaway_sent += 1
            self.later()
        if not self.active and self.transport is not None:
            self.hcm.server.loop.call_soon(self._close)

    def _idle_check(self) -> None:
        self.idle_timer = None
        if self.transport is None:
            return
        wait = self.hcm.idle_timeout
        if not self.active:
            left = self.last + wait - monotonic()
            if left <= 0.001:
                self.hcm.stats.downstream_cx_idle_timeout += 1
                self.drain()
                return
            wait = left
        self.idle_timer = self.hcm.server.loop.call_later(wait, self._idle_check)
