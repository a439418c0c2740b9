"""Port-forward: SPDY streams, on the connection itself or inside a WebSocket, to ports of a sandbox.

Each connection is a pair of streams (`streamtype` data and error, same `requestid`); the sandbox's loopback is dialled.
Source: Kubernetes' portforward.k8s.io and SPDY/3.1+portforward.k8s.io (tunnelled).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from mizzen.cni import netns
from mizzen.runtime.cri.runtime import Runtime
from mizzen.runtime.cri.store import Sandbox
from mizzen.runtime.cri.streaming.http1 import Request, response_head
from mizzen.runtime.cri.streaming.spdy import Session, SpdyError, Stream
from mizzen.runtime.cri.streaming.websocket import WebSocket, WebSocketError, choose

PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
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


async def serve_port_forward(runtime: Runtime, sandbox_id: str, request: Request) -> None:
    """One session."""
    sandbox = runtime.sandbox(sandbox_id)
    if request.upgrade() == "websocket":
        if choose(request, (TUNNEL,)) is None:
            await request.respond(400, f"the subprotocol {TUNNEL} is needed".encode())
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
