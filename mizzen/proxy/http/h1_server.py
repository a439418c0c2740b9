"""A client's HTTP/1.1 connection: requests off the wire into Streams, their answers onto it.

One request at a time, as Envoy does: what is pipelined waits in the buffer and reading pauses. Not here: heads and chunks
(codec/), what is done with a request (stream.py).
"""

from __future__ import annotations

from http.client import responses as REASONS
from time import monotonic
from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_body import ChunkedReader
from mizzen.proxy.codec.h1_head import content_length, head_end, parse_request
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders, lines, wire
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.codec import Codec
from mizzen.proxy.http.stream import Stream
from mizzen.proxy.upstream.h1_client import chunk

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm
    from mizzen.proxy.net.connection import Downstream

READY, LENGTH, CHUNKED, WAIT, TUNNEL, ENDING = range(6)
STATUS_LINES = {code: f"HTTP/1.1 {code} {REASONS.get(code, 'Unknown')}\r\n" for code in range(1000)}
for _code, _reason in (
    (413, "Payload Too Large"),
    (414, "URI Too Long"),
    (416, "Range Not Satisfiable"),
    (418, "Unknown"),
    (451, "Unknown"),
):
    STATUS_LINES[_code] = f"HTTP/1.1 {_code} {_reason}\r\n"  # where Envoy's words are not Python's
PAUSE_AT = 64 * 1024
ERROR_BODIES = {
    400: "Bad Request",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
}


class H1Server(Codec):
    """The connection's protocol, and the codec of its one active stream."""

    __slots__ = (
        "buffer",
        "buffer_limit",
        "chunked_out",
        "chunks",
        "close_timer",
        "closing",
        "hcm",
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
        self.head_timer: Any = None
        self.close_timer: Any = None

    # --- the transport's side ---

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        stats = self.hcm.stats
        stats.downstream_cx_total += 1
        stats.downstream_cx_active += 1
        stats.downstream_cx_http1_total += 1
        stats.downstream_cx_http1_active += 1
        if self.conn.tls is not None:
            stats.downstream_cx_ssl_total += 1
            stats.downstream_cx_ssl_active += 1
        self.hcm.server.connections.add(self)
        if self.hcm.idle_timeout:
            self.idle_timer = self.hcm.server.loop.call_later(self.hcm.idle_timeout, self._idle_check)

    def data_received(self, data: bytes) -> None:
        self.hcm.hot.downstream_cx_rx_bytes_total += len(data)
        state = self.state
        if state == ENDING:
            return
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        if state == WAIT:
            self.buffer = data
            if not self.paused:
                self._pause()
            return
        self._process(data)

    def _process(self, data: bytes) -> None:
        self.processing = True
        try:
            while data:
                state = self.state
                if state == READY:
                    rest = self._head(data)
                    if rest is None:
                        break
                    data = rest
                elif state == LENGTH:
                    size = len(data)
                    stream = self.stream
                    if size < self.left:
                        self.left -= size
                        if stream is not None:
                            stream.on_data(data, False)
                        data = b""
                        break
                    body, data = data[: self.left], data[self.left :]
                    self.left = 0
                    self.state = WAIT
                    self._request_done(body)
                elif state == CHUNKED:
                    data = self._chunked(data)
                elif state == TUNNEL:
                    if self.stream is not None:
                        self.stream.on_data(data, False)
                    data = b""
                elif state == WAIT:
                    self.buffer = data
                    if not self.paused:
                        self._pause()
                    break
                else:
                    break
        except CodecError as error:
            self._refuse(error)
        finally:
            self.processing = False
        stream = self.stream
        if stream is not None and not stream.done and stream.router is not None:
            stream.router.flush_request()

    def _request_done(self, body: bytes) -> None:
        stream = self.stream
        if stream is None:
            self._next()
            return
        stream.on_data(body, True)

    def _chunked(self, data: bytes) -> bytes:
        chunks = self.chunks
        assert chunks is not None
        body = chunks.feed(data)
        stream = self.stream
        if not chunks.done:
            if body and stream is not None:
                stream.on_data(body, False)
            return b""
        self.state = WAIT
        self.chunks = None
        if stream is None:
            self._next()
        elif chunks.trailers is not None and self.hcm.enable_trailers:
            if body:
                stream.on_data(body, False)
            if not stream.done:
                stream.on_trailers(chunks.trailers)
        else:
            stream.on_data(body, True)
        return chunks.rest

    def _head(self, data: bytes) -> bytes | None:
        """Begin the request whose head `data` starts with; gives what follows the head, None when more is needed."""
        hcm = self.hcm
        while data and (data[0] == 13 or data[0] == 10):  # empty lines before a request line
            data = data[1:]
        end = data.find(b"\r\n\r\n")
        after = end + 4
        if end < 0 or data.find(b"\n\n", 0, end) >= 0:
            end, after = head_end(data)
            if end < 0:
                if len(data) > hcm.max_head:
                    raise CodecError("http1.headers_too_large", 431)
                self.buffer = data
                if data and hcm.request_headers_timeout and self.head_timer is None:
                    self.head_timer = hcm.server.loop.call_later(hcm.request_headers_timeout, self._head_timeout)
                return None
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        if after > hcm.max_head:
            raise CodecError("http1.headers_too_large", 431)
        stream = self.stream = Stream(hcm, self)
        self.requests += 1
        hcm.hot.downstream_rq_http1_total += 1
        stream.protocol = "HTTP/1.1"
        request, version = parse_request(data[:end])
        stream.wire_rx = after
        if version != "HTTP/1.1":
            self._old_version(version, stream)
        else:
            self.http10 = False
        self._check(request)
        end_stream = self._framing(request)
        rest = data[after:]
        if "expect" in request.d and request.d["expect"].lower() == "100-continue" and not hcm.proxy_100_continue:
            request.remove("expect")
            if not rest and not end_stream:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        stream.on_request(request, end_stream)
        return rest

    def _old_version(self, version: str, stream: Stream) -> None:
        if version == "HTTP/1.0" and self.hcm.accept_http_10:
            self.http10 = True
            stream.protocol = "HTTP/1.0"
            return
        raise CodecError("low_version", 426)

    def _check(self, request: RequestHeaders) -> None:
        hcm = self.hcm
        d = request.d
        if len(d) >= hcm.max_headers or request.more is not None:  # noqa: SIM102
            if request.count() + (request.authority is not None) > hcm.max_headers:
                raise CodecError("http1.too_many_headers", 431)
        if hcm.underscores and any("_" in name for name in d):
            self._underscores(request)
        target = request.path
        first = target[:1]
        if first != "/":
            self._target(request, target)
        authority = request.authority
        if authority and authority not in _authorities and not valid_authority(authority):
            raise CodecError("http.invalid_authority")

    def _underscores(self, request: RequestHeaders) -> None:
        hcm = self.hcm
        names = [name for name in request.d if "_" in name]
        if hcm.underscores == 1:
            hcm.codec1.requests_rejected_with_underscores_in_headers += 1
            raise CodecError("http1.unexpected_underscore")
        for name in names:
            hcm.codec1.dropped_headers_with_underscores += 1
            request.remove(name)

    def _target(self, request: RequestHeaders, target: str) -> None:
        """Absolute, authority and asterisk form."""
        method = request.method
        if method == "CONNECT":
            request.authority = target
            request.path = ""
            return
        if target == "*":
            if method != "OPTIONS":
                raise CodecError("http1.invalid_url")
            return
        scheme, mark, rest = target.partition("://")
        if not mark or not self.hcm.allow_absolute_url:
            raise CodecError("http1.codec_error")
        if scheme.lower() not in ("http", "https"):
            raise CodecError("http1.invalid_scheme")
        cut = min((i for i in (rest.find("/"), rest.find("?"), rest.find("#")) if i >= 0), default=len(rest))
        request.authority = rest[:cut]
        path = rest[cut:]
        request.path = path if path.startswith("/") else "/" + path
        request.scheme = scheme.lower()

    def _framing(self, request: RequestHeaders) -> bool:
        """How the body comes, and whether the connection stays; True when there is no body."""
        d = request.d
        self.keep = not self.http10
        self.head_request = request.method == "HEAD"
        upgrade = False
        if "connection" in d:
            upgrade = self._connection(request)
        if "proxy-connection" in d:
            words = d["proxy-connection"].lower()
            self.keep = "close" not in words and (self.keep or "keep-alive" in words)
        length = content_length(d, request.more)
        coding = d.get("transfer-encoding")
        if self.http10 and request.authority is None and self.hcm.default_host:
            request.authority = self.hcm.default_host
        if coding is not None:
            return self._coding(request, coding, length)
        if upgrade or request.method == "CONNECT":
            self.state = TUNNEL
            return False
        if length > 0:
            self.state, self.left = LENGTH, length
            return False
        self.state = WAIT
        return True

    def _coding(self, request: RequestHeaders, coding: str, length: int) -> bool:
        if length >= 0 and not self.hcm.allow_chunked_length:
            raise CodecError("http1.content_length_and_chunked_not_allowed")
        if coding.lower() != "chunked" or (request.more is not None and "transfer-encoding" in request.more):
            raise CodecError("http1.invalid_transfer_encoding", 501)
        if length >= 0:
            request.remove("content-length")
        request.remove("transfer-encoding")
        self.state, self.chunks = CHUNKED, ChunkedReader()
        return False

    def _connection(self, request: RequestHeaders) -> bool:
        """The Connection field: what it says of this connection, what it names; True for an upgrade."""
        words = [word.strip().lower() for word in (request.joined("connection") or "").split(",")]
        if "close" in words:
            self.keep = False
        elif "keep-alive" in words:
            self.keep = True
        upgrade = "upgrade" in words and "upgrade" in request.d
        for word in words:
            if word in ("close", "keep-alive", "upgrade", "", "te"):
                continue
            if word in ("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto") or word.startswith(":"):
                request.authority = None if word == "host" else request.authority
                if word != "host":
                    raise CodecError("http1.connection_header_rejected")
            request.remove(word)
        if "te" in words and "trailers" not in (request.joined("te") or ""):
            request.remove("te")
        if upgrade:
            kind = request.d["upgrade"]
            if kind.lower() == "h2c":
                request.remove("upgrade")
                request.remove("http2-settings")
                return False
            request.protocol = kind
            if "content-length" in request.d and request.d["content-length"] == "0":
                request.remove("content-length")
        return upgrade

    def _refuse(self, error: CodecError) -> None:
        """Answer a message that broke the protocol, and end the connection."""
        hcm = self.hcm
        hcm.stats.downstream_cx_protocol_error += 1
        self.state = ENDING
        self.buffer = b""
        stream = self.stream
        fresh = stream is None or stream.request is None
        if stream is None:
            stream = self.stream = Stream(hcm, self)
            self.requests += 1
            stream.protocol = "HTTP/1.1"
        self.keep = False
        stream.request_end = True
        if fresh:
            hcm.stats.downstream_rq_total += 1
            hcm.stats.downstream_rq_active += 1
        stream.flags |= flags.DOWNSTREAM_PROTOCOL_ERROR
        body = ERROR_BODIES.get(error.status, "Bad Request")
        stream.local_reply(error.status, body, error.details, close=True, filters=False)

    def _head_timeout(self) -> None:
        self.head_timer = None
        if self.state != READY:
            return
        stats = self.hcm.stats
        stream = self.stream = Stream(self.hcm, self)
        stream.protocol = "HTTP/1.1"
        stats.downstream_rq_total += 1
        stats.downstream_rq_active += 1
        self.state = ENDING
        if 0 < self.hcm.max_stream_duration <= self.hcm.request_headers_timeout:
            stats.downstream_rq_max_duration_reached += 1
            stream.local_reply(408, "downstream duration timeout", "max_duration_timeout", close=True, filters=False)
            return
        stats.downstream_rq_header_timeout += 1
        stream.local_reply(408, "request header timeout", "request_header_timeout", close=True, filters=False)

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

    # --- the stream's side ---

    def limit(self) -> int:
        return self.buffer_limit

    def in_turn(self) -> bool:
        return self.processing

    def blocked(self) -> bool:
        return self.write_paused

    def send_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> None:
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

    def send_data(self, stream: Stream, data: bytes, end: bool) -> None:
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

    def send_trailers(self, stream: Stream, trailers: Headers) -> None:
        data = b""
        if self.chunked_out:
            fields = ""
            if self.hcm.enable_trailers:
                fields = "".join([f"{name}: {value}\r\n" for name, value in trailers.items()])
            data = f"0\r\n{fields}\r\n".encode("latin-1", "replace")
        self.out.append(data)
        self.flush()

    def response_complete(self, stream: Stream) -> None:
        """The answer is out in full."""

    def reset(self, stream: Stream, details: str) -> None:
        """A stream cannot be completed: HTTP/1.1 can only close."""
        self.flush()
        self.keep = False
        self.closing = True
        self.state = ENDING
        if self.transport is not None:
            self.transport.close()

    def stream_done(self, stream: Stream) -> None:
        if self.stream is not stream:
            return
        self.stream = None
        self.last = monotonic()
        if self.closing:
            return
        if not self.keep or not stream.request_end:
            self.flush()
            self._end(stream.request_end and not (stream.local and stream.code == 400))
            return
        if self.state == WAIT:
            self._next()

    def _next(self) -> None:
        """Ready for another request."""
        self.state = READY
        if self.paused:
            self._resume()
        if self.buffer and not self.processing:
            data, self.buffer = self.buffer, b""
            self._process(data)

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

    # --- ending ---

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
        if self.stream is None:
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


AUTHORITY_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:%@[]")


_authorities: set[str] = set()  # valid ones that came before; bounded


def valid_authority(text: str) -> bool:
    if not AUTHORITY_CHARS.issuperset(text):
        return False
    if len(_authorities) > 4096:
        _authorities.clear()
    _authorities.add(text)
    return True
