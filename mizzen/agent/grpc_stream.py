"""gRPC over the data path's own HTTP/2 codec: a connection, and its streams of messages as bytes, on either side.

Costs 3 MB of memory where grpc.aio costs 12. Source: "gRPC over HTTP2". Not here: who calls whom (channel.py), message
compression (a peer that uses it is refused).
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote

from mizzen.api.errors import PeerError
from mizzen.proxy.codec.h2 import H2
from mizzen.proxy.codec.h2_frames import CANCEL, FRAME, Broken
from mizzen.proxy.codec.h2_stream import H2Stream
from mizzen.wire.grpc_status import FROM_HTTP, NAMES, Status

log = logging.getLogger("mizzen.agent.grpc")

Metadata = tuple[tuple[str, str], ...]
OK, UNKNOWN, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = (
    Status.OK, Status.UNKNOWN, Status.UNIMPLEMENTED, Status.INTERNAL, Status.UNAVAILABLE,
)  # fmt: skip


class CallFailed(PeerError):
    """A call that ended with a status; `code` is its name."""

    def __init__(self, status: int, message: str) -> None:
        self.code = NAMES[status] if 0 <= status < len(NAMES) else "UNKNOWN"
        super().__init__(f"{self.code}: {message}")


class Stream:
    """One call, as both sides see it. `read` gives messages; None is the orderly end."""

    def __init__(self, connection: Connection, inner: H2Stream) -> None:
        self._connection, self._inner = connection, inner
        self._buffer = bytearray()
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._failure: CallFailed | None = None
        self.headers: dict[str, str] = {}
        self.over = False

    async def read(self) -> bytes | None:
        """The next message. Raises CallFailed for an end with another status than OK."""
        message = await self._messages.get()
        if message is None:
            self._messages.put_nowait(None)  # the end stays the end
            if self._failure is not None:
                raise self._failure
        return message

    def write(self, message: bytes) -> None:
        """Queues a message. Does nothing once the call is over."""
        if not self.over:
            data = b"\0" + struct.pack("!I", len(message)) + message
            for at in range(0, len(data), FRAME):  # in frames at once: the codec cuts what waits for room over and over
                self._connection.h2.send_data(self._inner, data[at : at + FRAME], False)
            self._connection.flush()

    def done_writing(self) -> None:
        """A client's last word."""
        if not self.over:
            self._connection.h2.send_data(self._inner, b"", True)
            self._connection.flush()

    def cancel(self) -> None:
        if not self.over:
            self.over = True
            self._connection.h2.reset(self._inner, CANCEL)
            self._connection.flush()

    def finish(self, status: int = OK, message: str = "") -> None:
        """A server's last word."""
        if not self.over:
            self.over = True
            fields = [("grpc-status", str(status)), *([("grpc-message", message)] if message else [])]
            self._connection.h2.send_trailers(self._inner, fields)
            self._connection.flush()

    # what the connection tells

    def take_data(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 5:
            compressed, size = struct.unpack_from("!BI", self._buffer)
            if compressed:
                self.fail(CallFailed(INTERNAL, "a compressed message, which was not asked for"))
                return
            if len(self._buffer) < 5 + size:
                return
            self._messages.put_nowait(bytes(self._buffer[5 : 5 + size]))
            del self._buffer[: 5 + size]

    def take_end(self) -> None:
        """The client has no more messages, or the server is done."""
        self._messages.put_nowait(None)

    def take_status(self, status: int, message: str) -> None:
        self.over = True
        if status != OK:
            self._failure = CallFailed(status, message)
        self._messages.put_nowait(None)

    def fail(self, failure: CallFailed) -> None:
        self.over = True
        self._failure = failure
        self._messages.put_nowait(None)


class Connection(asyncio.Protocol):
    """One HTTP/2 connection. on_stream: a server's door for new streams; closed: set when it is gone."""

    def __init__(self, *, client: bool, on_stream: Callable[[str, Stream], None] | None = None) -> None:
        self.h2 = H2(self, client, connect=False)
        self._client, self._on_stream = client, on_stream
        self._transport: asyncio.Transport | None = None
        self._going = False
        self.closed = asyncio.Event()
        self.ready = asyncio.Event()

    @property
    def usable(self) -> bool:
        return not (self.closed.is_set() or self._going)

    def open(self, authority: str, method: str, metadata: Metadata) -> Stream:
        """A new call to `/package.Service/Method`."""
        inner = self.h2.open()
        stream = inner.app = Stream(self, inner)
        scheme = b"https" if self._transport and self._transport.get_extra_info("ssl_object") else b"http"
        pseudo = [
            (b":method", b"POST"),
            (b":scheme", scheme),
            (b":path", method.encode()),
            (b":authority", authority.encode()),
        ]
        fields = [("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "mizzen-agent"), *metadata]
        self.h2.send_headers(inner, pseudo, fields, False)
        self.flush()
        return stream

    def accept(self, stream: Stream, inner: H2Stream) -> None:
        """A server's response headers."""
        self.h2.send_headers(inner, [(b":status", b"200")], [("content-type", "application/grpc")], False)
        self.flush()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def flush(self) -> None:
        data = self.h2.take()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.flush()

    def data_received(self, data: bytes) -> None:
        try:
            self.h2.feed(data)
        except Broken as error:
            log.warning("HTTP/2: %s", error.details)
            self.flush()
            self.close()
            return
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self.ready.set()
        for inner in list(self.h2.streams.values()):
            if inner.app is not None:
                inner.app.fail(CallFailed(UNAVAILABLE, str(exc or "the connection was closed")))

    # mizzen.proxy.codec.h2.Handler

    def h2_new(self, stream: H2Stream) -> bool:
        stream.app = Stream(self, stream)
        return True

    def h2_headers(self, stream: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None:
        call: Stream = stream.app
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
        if not self._client:
            if trailers:
                call.take_end()
            elif self._on_stream is not None:
                call.headers = told
                self.accept(call, stream)
                self._on_stream(told.get(":path", ""), call)
                if end:
                    call.take_end()
            return
        if "grpc-status" in told:
            call.take_status(number(told["grpc-status"]), unquote(told.get("grpc-message", "")))
        elif told.get(":status", "200") != "200":
            status = number(told[":status"])
            call.take_status(FROM_HTTP.get(status, UNKNOWN), f"HTTP status {status}")
        elif end:
            call.take_status(UNKNOWN, "the answer has no status")

    def h2_data(self, stream: H2Stream, data: bytes, end: bool) -> None:
        self.h2.consumed(stream, len(data))
        call: Stream = stream.app
        if call.over and not self._client:
            return
        call.take_data(data)
        if end:
            call.take_end() if not self._client else call.take_status(UNKNOWN, "the answer has no status")

    def h2_reset(self, stream: H2Stream, code: int) -> None:
        stream.app.fail(CallFailed(UNAVAILABLE, f"the peer reset the stream (HTTP/2 error {code})"))

    def h2_goaway(self, last: int, code: int) -> None:
        self._going = True
        for number_, inner in list(self.h2.streams.items()):
            if self._client and number_ > last and inner.app is not None:
                inner.app.fail(CallFailed(UNAVAILABLE, "the peer is going away"))

    def h2_writable(self, stream: H2Stream) -> None:
        """Nothing waits for room: messages are few."""

    def h2_settings(self) -> None:
        self.ready.set()


def number(text: str) -> int:
    return int(text) if text.isdigit() else UNKNOWN


def status_of(error: BaseException) -> tuple[int, str]:
    """How a server's handler ended."""
    if isinstance(error, CallFailed):
        return NAMES.index(error.code), str(error)
    return INTERNAL, type(error).__name__
