"""One HTTP/1.1 connection to an upstream: writes a request, reads its answer, tells the request's owner.

A transport's protocol (asyncio's callbacks, duck-typed) and an encoder for the router: `send_headers`, `send_data`,
`send_trailers`, `reset`. Not here: who uses the connection when (pool.py).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_body import ChunkedReader
from mizzen.proxy.codec.h1_head import content_length, head_end, parse_response
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders, lines, wire
from mizzen.proxy.upstream.request import UpstreamRequest

if TYPE_CHECKING:
    from mizzen.proxy.upstream.pool import Pool

BODILESS_METHODS: Final = frozenset(("GET", "HEAD", "DELETE", "TRACE", "CONNECT"))
MAX_HEAD: Final = 60 * 1024
IDLE: Final = 0
HEAD: Final = 1
LENGTH: Final = 2
CHUNKED: Final = 3
UNTIL_CLOSE: Final = 4
TUNNEL: Final = 5
_chunk_heads = {n: f"{n:x}\r\n".encode() for n in range(4096)}


def chunk(data: bytes) -> bytes:
    size = len(data)
    return b"".join((_chunk_heads.get(size) or f"{size:x}\r\n".encode(), data, b"\r\n"))


class H1Client:
    """A connection in a Pool; busy while `up` is set."""

    protocol = "HTTP/1.1"

    __slots__ = (
        "buffer",
        "chunked_out",
        "chunks",
        "closing",
        "error",
        "established",
        "head_out",
        "keep",
        "left",
        "local",
        "method",
        "paused_reading",
        "pool",
        "requests",
        "seen",
        "sent_end",
        "started",
        "state",
        "timer",
        "tls",
        "transport",
        "up",
        "upgrade",
        "write_paused",
    )

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.transport: Any = None
        self.up: Any = None
        self.state = IDLE
        self.buffer = b""
        self.left = 0
        self.chunks: ChunkedReader | None = None
        self.keep = True
        self.closing = False
        self.established = False
        self.sent_end = True
        self.chunked_out = False
        self.head_out: bytes | None = None
        self.method = ""
        self.upgrade = False
        self.requests = 0
        self.seen = 0
        self.started = monotonic()
        self.timer: Any = None
        self.tls: Any = None
        self.local: Any = None
        self.write_paused = False
        self.paused_reading = False
        self.error: str | None = None

    # --- transport's side ---

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.established = True
        self.tls = getattr(transport, "tls_info", None)
        name = transport.get_extra_info("sockname")
        self.local = name[:2] if isinstance(name, tuple) else None
        if self.closing:
            transport.abort()
            return
        self.pool.connected(self)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.closing = True
        self.pool.connect_failed(self, reason, text)

    def data_received(self, data: bytes) -> None:
        pool: Pool = self.pool
        pool.hot.upstream_cx_rx_bytes_total += len(data)
        if self.state == IDLE:
            self.error = "unexpected data"
            self.close()
            return
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        try:
            self._read(data)
        except CodecError:
            self.pool.stats.upstream_cx_protocol_error += 1
            self._fail("protocol error")

    def eof_received(self) -> bool:
        if self.state == TUNNEL and self.up is not None:
            self.up.on_data(b"", True)
            return True
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        up, self.up = self.up, None
        by_peer = not self.closing
        self.closing = True
        self._cancel_timer()
        pool_stats = self.pool.stats
        self.pool.closed(self, by_peer, up is not None)
        if up is not None:
            self.pool.detached()
            if (self.state == UNTIL_CLOSE and error is None) or (self.state == TUNNEL and error is None):
                up.on_data(b"", True)
            elif self.state in (LENGTH, CHUNKED):
                pool_stats.upstream_cx_protocol_error += 1
                up.on_reset("protocol error", None)  # the message is cut short
            else:
                up.on_reset("connection termination", None)
        self.transport = None
        self.pool = _Gone

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.up is not None:
            self.up.pause_request()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.up is not None:
            self.up.resume_request()

    # --- reading ---

    def _read(self, data: bytes) -> None:
        while data:
            state = self.state
            if state == HEAD:
                rest = self._head(data)
                if rest is None:
                    return
                data = rest
            elif state == LENGTH:
                size = len(data)
                if size < self.left:
                    self.left -= size
                    self.up.on_data(data, False)
                    break
                body, data = (data, b"") if size == self.left else (data[: self.left], data[self.left :])
                self._done(body, data)
                return
            elif state == CHUNKED:
                chunks = self.chunks
                assert chunks is not None
                body = chunks.feed(data)
                if not chunks.done:
                    if body:
                        self.up.on_data(body, False)
                    break
                self._done_chunked(body, chunks)
                return
            elif state in (UNTIL_CLOSE, TUNNEL):
                self.up.on_data(data, False)
                break
            else:
                return
        up = self.up
        if up is None:
            return
        if isinstance(up, UpstreamRequest):  # called directly where it is compiled
            up.flush_response()
        else:
            up.flush_response()

    def _head(self, data: bytes) -> bytes | None:
        """Reads a head; gives what follows it, or None when there is nothing more to do with this data."""
        end = data.find(b"\r\n\r\n")
        after = end + 4
        if end < 0 or data.find(b"\n\n", 0, end) >= 0:
            end, after = head_end(data)
            if end < 0:
                if len(data) > self.pool.cluster.http.max_response_head:
                    raise CodecError("http1.headers_too_large")
                self.buffer = data
                return None
        headers, minor = parse_response(data[:end])
        pool: Pool = self.pool
        limit = pool.cluster.http.max_response_headers
        if len(headers.d) > limit or (headers.more is not None and headers.count() > limit):
            raise CodecError("http1.too_many_headers")
        rest = data[after:]
        status = headers.status
        if 100 <= status < 200 and status != 101:
            self.up.on_early(headers)
            return rest if rest else None
        self._framing(headers, minor)
        if self.state == HEAD:  # no body
            self._finish_head(headers, rest)
            return None
        if self.state == LENGTH and self.left == 0:
            self._finish_head(headers, rest)
            return None
        up = self.up
        if isinstance(up, UpstreamRequest):
            up.on_headers(headers, False)
        else:
            up.on_headers(headers, False)
        if self.up is None or not rest:
            if self.up is not None:
                self.up.flush_response()
            return None
        return rest

    def _finish_head(self, headers: ResponseHeaders, rest: bytes) -> None:
        up = self.up
        self._release(rest)
        up.on_headers(headers, True)

    def _framing(self, headers: ResponseHeaders, minor: int) -> None:
        d = headers.d
        status = headers.status
        connection = d.get("connection")
        self.keep = minor == 1
        if connection is not None or "proxy-connection" in d:
            tokens = (headers.joined("connection") or headers.joined("proxy-connection") or "").lower()
            if "close" in tokens:
                self.keep = False
            elif "keep-alive" in tokens:
                self.keep = True
        length = content_length(d, headers.more)
        coding = d.get("transfer-encoding")
        if coding is not None:
            if length >= 0:
                raise CodecError("http1.content_length_and_chunked_not_allowed")
            if coding.lower() != "chunked" or (headers.more is not None and "transfer-encoding" in headers.more):
                raise CodecError("http1.invalid_transfer_encoding")
        if (status == 101 and self.upgrade) or (self.method == "CONNECT" and 200 <= status < 300):
            self.state = TUNNEL
        elif self.method == "HEAD" or status in (101, 204, 304):
            pass
        elif coding is not None:
            self.state = CHUNKED
            self.chunks = ChunkedReader()
        elif length >= 0:
            self.state = LENGTH
            self.left = length
        else:
            self.state = UNTIL_CLOSE
            self.keep = False

    def _done(self, body: bytes, rest: bytes) -> None:
        up = self.up
        self._release(rest)
        if isinstance(up, UpstreamRequest):
            up.on_data(body, True)
        else:
            up.on_data(body, True)

    def _done_chunked(self, body: bytes, chunks: ChunkedReader) -> None:
        up = self.up
        trailers = chunks.trailers
        if trailers is not None and self.pool.cluster.http.enable_trailers:
            if body:
                up.on_data(body, False)
            self._release(chunks.rest)
            up.on_trailers(trailers)
            return
        self._release(chunks.rest)
        up.on_data(body, True)

    def _release(self, rest: bytes) -> None:
        """The answer is complete: the connection is free again, or closes. Called before the owner is told."""
        self.up = None
        self.state = IDLE
        self.chunks = None
        pool: Pool = self.pool
        pool.detached()
        if rest or not self.keep or not self.sent_end or self.closing:
            self.close()
            return
        if self.paused_reading:
            self.paused_reading = False
            self.transport.resume_reading()
        limit = pool.cluster.http.max_requests_per_connection
        if limit and self.requests >= limit:
            pool.stats.upstream_cx_max_requests += 1
            self.close()
            return
        if pool.pending or pool.draining:
            pool.give_back(self)
        else:
            pool.idle.append(self)
        if self.timer is None and pool.cluster.http.idle_timeout:
            self._arm_idle(pool.cluster.http.idle_timeout)

    def _arm_idle(self, idle_s: float) -> None:
        """One timer for as long as the connection lives; it looks how long nothing was asked."""
        self.seen = self.requests
        self.timer = self.pool.cluster.loop.call_later(idle_s, self._idle_check)

    def _idle_check(self) -> None:
        self.timer = None
        if self.transport is None:
            return
        if self.up is not None or self.requests != self.seen:
            self._arm_idle(self.pool.cluster.http.idle_timeout)
            return
        self.pool.stats.upstream_cx_idle_timeout += 1
        self.close()

    def _cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _fail(self, reason: str) -> None:
        up, self.up = self.up, None
        self.state = IDLE
        self.closing = True
        if up is not None:
            self.pool.detached()
        self.transport.abort()
        if up is not None:
            up.on_reset(reason, None)

    # --- the router's side ---

    def attach(self, up: Any) -> None:
        self.up = up
        self.requests += 1
        self.state = HEAD
        self.keep = True
        self.sent_end = False
        self.chunked_out = False

    def send_headers(self, headers: RequestHeaders, end: bool) -> None:
        self.method = method = headers.method
        self.upgrade = headers.protocol is not None
        d = headers.d
        authority = headers.authority
        target = headers.path
        if method == "CONNECT":
            target = authority or ""
        parts = [method, " ", target, " HTTP/1.1\r\nhost: ", authority or "", "\r\n"]
        lines(parts, headers)
        if headers.protocol is not None:
            parts.append(f"connection: Upgrade\r\nupgrade: {headers.protocol}\r\n")
        elif end:
            if "content-length" not in d and method not in BODILESS_METHODS:
                parts.append("content-length: 0\r\n")
        elif "content-length" not in d and method != "CONNECT":
            parts.append("transfer-encoding: chunked\r\n")
            self.chunked_out = True
        parts.append("\r\n")
        data = wire(parts)
        if end:
            self._write(data)
            self._sent()
        else:
            self.head_out = data

    def flush(self) -> None:
        """Send a head that waited for its body."""
        if self.head_out is not None:
            data, self.head_out = self.head_out, None
            self._write(data)

    def _write(self, data: bytes) -> None:
        pool: Pool = self.pool
        pool.hot.upstream_cx_tx_bytes_total += len(data)
        if self.transport is not None:
            self.transport.write(data)

    def send_data(self, data: bytes, end: bool) -> None:
        if self.chunked_out:
            data = chunk(data) if data else b""
            if end:
                data += b"0\r\n\r\n"
        if self.head_out is not None:
            data = self.head_out + data
            self.head_out = None
        if data:
            self._write(data)
        if end:
            if (self.state == TUNNEL) and self.transport is not None and self.transport.can_write_eof():
                self.transport.write_eof()
            self._sent()

    def send_trailers(self, trailers: Headers) -> None:
        self.flush()
        if self.chunked_out:
            fields = ""
            if self.pool.cluster.http.enable_trailers:
                fields = "".join([f"{name}: {value}\r\n" for name, value in trailers.items()])
            self._write(f"0\r\n{fields}\r\n".encode("latin-1", "replace"))
        self._sent()

    def _sent(self) -> None:
        self.sent_end = True

    def cancel(self, up: Any) -> None:
        """The owner gives up: HTTP/1.1 can only close."""
        if self.up is not up:
            return
        self.up = None
        self.pool.detached()
        self.state = IDLE
        self.close()

    def pause_reading(self) -> None:
        if not self.paused_reading and self.transport is not None:
            self.paused_reading = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.paused_reading and self.transport is not None:
            self.paused_reading = False
            self.transport.resume_reading()

    def close(self) -> None:
        self.closing = True
        if self.transport is not None:
            self.transport.close()


class _NoPool:
    """In place of the pool of a connection that is gone: cuts the reference cycle."""

    stats: Any = None


_Gone: Any = _NoPool()
