"""The runtime's streaming server: URLs that CRI's Exec, Attach and PortForward hand out, and the sessions behind them.

A URL holds a random token, is good for one minute and one use; the server listens on loopback alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from typing import Any

from mizzen.runtime.cri.runtime import NotFound, Runtime
from mizzen.runtime.cri.streaming.http1 import BadRequest, Request, read_request
from mizzen.runtime.cri.streaming.portforward import serve_port_forward
from mizzen.runtime.cri.streaming.process import serve_attach, serve_exec
from mizzen.runtime.cri.streaming.websocket import WebSocketError

log = logging.getLogger("mizzen.cri.streaming")

TOKEN_SECONDS = 60.0


class StreamingServer:
    """Sessions of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._offers: dict[str, tuple[str, Any, float]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """End the sessions."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()

    def offer(self, kind: str, options: Any) -> str:
        """A URL for one session: kind exec, attach or portforward, options the CRI request."""
        now = time.monotonic()
        self._offers = {token: offer for token, offer in self._offers.items() if offer[2] > now}
        token = secrets.token_urlsafe(16)
        self._offers[token] = (kind, options, now + TOKEN_SECONDS)
        return f"{self.address}/{kind}/{token}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = await read_request(reader, writer)
            if request is not None:
                await self._serve(request)
        except (BadRequest, WebSocketError, ConnectionError, TimeoutError) as error:
            log.info("session ended: %s", error)
        except Exception:
            log.exception("session failed")
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _serve(self, request: Request) -> None:
        _, kind, token = [*request.path.split("/"), "", ""][:3]
        offered, options, until = self._offers.pop(token, ("", None, 0.0))
        if offered != kind or until < time.monotonic():
            await request.respond(404, b"no such session")
            return
        try:
            if kind == "exec":
                await serve_exec(self._runtime, options, request)
            elif kind == "attach":
                await serve_attach(self._runtime, options, request)
            else:
                await serve_port_forward(self._runtime, options.pod_sandbox_id, request, tuple(options.port))
        except NotFound as error:
            await request.respond(404, str(error).encode())
