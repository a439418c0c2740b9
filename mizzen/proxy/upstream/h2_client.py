"""HTTP/2 connections to upstreams and their pools: many requests on one connection to a host.

`ClientStream` is the encoder that a request's owner gets; `AutoPool` lets ALPN choose between HTTP/2 and HTTP/1.1.
Not here: frames (codec/h2.py), header rules (codec/h2_messages.py).
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from mizzen.proxy.codec import h2, h2_frames
from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h2_messages import request_pseudo, response_of, trailers_of
from mizzen.proxy.codec.h2_stream import H2Stream
from mizzen.proxy.codec.headers import Headers, RequestHeaders
from mizzen.proxy.stats.names import CODEC2_COUNTERS
from mizzen.proxy.upstream.pool import PROTOCOL_ERROR, REFUSED, REMOTE_RESET, TERMINATION

HIGH_WATER: Final = 256 * 1024


class ClientStream:
    """One request's stream on an upstream connection."""

    __slots__ = ("connection", "kept_window", "paused", "request_paused", "up", "wire")

    protocol = "HTTP/2"

    def __init__(self, connection: H2Client, up: Any) -> None:
        self.connection = connection
        self.up = up
        self.wire = connection.h2.open()
        self.wire.app = self
        self.paused = False
        self.request_paused = False
        self.kept_window = 0

    @property
    def tls(self) -> Any:
        return self.connection.tls

    @property
    def local(self) -> Any:
        return self.connection.local

    def send_headers(self, headers: RequestHeaders, end: bool) -> None:
        fields = headers.d.items() if headers.more is None else headers.items()
        self.connection.h2.send_headers(self.wire, request_pseudo(headers), fields, end)
        self.connection.later()

    def flush(self) -> None:
        """The connection sends at the end of the turn."""

    def send_data(self, data: bytes, end: bool) -> None:
        self.connection.h2.send_data(self.wire, data, end)
        if self.wire.queued > HIGH_WATER and not self.request_paused and self.up is not None:
            self.request_paused = True
            self.up.pause_request()
        self.connection.later()

    def send_trailers(self, trailers: Headers) -> None:
        self.connection.h2.send_trailers(self.wire, list(trailers.items()))
        self.connection.later()

    def cancel(self, up: Any) -> None:
        """The owner gives up."""
        if self.up is up:
            self.over()
            self.connection.h2.reset(self.wire, h2_frames.CANCEL)
            self.connection.pool.stats.upstream_rq_tx_reset += 1
            self.connection.later()

    def over(self) -> Any:
        """The stream has ended: its owner, once."""
        up, self.up = self.up, None
        self.wire.app = None
        if up is not None:
            if self.kept_window:
                self.connection.h2.consumed(None, self.kept_window)
                self.kept_window = 0
            self.connection.stream_over()
        return up

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        size, self.kept_window = self.kept_window, 0
        if size:
            self.connection.h2.consumed(self.wire, size)
            self.connection.later()


class H2Client:
    """The connection's protocol, and the handler of its frames."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        options = pool.cluster.http.h2
        window, whole = 1 << 20, 16 << 20
        if options is not None:
            if options.HasField("initial_stream_window_size"):
                window = options.initial_stream_window_size.value
            if options.HasField("initial_connection_window_size"):
                whole = options.initial_connection_window_size.value
        self.h2 = h2.H2(
            self,
            True,
            window,
            max(whole, 65535),
            0,
            pool.cluster.http.max_response_head,
            limits=pool.cluster.http.h2_limits,
        )
        self.limit = (
            options.max_concurrent_streams.value
            if options is not None and options.HasField("max_concurrent_streams")
            else 2**31
        )
        self.transport: Any = None
        self.started = monotonic()
        self.tls: Any = None
        self.local: Any = None
        self.active = 0
        self.requests = 0
        self.closing = False
        self.going_away = False
        self.scheduled = False
        self.processing = False
        self.write_paused = False
        self.timer: Any = None
        self.ping: Any = None
        self.ping_interval = 0.0
        self.ping_timeout = 0.0
        if options is not None and options.HasField("connection_keepalive"):
            keepalive = options.connection_keepalive
            self.ping_interval = keepalive.interval.seconds + keepalive.interval.nanos / 1e9
            self.ping_timeout = keepalive.timeout.seconds + keepalive.timeout.nanos / 1e9
        self.heard = self.started

    def can_open(self) -> bool:
        return (
            self.transport is not None
            and not self.going_away
            and not self.closing
            and self.active < self.h2.peer_streams
            and self.active < self.limit
            and self.h2.next_id < 2**30
        )

    def attach(self, up: Any) -> ClientStream:
        self.active += 1
        self.requests += 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return ClientStream(self, up)

    # --- the transport's side ---

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.tls = getattr(transport, "tls_info", None)
        name = transport.get_extra_info("sockname")
        self.local = name[:2] if isinstance(name, tuple) else None
        if self.closing:
            transport.abort()
            return
        self.flush_out()
        if self.ping_interval:
            self.ping = self.pool.cluster.loop.call_later(self.ping_interval, self._ping)
        self.pool.connected(self)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.closing = True
        self.pool.connect_failed(self, reason, text)

    def data_received(self, data: bytes) -> None:
        pool = self.pool
        pool.hot.upstream_cx_rx_bytes_total += len(data)
        self.heard = monotonic()
        self.processing = True
        try:
            self.h2.feed(data)
        except h2_frames.Broken as error:
            if error.details.endswith("_flood"):
                self._codec_stats().counter(error.details[len("http2.") :])
            pool.stats.upstream_cx_protocol_error += 1
            self._fail(PROTOCOL_ERROR)
        finally:
            self.processing = False
        self.flush_out()

    def _codec_stats(self) -> Any:
        cluster = self.pool.cluster
        return cluster.server.stats.group(f"{cluster.stat_prefix}.http2", CODEC2_COUNTERS)

    def _fail(self, reason: str) -> None:
        self.closing = True
        for wire in list(self.h2.streams.values()):
            app = wire.app
            up = app.over() if app is not None else None
            if up is not None:
                up.on_reset(reason, None)
        self.flush_out()
        if self.transport is not None:  # who does not read does not keep the connection by that
            self.pool.cluster.loop.call_later(1.0, self.transport.abort)
            self.transport.close()

    def later(self) -> None:
        if not self.scheduled and not self.processing:
            self.scheduled = True
            self.pool.cluster.loop.call_soon(self._flush_scheduled)

    def _flush_scheduled(self) -> None:
        self.scheduled = False
        self.flush_out()

    def flush_out(self) -> None:
        if self.transport is None:
            return
        data = self.h2.take()
        if data:
            self.pool.hot.upstream_cx_tx_bytes_total += len(data)
            self.transport.write(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        by_peer = not self.closing
        self.closing = True
        self.transport = None
        for timer in (self.timer, self.ping):
            if timer is not None:
                timer.cancel()
        active = self.active > 0
        lost = [wire.app for wire in self.h2.streams.values() if wire.app is not None]
        self.pool.closed(self, by_peer, active)
        for app in lost:
            up = app.over()
            if up is not None:
                up.on_reset(TERMINATION, None)
        self.h2.streams.clear()

    def pause_writing(self) -> None:
        self.write_paused = self.h2.held = True
        self._requests("pause_request")

    def resume_writing(self) -> None:
        self.write_paused = self.h2.held = False
        self._requests("resume_request")

    def _requests(self, what: str) -> None:
        for wire in list(self.h2.streams.values()):
            if wire.app is not None and wire.app.up is not None and not wire.app.request_paused:
                getattr(wire.app.up, what)()

    def _ping(self) -> None:
        loop = self.pool.cluster.loop
        if monotonic() - self.heard > self.ping_interval + self.ping_timeout:
            self._fail(TERMINATION)
            return
        self.h2._frame(h2_frames.PING, 0, 0, b"mizzen\0\0")
        self.flush_out()
        self.ping = loop.call_later(self.ping_interval, self._ping)

    # --- frames ---

    def h2_new(self, wire: H2Stream) -> bool:
        return False

    def h2_settings(self) -> None:
        self.pool.more_room(self)

    def h2_headers(self, wire: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None:
        app = wire.app
        if app is None or app.up is None:
            return
        try:
            if trailers:
                parsed = trailers_of(fields)
                up = app.over()
                up.on_trailers(parsed)
                return
            response = response_of(fields)
        except CodecError:
            self._stream_failed(app, PROTOCOL_ERROR)
            return
        if len(fields) > self.pool.cluster.http.max_response_headers:
            self._stream_failed(app, PROTOCOL_ERROR)
            return
        if 100 <= response.status < 200 and response.status != 101:
            app.up.on_early(response)
            return
        length = response.d.get("content-length")
        if length is not None and length.isdigit() and not end:
            wire.length = int(length)
        if end:
            app.over().on_headers(response, True)
        else:
            up = app.up
            up.on_headers(response, False)
            up.flush_response()

    def _stream_failed(self, app: ClientStream, reason: str) -> None:
        self.pool.stats.upstream_cx_protocol_error += 0
        up = app.over()
        self.h2.reset(app.wire, h2_frames.PROTOCOL_ERROR)
        if up is not None:
            up.on_reset(reason, None)

    def h2_data(self, wire: H2Stream, data: bytes, end: bool) -> None:
        app = wire.app
        size = len(data)
        if app is None or app.up is None:
            if size:
                self.h2.consumed(None, size)
            return
        if end:
            up = app.over()
            up.on_data(data, True)
        else:
            app.up.on_data(data, False)
        if size:
            if app.paused:
                app.kept_window += size
            else:
                self.h2.consumed(wire, size)

    def h2_reset(self, wire: H2Stream, code: int) -> None:
        app = wire.app
        up = app.over() if app is not None else None
        if up is None:
            return
        if code < 0:
            up.on_reset(PROTOCOL_ERROR, None)
        else:
            up.on_reset(REFUSED if code == h2_frames.REFUSED_STREAM else REMOTE_RESET, None)

    def h2_goaway(self, last: int, code: int) -> None:
        self.going_away = True
        self.pool.stats.upstream_cx_close_notify += 1
        for number, wire in list(self.h2.streams.items()):
            if number > last and wire.app is not None:
                up = wire.app.over()
                if up is not None:
                    up.on_reset(REFUSED, None)
        self.pool.unready(self)
        if not self.active:
            self.close()

    def h2_writable(self, wire: H2Stream) -> None:
        app = wire.app
        if app is not None and app.request_paused and wire.queued < HIGH_WATER // 2:
            app.request_paused = False
            if app.up is not None and not self.write_paused:
                app.up.resume_request()

    # --- the end ---

    def stream_over(self) -> None:
        self.active -= 1
        pool = self.pool
        pool.detached()
        limit = pool.cluster.http.max_requests_per_connection
        if limit and self.requests >= limit and not self.going_away:
            pool.stats.upstream_cx_max_requests += 1
            self.going_away = True
            pool.unready(self)
        if (self.going_away or pool.draining) and not self.active:
            self.close()
            return
        if pool.pending:
            pool.more_room(self)
        idle = pool.cluster.http.idle_timeout
        if not self.active and idle and self.timer is None:
            self.timer = pool.cluster.loop.call_later(idle, self._idle)

    def _idle(self) -> None:
        self.timer = None
        if not self.active:
            self.pool.stats.upstream_cx_idle_timeout += 1
            self.close()

    def close(self) -> None:
        self.closing = True
        if self.transport is not None:
            self.flush_out()
            self.transport.close()
