"""A client's HTTP/1.1 connection: what is written to it, how it rests, drains and ends.

Not here: what is read from it (h1_server.py).
"""

from __future__ import annotations

from http.client import responses as REASONS
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.h1_body import ChunkedReader
from mizzen.proxy.codec.headers import Headers, ResponseHeaders, lines, wire
from mizzen.proxy.http.codec import Codec
from mizzen.proxy.http.stream import Stream
from mizzen.proxy.upstream.h1_client import chunk

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm
    from mizzen.proxy.http.stream_response import ResponseSide
    from mizzen.proxy.net.connection import Downstream


READY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
WAIT: Final = 3
TUNNEL: Final = 4
ENDING: Final = 5


OTHER_REASONS: Final = {
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "Unknown",
    451: "Unknown",
}
"""Where Envoy's words are not Python's."""


STATUS_LINES: Final = {
    code: f"HTTP/1.1 {code} {OTHER_REASONS.get(code) or REASONS.get(code, 'Unknown')}\r\n" for code in range(1000)
}


PAUSE_AT: Final = 64 * 1024


class H1Connection(Codec):
    """One client's connection: what is written to it, how it rests and ends."""

    __slots__ = (
        "buffer",
        "buffer_limit",
        "chunked_out",
        "chunks",
        "close_timer",
        "closing",
        "hcm",
        "head_limit",
        "head_request",
        "head_timer",
        "http10",
        "idle_timer",
        "keep",
        "last",
        "left",
        "listener",
        "out",
        "paused",
        "processing",
        "requests",
        "state",
        "stream",
        "transport",
        "write_paused",
    )

    def __init__(self, hcm: Hcm, conn: Downstream, buffer_limit: int) -> None:
        self.hcm = hcm
        self.conn = conn
        self.buffer_limit = buffer_limit
        self.transport: Any = None
        self.listener: Any = None
        self.stream: Stream | None = None
        self.buffer = b""
        self.state = READY
        self.left = 0
        self.chunks: ChunkedReader | None = None
        self.keep = True
        self.http10 = False
        self.head_request = False
        self.out: list[bytes] = []
        self.chunked_out = False
        self.paused = False
        self.processing = False
        self.closing = False
        self.write_paused = False
        self.requests = 0
        self.last = monotonic()
        self.idle_timer: Any = None
        self.head_limit = 0.0  # seconds that the head which has begun may take
        self.head_timer: Any = None
        self.close_timer: Any = None

    def eof_received(self) -> bool:
        return False  # a client that half-closes is gone, as Envoy has it, in a tunnel too

    def connection_lost(self, error: BaseException | None) -> None:
        stream = self.stream
        hcm = self.hcm
        stats = hcm.stats
        stats.downstream_cx_destroy += 1
        stats.downstream_cx_active -= 1
        stats.downstream_cx_http1_active -= 1
        if self.conn.tls is not None:
            stats.downstream_cx_ssl_active -= 1
        active = stream is not None and not stream.done
        side = "local" if self.closing else "remote"
        stats.counter(f"downstream_cx_destroy_{side}")
        if active:
            stats.downstream_cx_destroy_active_rq += 1
            stats.counter(f"downstream_cx_destroy_{side}_active_rq")
        stats.downstream_cx_length_ms.record((monotonic() - self.conn.start) * 1000)
        hcm.server.connections.discard(self)
        for timer in (self.idle_timer, self.head_timer, self.close_timer):
            if timer is not None:
                timer.cancel()
        self.state = ENDING
        self.closing = True
        if active and stream is not None:
            stream.on_reset("downstream_remote_disconnect" if side == "remote" else "downstream_local_disconnect")
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.closed(self.conn)
        self.stream = self.transport = None
        self.idle_timer = self.head_timer = self.close_timer = None

    def pause_writing(self) -> None:
        self.write_paused = True
        self.hcm.stats.downstream_flow_control_paused_reading_total += 1
        if self.stream is not None and self.stream.router is not None:
            self.stream.router.pause_response()

    def resume_writing(self) -> None:
        self.write_paused = False
        self.hcm.stats.downstream_flow_control_resumed_reading_total += 1
        if self.stream is not None and self.stream.router is not None:
            self.stream.router.resume_response()

    def limit(self) -> int:
        return self.buffer_limit

    def in_turn(self) -> bool:
        return self.processing

    def blocked(self) -> bool:
        return self.write_paused

    def send_headers(self, stream: ResponseSide, headers: ResponseHeaders, end: bool) -> None:
        d = headers.d
        status = headers.status
        tail = ""
        if stream.close_after or (not stream.request_end and (end or stream.local) and not stream.upgrade):
            self.keep = False
        elif self.hcm.max_requests and self.requests >= self.hcm.max_requests:
            if self.keep:
                self.hcm.stats.downstream_cx_max_requests_reached += 1
            self.keep = False
        self.chunked_out = False
        if stream.upgrade and (
            status == 101 or (status < 300 and stream.request is not None and stream.request.method == "CONNECT")
        ):
            if status == 101:
                tail = (
                    f"connection: upgrade\r\nupgrade: {stream.request.protocol}\r\n"
                    if stream.request and "upgrade" not in d
                    else ""
                )
            d.pop("content-length", None)
        else:
            if stream.upgrade and self.state == TUNNEL:
                self.keep = False
            if status == 101:
                pass
            elif "content-length" not in d:
                if self.http10:
                    if not end:
                        self.keep = False
                elif end and not self.head_request:
                    if status >= 200 and status not in (204, 304):
                        tail = "content-length: 0\r\n"
                elif status >= 200 and status not in (204, 304):
                    tail = "transfer-encoding: chunked\r\n"
                    self.chunked_out = not self.head_request and not end
            if not self.keep:
                tail += "connection: close\r\n"
            elif self.http10:
                tail += "connection: keep-alive\r\n"
            if stream.upgrade and self.state == TUNNEL:
                self.keep = False
        parts = [STATUS_LINES[status]]
        lines(parts, headers)
        parts.append(tail)
        parts.append("\r\n")
        data = wire(parts)
        stream.wire_tx += len(data)
        if end:
            self._write(data)
        else:
            self.out.append(data)

    def send_early(self, headers: ResponseHeaders) -> None:
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        self._write(f"{STATUS_LINES[headers.status]}{fields}\r\n".encode("latin-1", "replace"))

    def _write(self, data: bytes) -> None:
        self.hcm.hot.downstream_cx_tx_bytes_total += len(data)
        if self.transport is not None:
            self.transport.write(data)

    def flush(self) -> None:
        out = self.out
        if out:
            self.out = []
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def send_data(self, stream: ResponseSide, data: bytes, end: bool) -> None:
        if self.head_request:
            data = b""
        if self.chunked_out:
            if data:
                data = chunk(data)
            if end:
                data += b"0\r\n\r\n"
        out = self.out
        if out:
            out.append(data)
            data = b"".join(out)
            self.out = []
        if data:
            self._write(data)
        if end and self.state == TUNNEL and self.transport is not None and stream.upgrade:
            self.keep = False

    def send_trailers(self, stream: ResponseSide, trailers: Headers) -> None:
        data = b""
        if self.chunked_out:
            fields = ""
            if self.hcm.enable_trailers:
                fields = "".join([f"{name}: {value}\r\n" for name, value in trailers.items()])
            data = f"0\r\n{fields}\r\n".encode("latin-1", "replace")
        self.out.append(data)
        self.flush()

    def response_complete(self, stream: ResponseSide) -> None:
        """The answer is out in full."""

    def reset(self, stream: ResponseSide, details: str) -> None:
        """A stream cannot be completed: HTTP/1.1 can only close."""
        self.flush()
        self.keep = False
        self.closing = True
        self.state = ENDING
        if self.transport is not None:
            self.transport.close()

    def _pause(self) -> None:
        self.paused = True
        self.transport.pause_reading()

    def _resume(self) -> None:
        self.paused = False
        if self.transport is not None:
            self.transport.resume_reading()

    def pause_request(self) -> None:
        if not self.paused and self.transport is not None:
            self._pause()

    def resume_request(self) -> None:
        if self.paused and self.transport is not None and self.state != WAIT:
            self._resume()

    def _end(self, complete: bool) -> None:
        """Close after what is written has gone out; the client gets a moment to read it, and to end its request."""
        self.state = ENDING
        self.closing = True
        self.buffer = b""
        transport = self.transport
        if transport is None:
            return
        delay = self.hcm.delayed_close_timeout
        if self.conn.tls is None and delay:
            if self.paused:
                self._resume()
            if complete:
                transport.write_eof()
            self.close_timer = self.hcm.server.loop.call_later(delay, self._close_now)
        else:
            transport.close()

    def _close_now(self) -> None:
        self.close_timer = None
        self.hcm.stats.downstream_cx_delayed_close_timeout += 1
        if self.transport is not None:
            self.transport.close()

    def _idle_check(self) -> None:
        self.idle_timer = None
        hcm = self.hcm
        if self.transport is None:
            return
        wait = hcm.idle_timeout
        if self.stream is None and self.head_timer is None:
            left = self.last + hcm.idle_timeout - monotonic()
            if left <= 0.001:
                hcm.stats.downstream_cx_idle_timeout += 1
                hcm.server.loop.call_later(hcm.drain_timeout, self.drain)
                return
            wait = left
        self.idle_timer = hcm.server.loop.call_later(wait, self._idle_check)

    def drain(self) -> None:
        """Close now when idle, else after the request that is under way."""
        if self.stream is None:
            self.closing = True
            if self.transport is not None:
                self.transport.close()
        else:
            self.stream.close_after = True
