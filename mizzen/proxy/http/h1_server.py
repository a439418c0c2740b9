"""A client's HTTP/1.1 connection: requests off the wire into Streams, their answers onto it.

One request at a time, as Envoy does: what is pipelined waits in the buffer and reading pauses. Not here: heads and chunks
(codec/), what is done with a request (stream.py).
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_body import ChunkedReader
from mizzen.proxy.codec.h1_head import content_length, head_end, parse_request
from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.h1_connection import CHUNKED, ENDING, LENGTH, READY, TUNNEL, WAIT, H1Connection
from mizzen.proxy.http.h1_request import check
from mizzen.proxy.http.stream import Stream

if TYPE_CHECKING:
    from mizzen.proxy.http.stream_response import ResponseSide


ERROR_BODIES: Final = {
    400: "Bad Request",
    426: "Upgrade Required",
    500: "Internal Server Error",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
}


class H1Server(H1Connection):
    """The connection's protocol, and the codec of its one active stream."""

    __slots__ = ()

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
                    server = self.hcm.server
                    if server.overloaded and server.overload.aborts_h1(self.conn):
                        self.hcm.stats.downstream_rq_overload_close += 1
                        raise CodecError("overload", 500)
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
                if data and self.head_timer is None:
                    self._await_head()
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
        check(hcm, request)
        end_stream = self._framing(request)
        rest = data[after:]
        if "expect" in request.d and request.d["expect"].lower() == "100-continue" and not hcm.proxy_100_continue:
            request.remove("expect")
            if not rest:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        stream.on_request(request, end_stream)
        return rest

    def _old_version(self, version: str, stream: Stream) -> None:
        if version == "HTTP/1.0" and self.hcm.accept_http_10:
            self.http10 = True
            stream.protocol = "HTTP/1.0"
            return
        raise CodecError("low_version", 426)

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
        if error.details != "overload":
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

    def _await_head(self) -> None:
        """A head has begun: the first of the limits that a request has while it comes."""
        hcm = self.hcm
        limits = (hcm.request_headers_timeout, hcm.request_timeout, hcm.stream_idle_timeout)
        self.head_limit = min([limit for limit in limits if limit], default=0.0)
        if self.head_limit:
            self.head_timer = hcm.server.loop.call_later(self.head_limit, self._head_timeout)

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
        if self.head_limit == self.hcm.request_headers_timeout:
            stats.downstream_rq_header_timeout += 1
            text, details, flag = "request header timeout", "request_header_timeout", 0
        elif self.head_limit == self.hcm.request_timeout:
            stats.downstream_rq_timeout += 1
            text, details, flag = "request timeout", "request_overall_timeout", 0
        else:
            stats.downstream_rq_idle_timeout += 1
            text, details, flag = "stream timeout", "stream_idle_timeout", flags.STREAM_IDLE_TIMEOUT
        stream.local_reply(408, text, details, flag, close=True, filters=False)

    def stream_done(self, stream: ResponseSide) -> None:
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
