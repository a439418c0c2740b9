"""The server's side of a WebSocket: handshake, messages in, messages out.

Source: RFC 6455. No extensions; subprotocols are chosen by the caller.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import Sequence

from mizzen.runtime.cri.streaming.http1 import Request, response_head

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MAX_MESSAGE = 32 << 20


class WebSocketError(Exception):
    """The peer broke the protocol."""


def unmask(data: bytes, key: bytes) -> bytes:
    """XOR with the four-byte key, all at once as one long number."""
    if not data:
        return b""
    mask = (key * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(data), "big")


def frame(opcode: int, data: bytes) -> bytes:
    """A whole, unmasked frame."""
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, size)
    return head + data


def choose(request: Request, supported: Sequence[str]) -> str | None:
    """The first of supported that the client offers."""
    offered = request.offers("sec-websocket-protocol")
    return next((name for name in supported if name in offered), None)


class WebSocket:
    """A connection after its handshake. Frames of the client must be masked."""

    def __init__(self, request: Request) -> None:
        self.reader, self.writer = request.reader, request.writer
        self._closed = False

    @classmethod
    async def accept(cls, request: Request, protocol: str) -> WebSocket:
        """Answer the handshake with the chosen subprotocol. Raises WebSocketError when it is not one."""
        key = request.headers.get("sec-websocket-key", "")
        if not key or request.headers.get("sec-websocket-version") != "13":
            raise WebSocketError("not a WebSocket handshake of version 13")
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        if protocol:
            headers["Sec-WebSocket-Protocol"] = protocol
        request.writer.write(response_head(101, headers))
        await request.writer.drain()
        return cls(request)

    async def _frame(self) -> tuple[bool, int, bytes]:
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        if not second & 0x80 or size > MAX_MESSAGE or first & 0x70:
            raise WebSocketError("a frame that is unmasked, too long, or uses an extension")
        key = await self.reader.readexactly(4)
        return bool(first & 0x80), first & 0x0F, unmask(await self.reader.readexactly(size), key)

    async def receive(self) -> bytes | None:
        """The next message; None when the peer has closed."""
        parts: list[bytes] = []
        while True:
            try:
                final, opcode, data = await self._frame()
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if opcode == PING:
                self.writer.write(frame(PONG, data))
            elif opcode == CLOSE:
                await self.close()
                return None
            elif opcode in (TEXT, BINARY, CONTINUATION):
                parts.append(data)
                if sum(map(len, parts)) > MAX_MESSAGE:
                    raise WebSocketError("a message that is too long")
                if final:
                    return b"".join(parts)

    async def send(self, data: bytes) -> None:
        """One binary message; after a close, nothing."""
        if not self._closed:
            self.writer.write(frame(BINARY, data))
            await self.writer.drain()

    async def close(self, code: int = 1000) -> None:
        """Say goodbye once."""
        if not self._closed:
            self._closed = True
            self.writer.write(frame(CLOSE, struct.pack(">H", code)))
            await self.writer.drain()
