"""Port-forward: to ports of a sandbox by SPDY streams, on the connection itself or inside a WebSocket, or by
WebSocket channels.

Each SPDY connection is a pair of streams (`streamtype` data and error, same `requestid`). With channels, port n
of the request has channel 2n for data and 2n+1 for errors, each opened by a message with the port, two bytes,
little endian. The sandbox's loopback is dialled. Source: Kubernetes' portforward.k8s.io,
SPDY/3.1+portforward.k8s.io (tunnelled) and v4.channel.k8s.io.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence

from mizzen.cni import netns
from mizzen.runtime.cri.runtime import Runtime
from mizzen.runtime.cri.store import Sandbox
from mizzen.runtime.cri.streaming.http1 import Request, response_head
from mizzen.runtime.cri.streaming.spdy import Session, SpdyError, Stream
from mizzen.runtime.cri.streaming.websocket import WebSocket, WebSocketError, choose

PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = "v4.channel.k8s.io"
DIAL_TIMEOUT_S = 10.0


async def dial(sandbox: Sandbox, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port on the sandbox's loopback, IPv4 first. Raises OSError."""
    failure: OSError = OSError("no address")
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        if sandbox.state.host_network:
            sock = socket.socket(family, socket.SOCK_STREAM)
        else:
            with netns.inside(sandbox.namespace("net")):
                sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(sock, (host, port))
            return await asyncio.open_connection(sock=sock)
        except OSError as error:
            sock.close()
            failure = error
    raise failure


class Forwarder:
    """Pairs the streams of one session and copies."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._errors: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def opened(self, stream: Stream) -> None:
        """A stream of the session."""
        kind = stream.headers.get("streamtype", "")
        request = stream.headers.get("requestid", str(stream.number))
        if kind == "error":
            self._errors[request] = stream
        elif kind == "data":
            task = asyncio.create_task(self._forward(stream, request), name="port-forward")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, stream: Stream, request: str) -> None:
        error = self._errors.pop(request, None)
        port = stream.headers.get("port", "")
        try:
            reader, writer = await dial(self._sandbox, int(port))
        except (OSError, ValueError) as failure:
            if error is not None:
                text = f"failed to connect to localhost:{port} inside the pod's network namespace: {failure}"
                await error.write(text.encode())
            await self._end(stream, error)
            return

        async def upstream() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await stream.read():
                    writer.write(data)
                    await writer.drain()
                writer.write_eof()

        feeder = asyncio.create_task(upstream())
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(1 << 16):
                    await stream.write(data)
        finally:
            feeder.cancel()
            writer.close()
        await self._end(stream, error)

    async def _end(self, stream: Stream, error: Stream | None) -> None:
        with contextlib.suppress(ConnectionError):
            await stream.end()
            if error is not None:
                await error.end()

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()


class ChannelForwarder:
    """One session of WebSocket channels, one connection a port."""

    def __init__(self, sandbox: Sandbox, websocket: WebSocket, ports: Sequence[int]) -> None:
        self._sandbox, self._websocket, self._ports = sandbox, websocket, ports
        self._connections: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def run(self) -> None:
        """Until the client closes, or every connection has ended."""
        for number, port in enumerate(self._ports):
            for channel in (2 * number, 2 * number + 1):
                await self._websocket.send(bytes([channel]) + port.to_bytes(2, "little"))
            await self._dial(number, port)
        downloads = [asyncio.create_task(self._download(n), name="port-forward") for n in self._connections]
        upload = asyncio.create_task(self._upload(), name="port-forward upload")
        try:
            if downloads:
                ended = asyncio.ensure_future(asyncio.wait(downloads))
                await asyncio.wait([upload, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (upload, *downloads):
                task.cancel()
            await asyncio.gather(upload, *downloads, return_exceptions=True)
            for _, writer in self._connections.values():
                writer.close()
        await self._websocket.close()

    async def _dial(self, number: int, port: int) -> None:
        try:
            self._connections[number] = await dial(self._sandbox, port)
        except OSError as failure:
            text = f"failed to connect to localhost:{port} inside the pod's network namespace: {failure}"
            await self._websocket.send(bytes([2 * number + 1]) + text.encode())

    async def _download(self, number: int) -> None:
        reader, _ = self._connections[number]
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                await self._websocket.send(bytes([2 * number]) + data)

    async def _upload(self) -> None:
        while (message := await self._websocket.receive()) is not None:
            connection = self._connections.get(message[0] // 2) if message and message[0] % 2 == 0 else None
            if connection is not None:
                with contextlib.suppress(ConnectionError):
                    connection[1].write(message[1:])
                    await connection[1].drain()


async def serve_port_forward(runtime: Runtime, sandbox_id: str, request: Request, ports: Sequence[int] = ()) -> None:
    """One session. ports: those that the client named in its request; only channels need them."""
    sandbox = runtime.sandbox(sandbox_id)
    if request.upgrade() == "websocket":
        chosen = choose(request, (TUNNEL, CHANNELS))
        if chosen is None or (chosen == CHANNELS and not ports):
            await request.respond(400, f"the subprotocol {TUNNEL}, or {CHANNELS} and ports, is needed".encode())
            return
        if chosen == CHANNELS:
            with contextlib.suppress(WebSocketError, ConnectionError):
                await ChannelForwarder(sandbox, await WebSocket.accept(request, CHANNELS), ports).run()
            return
        websocket = await WebSocket.accept(request, TUNNEL)

        async def receive() -> bytes:
            # An empty message is not the end.
            while (data := await websocket.receive()) == b"":
                pass
            return data or b""

        await _run(sandbox, receive, websocket.send)
        await websocket.close()
    elif request.upgrade() == "spdy/3.1":
        if PROTOCOL not in request.offers("x-stream-protocol-version"):
            await request.respond(403, f"the stream protocol {PROTOCOL} is needed".encode())
            return
        headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": PROTOCOL}
        request.writer.write(response_head(101, headers))
        await request.writer.drain()

        async def write(data: bytes) -> None:
            request.writer.write(data)
            await request.writer.drain()

        await _run(sandbox, lambda: request.reader.read(1 << 16), write)
    else:
        await request.respond(400, b"an upgrade to websocket or SPDY/3.1 is needed")


async def _run(
    sandbox: Sandbox, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]
) -> None:
    forwarder = Forwarder(sandbox)
    with contextlib.suppress(SpdyError, WebSocketError, ConnectionError):
        await Session(read, write, forwarder.opened).run()
    forwarder.close()
