"""gRPC calls over HTTP/2, as our own server sees them: a connection, and one object for each call on it.

Sending never waits and copies nothing. Not here: ports (server.py), what methods do. Source: "gRPC over HTTP2".
Messages are refused when compressed: nothing here offers to take them.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import cast
from urllib.parse import quote

from mizzen.istiod.rpc.call import MAX_RECEIVE, Method, address, run
from mizzen.istiod.rpc.h2 import NO_ERROR, Broken, Fields, H2Server, H2Stream
from mizzen.wire.grpc_status import Status
from mizzen.wire.hpack import literal

log = logging.getLogger(__name__)

ROOM = 256 << 10  # handed to the transport at once
SMALL = 16 << 10  # below this a copy costs less than a slice
STATUS_200 = b"\x88"  # indexed (RFC 7541, appendix A)
CONTENT_TYPE = literal(b"content-type", b"application/grpc")
HEADERS = STATUS_200 + CONTENT_TYPE
UNSUPPORTED_MEDIA_TYPE = literal(b":status", b"415")

Uris = Callable[[asyncio.BaseTransport], Sequence[str]]
"""The URI SANs of a connection's verified client certificate."""

_prefix = struct.Struct("!BI")


class StreamCall:
    """A Call on a stream of a connection."""

    def __init__(self, connection: Connection, stream: H2Stream, path: str, metadata: Mapping[str, str]) -> None:
        self.path, self.metadata = path, metadata
        self.peer, self.uris = connection.peer, connection.uris
        self.quick: Callable[[bytes], bool] = lambda message: False
        self.on_writable: Callable[[], None] = lambda: None
        self._connection, self._stream = connection, stream
        self._partial = bytearray()
        self._messages: deque[bytes] = deque()
        self._ended = False
        self._answered = False
        self._waiter: asyncio.Future[None] | None = None
        self.over = False
        self.task: asyncio.Task[None] | None = None

    async def read(self) -> bytes | None:
        """The next message that `quick` did not take; None when the caller has said its last or is gone."""
        while not self._messages:
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        self._consumed(len(message))
        return message

    def writable(self) -> bool:
        """Whether what was sent has all been handed to the transport, and that is not full; if not, `on_writable` is
        called once when it has become so.
        """
        if self.over:
            return False
        if not self._stream.parts and not self._connection.full:
            return True
        self._connection.waiting[self] = None
        return False

    def send(self, message: bytes) -> None:
        """Queue a message. Nothing happens once the call is over."""
        if self.over:
            return
        self._answer()
        prefix = _prefix.pack(0, len(message))
        if len(message) <= SMALL:
            self._connection.h2.send(self._stream, prefix + message)
        else:
            self._connection.h2.send(self._stream, prefix, memoryview(message))
        self._connection.flush()

    def finish(self, code: Status, details: str = "") -> None:
        """End the call, behind what has been sent."""
        if self.over:
            return
        self.over = True
        fields = literal(b"grpc-status", str(int(code)).encode())
        if details:
            fields += literal(b"grpc-message", quote(details, safe=" !#$&'()*+,/:;=?@[]\"<>{}|^`\\-._~").encode())
        if self._answered:
            self._connection.h2.finish(self._stream, fields)
        else:
            self._connection.h2.headers(self._stream, HEADERS + fields, end=True)
        self._connection.flush()

    def _answer(self) -> None:
        if not self._answered:
            self._answered = True
            self._connection.h2.headers(self._stream, HEADERS)

    # What the connection tells

    def take(self, data: bytes, end: bool) -> None:
        """Bytes of the caller; end: they were the last."""
        if self.over:
            self._consumed(len(data))
            return
        if data:
            self._take(data)
        if end:
            self.end()

    def _take(self, data: bytes) -> None:
        """Cut messages out of the bytes. Those that wait for a reader hold the caller's window; other bytes do not."""
        if not self._partial and len(data) >= 5 and _prefix.unpack_from(data) == (0, len(data) - 5):
            self._message(data[5:])  # the usual: one whole message
            self._consumed(5)
            return
        self._partial += data
        credit = len(data)
        while len(self._partial) >= 5:
            compressed, size = _prefix.unpack_from(self._partial)
            if compressed or size > MAX_RECEIVE:
                self._refuse(compressed, size)
                return
            if len(self._partial) < 5 + size:
                break
            message = bytes(self._partial[5 : 5 + size])
            del self._partial[: 5 + size]
            credit -= size
            self._message(message)
        self._connection.h2.consumed(self._stream, credit)

    def _message(self, message: bytes) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            if self.quick(message):
                self._consumed(len(message))
                return
            waiter.set_result(None)
        self._messages.append(message)

    def _refuse(self, compressed: int, size: int) -> None:
        if compressed:
            self.finish(Status.UNIMPLEMENTED, "compressed messages are not taken")
        else:
            self.finish(Status.RESOURCE_EXHAUSTED, f"a message of {size} bytes; {MAX_RECEIVE} are the most")
        self.end()

    def _consumed(self, size: int) -> None:
        self._connection.h2.consumed(self._stream, size)

    def end(self) -> None:
        """The caller says no more."""
        self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def lost(self) -> None:
        """The caller is gone."""
        self.over = True
        self._messages.clear()
        self._stream.parts.clear()
        self.end()
        if self.task is not None:
            self.task.cancel()


class Connection(asyncio.Protocol):
    """One HTTP/2 connection. methods: by path; peers: the set of open connections that this one is in while it is."""

    def __init__(self, methods: Mapping[str, Method], peers: set[Connection], uris: Uris) -> None:
        self.h2 = H2Server(self)
        self.peer = ""
        self.uris: Sequence[str] = ()
        self.full = False
        self.heard = self._pinged = 0.0
        self._methods, self._peers, self._read_uris = methods, peers, uris
        self._transport: asyncio.Transport | None = None
        self._joined = False
        self._flushing = False
        self._calls: set[StreamCall] = set()
        self.waiting: dict[StreamCall, None] = {}  # calls that have more to send, in turn

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._joined = transport.get_extra_info("ssl_object") is not None
        self.uris = self._read_uris(transport)
        self.peer = address(transport.get_extra_info("peername"))
        self.heard = asyncio.get_running_loop().time()
        self._peers.add(self)
        self.flush()

    def data_received(self, data: bytes) -> None:
        self._pinged = 0.0
        self.heard = asyncio.get_running_loop().time()
        self._flushing = True  # once, at the end
        try:
            self.h2.feed(data)
        except Broken as error:
            log.info("gRPC: %s: %s", self.peer, error)
            self._flushing = False
            self.close(error.code)
            return
        self._flushing = False
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        self._transport = None
        for call in list(self._calls):
            call.lost()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.flush()
        for _ in range(len(self.waiting)):
            if self.full or not self.waiting:
                break
            call = next(iter(self.waiting))
            del self.waiting[call]
            if call.writable():  # else it waits for its own window, again
                call.on_writable()

    def flush(self) -> None:
        """Hand what can be sent to the transport, until that is full."""
        if self._flushing:
            return
        self._flushing = True  # `drained` may have more sent
        try:
            while not self.full and self._transport is not None and (out := self.h2.pull(ROOM)):
                if self._joined:  # TLS makes a record of each write
                    self._transport.write(b"".join(out))
                else:
                    self._transport.writelines(out)
        finally:
            self._flushing = False

    def check(self, now: float, idle_s: float, patience_s: float) -> None:
        """Ping a peer that has been silent for idle_s; let go of one that has not answered for patience_s."""
        if self._pinged and now - self._pinged > patience_s:
            log.info("gRPC: %s does not answer", self.peer)
            if self._transport is not None:
                self._transport.abort()
        elif not self._pinged and now - self.heard > idle_s:
            self._pinged = now
            self.h2.ping()
            self.flush()

    def cancel(self) -> list[asyncio.Task[None]]:
        """End all calls: the tasks to wait for."""
        tasks = [call.task for call in self._calls if call.task is not None]
        for task in tasks:
            task.cancel()
        return tasks

    def close(self, code: int = NO_ERROR) -> None:
        """Say that it is the end, and end."""
        self.h2.goaway(code)
        self.flush()
        if self._transport is not None:
            self._transport.close()

    # h2.Handler

    def opened(self, stream: H2Stream, fields: Fields, end: bool) -> None:
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
        if not told.get("content-type", "").startswith("application/grpc"):
            self.h2.headers(stream, UNSUPPORTED_MEDIA_TYPE, end=True)
            return
        call = stream.app = StreamCall(self, stream, told.get(":path", ""), told)
        method = self._methods.get(call.path)
        if method is None:
            call.finish(Status.UNIMPLEMENTED, f"unknown method {call.path}")
            return
        self._calls.add(call)
        call.task = asyncio.create_task(run(method, call), name=f"gRPC {call.path} of {self.peer}")
        call.task.add_done_callback(lambda _: self._forget(call))
        if end:
            call.end()

    def _forget(self, call: StreamCall) -> None:
        self._calls.discard(call)
        self.waiting.pop(call, None)

    def received(self, stream: H2Stream, data: bytes, end: bool) -> None:
        if stream.app is not None:
            stream.app.take(data, end)

    def reset(self, stream: H2Stream) -> None:
        if stream.app is not None:
            stream.app.lost()

    def drained(self, stream: H2Stream) -> None:
        if not self.full and stream.app in self.waiting:
            del self.waiting[stream.app]
            stream.app.on_writable()
