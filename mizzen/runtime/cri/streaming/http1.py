"""A small HTTP/1.1 server side for connections that end in an upgrade: read a head, answer, or hand the bytes on.

Takes asyncio streams; one request a connection unless the handler reads on. Not for the data path.
Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

MAX_HEAD = 64 * 1024  # bytes of a request's head
CHUNK = 64 * 1024

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class BadRequest(Exception):
    """The peer's head is not HTTP/1.1 as we read it."""


class Request:
    """A request's head, and the connection it came on. `headers`: lower-case names, values joined by ", "."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        lines = head.decode("latin-1").split("\r\n")
        try:
            self.method, self.target, version = lines[0].split(" ")
        except ValueError:
            raise BadRequest("malformed request line") from None
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadRequest(f"unsupported version {version}")
        self.headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if line and not colon:
                raise BadRequest("malformed header line")
            if line:
                key = name.strip().lower()
                self.headers[key] = f"{self.headers[key]}, {value.strip()}" if key in self.headers else value.strip()
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes (`1`, `true`)."""
        return self.query.get(name, [""])[-1].lower() in ("1", "true", "t")

    def upgrade(self) -> str:
        """The protocol of an Upgrade request in lower case (`websocket`, `spdy/3.1`); empty when there is none."""
        tokens = [token.strip().lower() for token in self.headers.get("connection", "").split(",")]
        return self.headers.get("upgrade", "").lower() if "upgrade" in tokens else ""

    def offers(self, header: str) -> list[str]:
        """The items of a comma list header."""
        return [item.strip() for item in self.headers.get(header, "").split(",") if item.strip()]

    async def body(self) -> bytes:
        """A body of Content-Length bytes."""
        size = int(self.headers.get("content-length") or 0)
        return await self.reader.readexactly(size) if size else b""

    async def respond(self, status: int, text: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        """A whole answer; the connection is closed after it."""
        head = response_head(
            status, {"Content-Type": content_type, "Content-Length": str(len(text)), "Connection": "close"}
        )
        self.writer.write(head + text)
        await self.writer.drain()

    async def begin_chunks(self, content_type: str = "text/plain; charset=utf-8") -> None:
        """The head of an answer of unknown length."""
        headers = {"Content-Type": content_type, "Transfer-Encoding": "chunked", "Connection": "close"}
        self.writer.write(response_head(200, headers))
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """A part of it; the empty part ends it."""
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request's head; None when the peer has closed. Raises BadRequest."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError:
        raise BadRequest("the head is too long") from None
    if len(head) > MAX_HEAD:
        raise BadRequest("the head is too long")
    return Request(head[:-4], reader, writer)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes until the end, then half-close where the transport can."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()


async def pipe(one: Connection, two: Connection) -> None:
    """Bytes both ways until both sides have ended, or one is broken."""
    tasks = [asyncio.create_task(copy(one[0], two[1])), asyncio.create_task(copy(two[0], one[1]))]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        one[1].close()
        two[1].close()
