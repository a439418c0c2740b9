"""Connections to the control plane, and servers on Unix sockets; messages are bytes.

Not here: gRPC's framing (grpc_stream.py), what is said over the streams.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path

from mizzen.agent.grpc_stream import OK, UNAVAILABLE, UNIMPLEMENTED, CallFailed, Connection, Metadata, Stream, status_of
from mizzen.agent.trust import Files
from mizzen.api.errors import PeerError, UsageError

log = logging.getLogger("mizzen.agent.channel")

DIAL_TIMEOUT_S, KEEPALIVE_S = 5.0, 30
Handler = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]
Services = Mapping[str, Mapping[str, Handler]]
Material = tuple[bytes | None, tuple[str, str] | None]
UNIX = "unix:"


class Target:
    """One control plane address, HOST:PORT or unix:PATH (without TLS): one connection, made anew when it is lost or the
    files that TLS needs have changed.
    """

    def __init__(
        self, address: str, root: Path, *, plaintext: bool, server_name: str = "", client: Files | None = None
    ) -> None:
        self.address, self.root, self.plaintext = address, root, plaintext
        self._server_name, self._client = server_name, client
        self._connection: Connection | None = None
        self._material: tuple[bytes, ...] = ()

    async def connect(self) -> Connection:
        """A usable connection. Raises UsageError for a missing file, CallFailed when nobody can be reached."""
        material = self._read()
        if self._connection is None or not self._connection.usable or material != self._material:
            self._connection, self._material = await self._open(), material
        return self._connection

    def _read(self) -> tuple[bytes, ...]:
        if self.plaintext:
            return ()
        try:
            files = [self.root, *([self._client.key, self._client.chain] if self._client else [])]
            return tuple(path.read_bytes() for path in files)
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror} (needed to reach {self.address})") from error

    def _tls(self) -> ssl.SSLContext | None:
        if self.plaintext:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.root))
            if self._client is not None:
                context.load_cert_chain(self._client.chain, self._client.key)
        except (ssl.SSLError, OSError) as error:
            raise UsageError(f"{self.root}: {error} (needed to reach {self.address})") from error
        context.set_alpn_protocols(["h2"])
        return context

    async def _dial(self) -> tuple[asyncio.Transport, Connection]:
        loop = asyncio.get_running_loop()
        if self.address.startswith(UNIX):
            path = "/" + self.address.removeprefix(UNIX).lstrip("/")
            return await loop.create_unix_connection(lambda: Connection(client=True), path)
        host, _, port = self.address.rpartition(":")
        host, tls = host.strip("[]"), self._tls()
        name = (self._server_name or host) if tls else None
        return await loop.create_connection(
            lambda: Connection(client=True), host, int(port), ssl=tls, server_hostname=name
        )

    async def _open(self) -> Connection:
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                transport, made = await self._dial()
                await made.ready.wait()
        except TimeoutError as error:
            raise CallFailed(UNAVAILABLE, f"{self.address}: no connection within {DIAL_TIMEOUT_S:g} s") from error
        except (OSError, ValueError) as error:
            raise CallFailed(UNAVAILABLE, f"{self.address}: {error}") from error
        if not made.usable:
            raise CallFailed(UNAVAILABLE, f"{self.address}: the connection was closed")
        if not self.address.startswith(UNIX):
            keep_alive(transport.get_extra_info("socket"))
        return made

    async def renew(self) -> None:
        """Drops the connection; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def stream(self, method: str, metadata: Metadata) -> Stream:
        """A bidirectional stream. Raises as `connect`."""
        return (await self.connect()).open(self.address, method, metadata)

    async def unary(self, method: str, request: bytes, metadata: Metadata, timeout_s: float) -> bytes:
        """One call. Raises CallFailed."""
        try:
            async with asyncio.timeout(timeout_s):
                call = await self.stream(method, metadata)
                try:
                    call.write(request)
                    call.done_writing()
                    answer = await call.read()
                    if answer is not None:
                        await call.read()  # the status
                finally:
                    call.cancel()
        except TimeoutError as error:
            raise CallFailed(4, f"{self.address}: no answer within {timeout_s:g} s") from error
        if answer is None:
            raise CallFailed(13, f"{self.address}: an answer without a message")
        return answer


def keep_alive(sock: socket.socket | None) -> None:
    """Finds out within two minutes that the other side is gone without a word."""
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def call_metadata(cluster: str, bearer: str | None, headers: Mapping[str, str]) -> Metadata:
    """gRPC metadata of a call to the control plane."""
    pairs = [("clusterid", cluster), *((name.lower(), value) for name, value in headers.items())]
    if bearer:
        pairs.append(("authorization", f"Bearer {bearer}"))
    return tuple(pairs)


def plaintext_address(address: str, policy: str) -> bool:
    """Whether a control plane is spoken to without TLS."""
    return policy == "NONE" or address.endswith(":15010") or address.startswith(UNIX)


class Server:
    """A server of bidirectional methods on a Unix socket. services: {service: {method: handler}}."""

    def __init__(self, services: Services, path: Path) -> None:
        self._methods = {
            f"/{service}/{method}": handler
            for service, methods in services.items()
            for method, handler in methods.items()
        }
        self._path = path
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connection, os.fspath(self._path))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connection(self) -> Connection:
        self._connections = {other for other in self._connections if other.usable}
        made = Connection(client=False, on_stream=self._on_stream)
        self._connections.add(made)
        return made

    def _on_stream(self, path: str, stream: Stream) -> None:
        handler = self._methods.get(path)
        if handler is None:
            stream.finish(UNIMPLEMENTED, f"no method {path}")
            return
        task = asyncio.create_task(self._call(handler, stream, path), name=path)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, handler: Handler, stream: Stream, path: str) -> None:
        """One call: the handler's messages are written until it ends, or the client has gone."""
        try:
            async with aclosing(handler(requests_of(stream))) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    if stream.over:
                        return
                    stream.write(answer)
        except PeerError as error:
            stream.finish(*status_of(error))
        except Exception as error:  # the one place where a call's error ends
            log.exception("%s failed", path)
            stream.finish(*status_of(error))
        else:
            stream.finish(OK)


async def requests_of(stream: Stream) -> AsyncIterator[bytes]:
    """A stream's messages until its end; a broken end is an end."""
    try:
        while (message := await stream.read()) is not None:
            yield message
    except CallFailed as error:
        log.debug("a stream has ended: %s", error)


def nonce() -> str:
    return f"{time.time_ns():x}"
