"""The streams of exec and attach, whichever way they come: WebSocket channels or SPDY streams.

`accept` answers the upgrade and gives a `Streams`: stdin to read, stdout and stderr to write, terminal sizes, and the final
status. Not here: what is run (process.py).
Source: Kubernetes' v4.channel.k8s.io and v5.channel.k8s.io; v4 adds the status object, v5 the signal that a stream is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mizzen.runtime.cri.streaming.http1 import Request, response_head
from mizzen.runtime.cri.streaming.spdy import Session, SpdyError, Stream
from mizzen.runtime.cri.streaming.websocket import WebSocket, WebSocketError, choose

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SPDY_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
NAMES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}
OPEN_TIMEOUT_S = 30.0


def status(code: int, message: str = "") -> dict[str, Any]:
    """The status object that ends a session: success for exit code 0, else NonZeroExitCode; message: an internal error."""
    if message:
        return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


class Streams(Protocol):
    """What a process is connected to."""

    async def stdin(self) -> bytes:
        """Bytes for the process; b"" at the end."""

    async def write(self, channel: int, data: bytes) -> None:
        """Output, on STDOUT or STDERR."""

    async def finish(self, result: dict[str, Any]) -> None:
        """Tell how it ended, and close."""

    async def gone(self) -> None:
        """Returns when the peer has gone away."""


OnResize = Callable[[dict[str, int]], None]


class WebSocketStreams:
    """Channels of a WebSocket: the first byte of a message is the channel."""

    def __init__(self, socket: WebSocket, on_resize: OnResize) -> None:
        self._socket, self._on_resize = socket, on_resize
        self._input: asyncio.Queue[bytes] = asyncio.Queue(64)
        self._reader = asyncio.create_task(self._read(), name="exec websocket")

    async def _read(self) -> None:
        with contextlib.suppress(WebSocketError, ConnectionError):
            while (message := await self._socket.receive()) is not None:
                if not message:
                    continue
                if message[0] == STDIN and len(message) > 1:
                    await self._input.put(message[1:])
                elif message[0] == RESIZE:
                    with contextlib.suppress(ValueError):
                        self._on_resize(json.loads(message[1:]))
                elif message[0] == CLOSE and message[1:] == bytes([STDIN]):
                    await self._input.put(b"")
        self._input.put_nowait(b"") if not self._input.full() else None

    async def stdin(self) -> bytes:
        return await self._input.get()

    async def write(self, channel: int, data: bytes) -> None:
        await self._socket.send(bytes([channel]) + data)

    async def finish(self, result: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            await self._socket.send(bytes([ERROR]) + json.dumps(result).encode())
            await self._socket.close()
            # Let the peer close first: it must have read the status.
            await asyncio.wait([self._reader], timeout=5)
        self._reader.cancel()

    async def gone(self) -> None:
        await asyncio.wait([self._reader])


class SpdyStreams:
    """One SPDY stream a channel; the header `streamtype` says which."""

    def __init__(self, request: Request, on_resize: OnResize) -> None:
        self._request, self._on_resize = request, on_resize
        self._streams: dict[int, Stream] = {}
        self._arrived = asyncio.Event()

        async def write(data: bytes) -> None:
            request.writer.write(data)
            await request.writer.drain()

        self._session = Session(lambda: request.reader.read(1 << 16), write, self._opened)
        self._reader = asyncio.create_task(self._run(), name="exec spdy")
        self._resizer: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        with contextlib.suppress(SpdyError, ConnectionError):
            await self._session.run()

    def _opened(self, stream: Stream) -> None:
        channel = NAMES.get(stream.headers.get("streamtype", ""))
        if channel is not None:
            self._streams[channel] = stream
            self._arrived.set()
        if channel == RESIZE:
            self._resizer = asyncio.create_task(self._sizes(stream), name="terminal sizes")

    async def _sizes(self, stream: Stream) -> None:
        text, decoder = "", json.JSONDecoder()
        while data := await stream.read():
            text = (text + data.decode(errors="replace")).lstrip()
            with contextlib.suppress(ValueError):
                while text:
                    size, end = decoder.raw_decode(text)
                    self._on_resize(size)
                    text = text[end:].lstrip()

    async def wait_for(self, channels: set[int]) -> None:
        """Until the client has opened these. Raises TimeoutError."""
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            while not channels <= set(self._streams):
                self._arrived.clear()
                await self._arrived.wait()

    async def stdin(self) -> bytes:
        return await self._streams[STDIN].read()

    async def write(self, channel: int, data: bytes) -> None:
        if channel in self._streams:
            await self._streams[channel].write(data)

    async def finish(self, result: dict[str, Any]) -> None:
        with contextlib.suppress(ConnectionError):
            if ERROR in self._streams:
                await self._streams[ERROR].write(json.dumps(result).encode())
            for channel in (STDOUT, STDERR, ERROR):
                if channel in self._streams:
                    await self._streams[channel].end()
            await asyncio.wait([self._reader], timeout=5)
        for task in (self._reader, self._resizer):
            if task is not None:
                task.cancel()
        self._request.writer.close()

    async def gone(self) -> None:
        await asyncio.wait([self._reader])


async def accept(request: Request, channels: set[int], on_resize: OnResize) -> Streams | None:
    """Answer an upgrade; None when it was refused (the answer is sent). channels: those that the session has."""
    refuse: Callable[[int, str], Awaitable[None]] = lambda code, text: request.respond(code, text.encode())  # noqa: E731
    if request.upgrade() == "websocket":
        protocol = choose(request, WEBSOCKET_PROTOCOLS)
        if protocol is None:
            await refuse(400, f"none of the subprotocols is supported; supported: {', '.join(WEBSOCKET_PROTOCOLS)}")
            return None
        socket = await WebSocket.accept(request, protocol)
        streams = WebSocketStreams(socket, on_resize)
        first = min((c for c in channels if c in (STDOUT, STDERR)), default=None)
        if first is not None:
            await streams.write(first, b"")  # tells the client that the session stands
        return streams
    if request.upgrade() == "spdy/3.1":
        offered = request.offers("x-stream-protocol-version")
        version = next((name for name in SPDY_PROTOCOLS if name in offered), None)
        if version is None:
            await refuse(403, f"none of the stream protocols is supported; supported: {', '.join(SPDY_PROTOCOLS)}")
            return None
        headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": version}
        request.writer.write(response_head(101, headers))
        await request.writer.drain()
        spdy = SpdyStreams(request, on_resize)
        await spdy.wait_for(channels | {ERROR})
        return spdy
    await refuse(400, "an upgrade to websocket or SPDY/3.1 is needed")
    return None
