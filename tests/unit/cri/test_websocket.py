"""WebSocket framing of the server's side: lengths, fragments, control frames, and what breaks the protocol."""

from __future__ import annotations

import asyncio
import struct
from typing import Any, cast

import pytest

from mizzen.runtime.cri.streaming.http1 import BadRequest, Request
from mizzen.runtime.cri.streaming.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WebSocket,
    WebSocketError,
    choose,
    frame,
    unmask,
)

KEY = b"\x01\x02\x03\x04"


class Sink:
    """A writer that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        """Nothing waits."""


def masked(opcode: int, data: bytes, *, final: bool = True) -> bytes:
    plain = frame(opcode, data)
    head = plain[: len(plain) - len(data)]
    return bytes([head[0] if final else head[0] & 0x7F, head[1] | 0x80]) + head[2:] + KEY + unmask(data, KEY)


def request(sink: Sink, reader: asyncio.StreamReader, *lines: str) -> Request:
    head = "\r\n".join(("GET /exec?tty=1 HTTP/1.1", *lines)).encode()
    return Request(head, reader, cast("Any", sink))


def receive(data: bytes) -> tuple[list[bytes], bytes]:
    """(the messages in data, what was answered)."""

    async def run() -> tuple[list[bytes], bytes]:
        reader, sink = asyncio.StreamReader(), Sink()
        reader.feed_data(data)
        reader.feed_eof()
        socket, found = WebSocket(request(sink, reader)), []
        while (message := await socket.receive()) is not None:
            found.append(message)
        return found, sink.data

    return asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_every_form_of_length(size: int) -> None:
    assert receive(masked(BINARY, b"z" * size)) == ([b"z" * size], b"")
    assert len(frame(BINARY, b"z" * size)) == size + (2 if size < 126 else 4 if size < 65536 else 10)


def test_fragments_with_a_ping_between() -> None:
    data = masked(TEXT, b"he", final=False) + masked(PING, b"?") + masked(CONTINUATION, b"llo") + masked(BINARY, b"x")
    assert receive(data) == ([b"hello", b"x"], frame(PONG, b"?"))


def test_close_is_answered_once() -> None:
    data = masked(CLOSE, struct.pack(">H", 1000)) + masked(BINARY, b"late")
    assert receive(masked(BINARY, b"a") + data)[0][0] == b"a"
    assert receive(masked(CLOSE, b"")) == ([], frame(CLOSE, struct.pack(">H", 1000)))


def test_a_cut_connection_is_an_end() -> None:
    assert receive(masked(BINARY, b"hello")[:-1]) == ([], b"")


@pytest.mark.parametrize(
    "data",
    [frame(BINARY, b"unmasked"), bytes([0xC2, 0x80]) + KEY, bytes([0x82, 0xFF]) + struct.pack(">Q", 1 << 40) + KEY],
    ids=["unmasked", "extension", "too long"],
)
def test_what_breaks_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(WebSocketError):
        receive(data)


def test_handshake() -> None:
    async def run() -> bytes:
        sink = Sink()
        lines = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
        await WebSocket.accept(request(sink, asyncio.StreamReader(), *lines), "v5.channel.k8s.io")
        with pytest.raises(WebSocketError):
            await WebSocket.accept(request(sink, asyncio.StreamReader(), lines[0]), "")
        return sink.data

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer  # RFC 6455, section 1.3
    assert b"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n" in answer


def test_heads() -> None:
    async def run() -> None:
        lines = ("Connection: keep-alive, Upgrade", "Upgrade: SPDY/3.1", "X-A: 1", "x-a: 2",
                 "Sec-WebSocket-Protocol: v4.channel.k8s.io, v5.channel.k8s.io")  # fmt: skip
        found = request(Sink(), asyncio.StreamReader(), *lines)
        assert (found.path, found.flag("tty"), found.flag("stdin")) == ("/exec", True, False)
        assert found.upgrade() == "spdy/3.1"
        assert found.offers("x-a") == ["1", "2"]
        assert choose(found, ("v5.channel.k8s.io", "v4.channel.k8s.io")) == "v5.channel.k8s.io"
        assert choose(found, ("v1.channel.k8s.io",)) is None
        for head in (b"GET /", b"GET / HTTP/2", b"GET / HTTP/1.1\r\nno colon"):
            with pytest.raises(BadRequest):
                Request(head, asyncio.StreamReader(), cast("Any", Sink()))

    asyncio.run(run())
