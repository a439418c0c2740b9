"""SPDY/3.1 as Kubernetes speaks it for exec, attach and port-forward: a server's side of streams that the client opens.

`Codec` is the framing (bytes in, events out; no I/O), `Session` runs it over a pair of functions that read and write bytes,
so that it works on a socket and inside a WebSocket alike. No flow control windows: Kubernetes' peers do not use them.
Source: SPDY protocol draft 3.1; the header dictionary is its section 2.6.10.1.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
LEAST = {SYN_STREAM: 10, RST_STREAM: 8, PING: 4, HEADERS: 4}  # bytes before what is of no fixed size
FIN = 0x01
MAX_FRAME = 1 << 24
BUFFERED = 1 << 20  # bytes a stream may hold before the session stops reading

_WORDS = [
    *str.split(
        "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age "
        "allow authorization cache-control connection content-base content-encoding content-language content-length "
        "content-location content-md5 content-range content-type date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
        "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
        "user-agent vary via warning www-authenticate method get status"
    ),
    "200 OK",
    *str.split("version HTTP/1.1 url public set-cookie keep-alive origin"),
]
_CODES = (
    "100 101 201 202 205 206 300 302 303 304 305 306 307 402 405 406 407 408 409 410 411 412 413 414 415 416 417 502 504 505"
).replace(" ", "")
_PHRASES = (
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct "
    "Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,"
    "utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(w)) + w.encode() for w in _WORDS) + (_CODES + _PHRASES).encode()


class SpdyError(Exception):
    """The peer broke the protocol."""


class Opened(NamedTuple):
    """The client opened a stream."""

    stream: int
    headers: dict[str, str]
    ended: bool


class Data(NamedTuple):
    """Bytes of a stream; ended: its last."""

    stream: int
    data: bytes
    ended: bool


class Reset(NamedTuple):
    """The client gave a stream up."""

    stream: int


class Ping(NamedTuple):
    """To be answered with the same number."""

    number: int


class Goaway(NamedTuple):
    """The client opens no more streams."""


Event = Opened | Data | Reset | Ping | Goaway


class Codec:
    """Frames of one connection."""

    def __init__(self) -> None:
        self._inbox = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Event]:
        """The events that data completes. Raises SpdyError."""
        self._inbox += data
        events: list[Event] = []
        while len(self._inbox) >= 8:
            word, size = struct.unpack_from(">II", self._inbox)
            flags, size = size >> 24, size & 0xFFFFFF
            if len(self._inbox) < 8 + size:
                break
            body = bytes(self._inbox[8 : 8 + size])
            del self._inbox[: 8 + size]
            if word & 0x80000000:
                events += self._control(word >> 16 & 0x7FFF, word & 0xFFFF, flags, body)
            else:
                events.append(Data(word & 0x7FFFFFFF, body, bool(flags & FIN)))
        return events

    def _control(self, version: int, kind: int, flags: int, body: bytes) -> list[Event]:
        if version != 3:
            raise SpdyError(f"SPDY version {version} is not supported")
        if len(body) < LEAST.get(kind, 0):
            raise SpdyError(f"a control frame of type {kind} with {len(body)} bytes is too short")
        if kind == SYN_STREAM:
            (stream,) = struct.unpack_from(">I", body)
            return [Opened(stream & 0x7FFFFFFF, self._headers(body[10:]), bool(flags & FIN))]
        if kind == HEADERS:
            self._headers(body[4:])  # the compression state must move on
        elif kind == RST_STREAM:
            return [Reset(struct.unpack_from(">I", body)[0] & 0x7FFFFFFF)]
        elif kind == PING:
            return [Ping(struct.unpack_from(">I", body)[0])]
        elif kind == GOAWAY:
            return [Goaway()]
        return []

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            raw = self._inflate.decompress(block, 1 << 16)
            (count,) = struct.unpack_from(">I", raw)
            at, found = 4, {}
            for _ in range(count):
                pair = []
                for _ in range(2):
                    (size,) = struct.unpack_from(">I", raw, at)
                    if at + 4 + size > len(raw):
                        raise SpdyError("a header block that ends inside a name or value")
                    pair.append(raw[at + 4 : at + 4 + size].decode("latin-1"))
                    at += 4 + size
                found[pair[0].lower()] = pair[1]
        except (zlib.error, struct.error) as error:
            raise SpdyError(f"unreadable header block: {error}") from error
        return found

    def _frame(self, kind: int, flags: int, body: bytes) -> bytes:
        return struct.pack(">HHI", 0x8003, kind, flags << 24 | len(body)) + body

    def _block(self, headers: dict[str, str]) -> bytes:
        raw = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                raw += struct.pack(">I", len(text)) + text
        return self._deflate.compress(raw) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def reply(self, stream: int, headers: dict[str, str] | None = None) -> bytes:
        """Accept a stream."""
        return self._frame(SYN_REPLY, 0, struct.pack(">I", stream) + self._block(headers or {}))

    def open(self, stream: int, headers: dict[str, str]) -> bytes:
        """Open a stream (the client's side; tests use it)."""
        return self._frame(SYN_STREAM, 0, struct.pack(">IIH", stream, 0, 0) + self._block(headers))

    def data(self, stream: int, data: bytes, *, end: bool = False) -> bytes:
        """Bytes of a stream."""
        return struct.pack(">II", stream, (FIN if end else 0) << 24 | len(data)) + data

    def reset(self, stream: int, status: int = 5) -> bytes:
        """Give a stream up; 5 is CANCEL."""
        return self._frame(RST_STREAM, 0, struct.pack(">II", stream, status))

    def ping(self, number: int) -> bytes:
        """Answer a ping."""
        return self._frame(PING, 0, struct.pack(">I", number))

    def goaway(self) -> bytes:
        """Say that no more streams are taken."""
        return self._frame(GOAWAY, 0, struct.pack(">II", 0, 0))


class Stream:
    """One stream of a session. `read` gives b"" at its end."""

    def __init__(self, session: Session, number: int, headers: dict[str, str]) -> None:
        self.session, self.number, self.headers = session, number, headers
        self._buffer = bytearray()
        self._changed = asyncio.Event()
        self._ended = False
        self.finished = False

    def put(self, data: bytes, ended: bool) -> None:
        """What came from the peer."""
        self._buffer += data
        self._ended = self._ended or ended
        self._changed.set()

    @property
    def full(self) -> bool:
        """Whether the session should wait before it reads on."""
        return len(self._buffer) > BUFFERED

    async def read(self) -> bytes:
        """All that is there, at least a byte; b"" at the end."""
        while not self._buffer and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        self.session.drained.set()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; after `end`, nothing."""
        if not self.finished and data:
            for at in range(0, len(data), 1 << 16):
                await self.session.send(self.session.codec.data(self.number, data[at : at + (1 << 16)]))

    async def end(self) -> None:
        """End our direction."""
        if not self.finished:
            self.finished = True
            await self.session.send(self.session.codec.data(self.number, b"", end=True))


class Session:
    """Runs a codec. read: gives bytes, b"" at the end; write: sends bytes; opened: told of each stream, already accepted."""

    def __init__(
        self,
        read: Callable[[], Awaitable[bytes]],
        write: Callable[[bytes], Awaitable[None]],
        opened: Callable[[Stream], None],
    ) -> None:
        self.codec = Codec()
        self.streams: dict[int, Stream] = {}
        self.drained = asyncio.Event()
        self._read, self._write, self._opened = read, write, opened
        self._order = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        """Write one frame whole."""
        async with self._order:
            await self._write(data)

    async def run(self) -> None:
        """Until the peer closes; then every stream has ended. Raises SpdyError."""
        try:
            while data := await self._read():
                for event in self.codec.feed(data):
                    await self._handle(event)
                while any(stream.full for stream in self.streams.values()):
                    self.drained.clear()
                    await self.drained.wait()
        finally:
            for stream in self.streams.values():
                stream.put(b"", True)

    async def _handle(self, event: Event) -> None:
        if isinstance(event, Opened):
            stream = self.streams[event.stream] = Stream(self, event.stream, event.headers)
            stream.put(b"", event.ended)
            await self.send(self.codec.reply(event.stream))
            self._opened(stream)
        elif isinstance(event, Data):
            if (found := self.streams.get(event.stream)) is not None:
                found.put(event.data, event.ended)
        elif isinstance(event, Reset):
            if (found := self.streams.pop(event.stream, None)) is not None:
                found.finished = True
                found.put(b"", True)
        elif isinstance(event, Ping):
            await self.send(self.codec.ping(event.number))
