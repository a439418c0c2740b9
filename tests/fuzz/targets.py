"""Codecs under any bytes: each target raises nothing but an AssertionError when a codec breaks its word.

The word: no exception but the codec's own, and what comes in pieces is read as what comes whole. Seeds are inputs that say something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from mizzen.istiod.rpc import h2 as rpc
from mizzen.proxy.accesslog.format import header_format, text_format
from mizzen.proxy.codec import h2_frames, proxy_protocol, tls_hello
from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_body import ChunkedReader
from mizzen.proxy.codec.h1_head import head_end, parse_request, parse_response
from mizzen.proxy.codec.h2 import H2
from mizzen.proxy.codec.h2_messages import request_of, response_of, trailers_of
from mizzen.proxy.codec.h2_stream import H2Stream
from mizzen.proxy.codec.hpack import Decoder
from mizzen.proxy.config.errors import ConfigError
from mizzen.wire.hpack import literal


class Target(NamedTuple):
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def h1_request(data: bytes) -> None:
    head_end(data)
    with contextlib.suppress(CodecError):
        parse_request(data)


def h1_response(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        parse_response(data)


def chunked(data: bytes) -> None:
    """The first byte says how long the pieces are."""
    size = (data[0] if data else 0) % 16 + 1
    assert _chunked([data[1:]]) == _chunked([data[at : at + size] for at in range(1, len(data), size)])


def _chunked(pieces: list[bytes]) -> tuple[bytes, bool] | None:
    """Body and whether it is over; None when it is refused."""
    reader, body = ChunkedReader(), b""
    try:
        for piece in pieces:
            if not reader.done:
                body += reader.feed(piece)
    except CodecError:
        return None
    return body, reader.done


def hpack(data: bytes) -> None:
    decoder = Decoder(4096)
    with contextlib.suppress(CodecError):
        fields = decoder.decode(data)
        for read in (request_of, response_of, trailers_of):
            with contextlib.suppress(CodecError):
                read(fields)


class Heard:
    """A handler of either HTTP/2 codec: takes everything, remembers what matters."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.body = b""

    def h2_headers(self, stream: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None:
        self.events.append((stream.id, tuple(fields), end, trailers))

    def h2_data(self, stream: H2Stream, data: bytes, end: bool) -> None:
        self.body += data

    def h2_reset(self, stream: H2Stream, code: int) -> None:
        self.events.append((stream.id, code))

    def h2_goaway(self, last: int, code: int) -> None:
        self.events.append((last, code))

    def h2_writable(self, stream: H2Stream) -> None: ...

    def h2_new(self, stream: H2Stream) -> bool:
        return True

    def h2_settings(self) -> None: ...

    def opened(self, stream: rpc.H2Stream, fields: rpc.Fields, end: bool) -> None: ...

    def received(self, stream: rpc.H2Stream, data: bytes, end: bool) -> None: ...

    def reset(self, stream: rpc.H2Stream) -> None: ...

    def drained(self, stream: rpc.H2Stream) -> None: ...


def http2(data: bytes) -> None:
    """Frames to a server. Those of an odd first byte come to a client that has asked something."""
    client = bool(data and data[0] & 1)
    size = (data[0] if data else 0) % 64 + 1
    pieces = [data[at : at + size] for at in range(1, len(data), size)]
    assert _http2(client, [data[1:]]) == _http2(client, pieces)


def _http2(client: bool, pieces: list[bytes]) -> tuple[list[tuple[object, ...]], bytes, int]:
    heard = Heard()
    connection = H2(heard, client)
    if client:
        connection.send_headers(connection.open(), [(b":method", b"GET")], [], True)
    code = -1
    try:
        for piece in [b"" if client else h2_frames.PREFACE, *pieces]:
            connection.feed(piece)
    except h2_frames.Broken as error:
        code = error.code
    assert len(connection.take()) < 100_000
    return heard.events, heard.body, code


def rpc_http2(data: bytes) -> None:
    """Frames to istiod's gRPC server."""
    connection = rpc.H2Server(Heard())
    with contextlib.suppress(rpc.Broken):
        connection.feed(rpc.PREFACE + data)
    assert sum(map(len, connection.pull(1 << 16))) < 100_000


def proxy_header(data: bytes) -> None:
    with contextlib.suppress(proxy_protocol.Broken):
        proxy_protocol.read(data)


def hello(data: bytes) -> None:
    with contextlib.suppress(tls_hello.NotTls):
        tls_hello.client_hello(data)


def log_format(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (text_format, header_format):
        with contextlib.suppress(ConfigError):
            read(text)


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


SETTINGS = _frame(4, 0, 0)
GET = (
    literal(b":method", b"GET") + literal(b":scheme", b"http") + literal(b":path", b"/") + literal(b":authority", b"a")
)
HELLO = bytes.fromhex(
    "16030100480100004403030000000000000000000000000000000000000000000000000000000000000000000002130101000019"
    "0000000a00080000056f2e746573001000050003026832"
)
TARGETS = {
    "h1_request": Target(h1_request, (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST http://a/ HTTP/1.0\r\nX: y\r\n z\r\n\r\n")),
    "h1_response": Target(h1_response, (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",)),
    "chunked": Target(chunked, (b"\x035\r\nhello\r\n0\r\nX: y\r\n\r\n", b"\x0010;a=b\r\n0123456789abcdef\r\n0\r\n\r\n")),
    "hpack": Target(hpack, (GET, b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", b"\x3f\xe1\x1f\x82")),
    "http2": Target(
        http2,
        (
            b"\x04" + SETTINGS + _frame(1, 5, 1, GET) + _frame(6, 0, 0, b"12345678"),
            b"\x05" + SETTINGS + _frame(1, 4, 1, b"\x88") + _frame(0, 1, 1, b"body"),
            b"\x10" + SETTINGS + _frame(1, 0, 1, GET[:9]) + _frame(9, 4, 1, GET[9:]) + _frame(3, 0, 1, b"\0\0\0\x08"),
        ),
    ),
    "rpc_http2": Target(rpc_http2, (SETTINGS + _frame(1, 4, 1, GET) + _frame(0, 1, 1, b"\0\0\0\0\1x"),)),
    "proxy_header": Target(
        proxy_header,
        (
            b"PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\1\2\3\4\5\6\7\x08\0\x50\1\xbb\4\0\0",
        ),
    ),
    "hello": Target(hello, (HELLO,)),
    "log_format": Target(
        log_format,
        (
            b"[%START_TIME(%s.%3f)%] %REQ(A?B):9% %DYNAMIC_METADATA(a:b)% %%",
            b"%PROTOCOL",
            b"%REQ(a\x01b)% %RESP(a'{b}\"\"\")%",  # names that are no plain text in code
        ),
    ),
}  # fmt: skip
