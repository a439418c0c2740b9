"""The gRPC ports served by grpcio (grpc.aio), with the same methods and the same `start`, `replace`, `stop` as server.py.

For who trusts the library more than our own server, and for tests that hold the two side by side; it costs about twice
the CPU for a change that goes to many proxies. The library either demands a client certificate or asks for none, so
TLS ends here, in front of it, and a relayed connection's own port stands for the caller. Not here: calls' meaning (call.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import grpc

from mizzen.api.errors import UsageError
from mizzen.istiod.rpc.call import MAX_RECEIVE, Method, address, run
from mizzen.istiod.rpc.server import HANDSHAKE_TIMEOUT_S, IDLE_S, PATIENCE_S, use_certificate
from mizzen.istiod.rpc.server import uris as uris_of
from mizzen.wire.grpc_status import Status

log = logging.getLogger(__name__)

CHUNK = 64 << 10
SETTINGS = (
    ("grpc.max_receive_message_length", MAX_RECEIVE),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", int(IDLE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(PATIENCE_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
    ("grpc.so_reuseport", 0),
)
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Peer(NamedTuple):
    """Who is behind a relayed connection."""

    address: str
    uris: Sequence[str]


class GrpcioServer:
    """Started with `start`, ended with `stop`. methods: what is served, by path."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._server = grpc.aio.server(options=SETTINGS)
        self._peers: dict[str, Peer] = {}
        self._server.add_generic_rpc_handlers((Methods(methods, self._peers),))
        self._relay: Relay | None = None

    async def start(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> int:
        """Serve where a socket is bound (the library binds anew); the port, 0 for a socket file. Raises UsageError."""
        if context is not None:
            inner = self._listen("127.0.0.1:0")
            await self._server.start()
            self._relay = Relay(inner, self._peers, context)
            return await self._relay.start(listener)
        name = listener.getsockname()
        listener.close()
        port = self._listen(f"unix:{name}" if isinstance(name, str) else address(name).partition(":")[2])
        await self._server.start()
        return 0 if isinstance(name, str) else port

    def _listen(self, where: str) -> int:
        try:
            return int(self._server.add_insecure_port(where.replace("%5B", "[").replace("%5D", "]")))
        except RuntimeError as error:
            raise UsageError(f"grpcio cannot listen on {where}: {error}") from error

    def replace(self, chain: bytes, key: bytes, roots: str) -> None:
        """Serve another certificate, and trust other client roots too, from the next handshake on."""
        if self._relay is not None:
            use_certificate(self._relay.context, chain, key, roots)

    async def stop(self) -> None:
        if self._relay is not None:
            await self._relay.stop()
        await self._server.stop(0.2)


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio is not typed
    """Finds a method by its path; the library cuts messages, and reads nothing in them."""

    def __init__(self, methods: Mapping[str, Method], peers: Mapping[str, Peer]) -> None:
        self._methods, self._peers = methods, peers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        path = handler_call_details.method
        method = self._methods.get(path)
        return None if method is None else grpc.stream_stream_rpc_method_handler(partial(self._serve, path, method))

    async def _serve(self, path: str, method: Method, _: Any, context: Any) -> None:
        call = GrpcioCall(path, context, self._peers.get(context.peer(), Peer(context.peer(), ())))
        await call.serve(method)
        if call.code is not Status.OK:
            await context.abort(CODES[call.code], call.details)


class GrpcioCall:
    """A Call in a grpc.aio context. Messages wait in a queue for the library to take them one by one."""

    def __init__(self, path: str, context: Any, peer: Peer) -> None:
        self.path, self.peer, self.uris = path, peer.address, peer.uris
        self.metadata: Mapping[str, str] = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        self.quick: Callable[[bytes], bool] = lambda message: False
        self.on_writable: Callable[[], None] = lambda: None
        self.code, self.details = Status.OK, ""
        self._context = context
        self._outgoing: deque[bytes] = deque()
        self._more = asyncio.Event()
        self._told = True  # whether `on_writable` is not awaited
        self._over = False

    async def serve(self, method: Method) -> None:
        """The call from beginning to end, but for its status: `code`, `details`."""
        work = asyncio.create_task(run(method, self), name=f"gRPC {self.path} of {self.peer}")
        try:
            await self._write()
        except grpc.aio.BaseError as error:
            log.info("gRPC: %s: %s", self.peer, error)
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _write(self) -> None:
        """Hand messages on as they come, until the call is over and none is left."""
        while True:
            while self._outgoing:
                await self._context.write(self._outgoing[0])
                self._outgoing.popleft()
            if not self._told:
                self._told = True
                self.on_writable()
            elif self._over:
                return
            else:
                await self._more.wait()
                self._more.clear()

    async def read(self) -> bytes | None:
        while (message := await self._context.read()) is not grpc.aio.EOF:
            if not self.quick(message):
                return bytes(message)
        return None

    def writable(self) -> bool:
        self._told = not self._outgoing
        return self._told and not self._over

    def send(self, message: bytes) -> None:
        if not self._over:
            self._outgoing.append(message)
            self._more.set()

    def finish(self, code: Status, details: str = "") -> None:
        if not self._over:
            self._over, self.code, self.details = True, code, details
            self._more.set()


class Relay:
    """Ends TLS and passes the bytes to a port of this machine. peers: by that connection's address, as gRPC writes it."""

    def __init__(self, inner: int, peers: dict[str, Peer], context: ssl.SSLContext) -> None:
        self.context = context
        self._inner, self._peers = inner, peers
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, listener: socket.socket) -> int:
        """Listen on a bound socket; its port."""
        self._server = await asyncio.start_server(
            self._accepted, sock=listener, ssl=self.context, limit=CHUNK, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError), contextlib.closing(writer):
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._inner, limit=CHUNK)
            own = address(inner_writer.get_extra_info("sockname"))
            self._peers[own] = Peer(address(writer.get_extra_info("peername")), uris_of(writer.transport))
            try:
                with contextlib.closing(inner_writer):
                    await first_of(copy(reader, inner_writer), copy(inner_reader, writer))
            finally:
                del self._peers[own]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of what comes; what is not taken at the other end is not read either."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()


async def first_of(*directions: Any) -> None:
    """Run the directions until one ends, and end the others."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
