"""The runtime's side of the supervisor (shim.py): starts it when there is none, asks it, hears of exits.

`Shim.connect` reuses a supervisor that an earlier runtime process left behind, with its containers.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 10.0

OnExit = Callable[[str, int, int], Awaitable[None]]


class ShimError(Exception):
    """The supervisor, or runc below it, refused."""


class Shim:
    """A connection per kind of talk: one for requests, one that hears exits."""

    def __init__(self, path: Path, log: Path) -> None:
        self.path, self.log = path, log
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._answers: asyncio.Task[None] | None = None
        self.pid = 0

    async def connect(self, on_exit: OnExit) -> None:
        """Find or start the supervisor; on_exit(id, code, finished_at_ns) is awaited for every exit from now on."""
        try:
            await self._open()
        except (ConnectionError, FileNotFoundError):
            await self._start()
        self._answers = asyncio.create_task(self._read_answers(), name="shim answers")
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(b'{"op": "watch"}\n')
        await reader.readline()
        self._listener = asyncio.create_task(self._listen(reader, writer, on_exit), name="shim exits")

    async def _open(self) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(str(self.path), limit=1 << 24)

    async def _start(self) -> None:
        script = Path(__file__).with_name("shim.py")
        with self.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: ASYNC220  it must outlive this process; a fork of 1 ms
                [sys.executable, "-I", "-S", str(script), str(self.path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            )  # fmt: skip
        self.pid = process.pid
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while True:
            try:
                await self._open()
                return
            except (ConnectionError, FileNotFoundError):
                if process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                    raise ShimError(f"the container supervisor did not start: see {self.log}") from None
                await asyncio.sleep(0.005)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_exit: OnExit) -> None:
        while line := await reader.readline():
            event = json.loads(line)
            await on_exit(event["exit"], event["exit_code"], event["finished_at"])
        writer.close()

    async def _read_answers(self) -> None:
        assert self._reader is not None
        while line := await self._reader.readline():
            answer = json.loads(line)
            key = "list" if "containers" in answer else answer.get("id")
            if (waiting := self._waiting.pop(key, None)) is not None and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ShimError("the container supervisor has gone away"))
        self._waiting.clear()

    async def _ask(self, key: str, **message: Any) -> dict[str, Any]:
        assert self._writer is not None
        while (earlier := self._waiting.get(key)) is not None:
            await asyncio.wait([earlier])
        future = self._waiting[key] = asyncio.get_running_loop().create_future()
        self._writer.write(json.dumps(message).encode() + b"\n")
        answer: dict[str, Any] = await future
        if "error" in answer:
            raise ShimError(answer["error"])
        return answer

    async def run(self, container: str, **spec: Any) -> tuple[int, int]:
        """Start a container; (pid, started_at_ns). Raises ShimError with runc's own words."""
        answer = await self._ask(container, op="run", id=container, **spec)
        return answer["pid"], answer["started_at"]

    async def list(self) -> dict[str, tuple[int, int]]:
        """The running containers: id to (pid, started_at_ns)."""
        answer = await self._ask("list", op="list")
        return {key: (pid, started) for key, (pid, started) in answer["containers"].items()}

    async def reopen(self, container: str, log: str) -> None:
        """Write on in a new file. Raises ShimError."""
        await self._ask(container, op="reopen", id=container, log=log)

    async def attach(self, container: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that carries the container's streams as frames (shim.py tells). Raises ShimError."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(json.dumps({"op": "attach", "id": container}).encode() + b"\n")
        answer = json.loads(await reader.readline() or b'{"error": "the container supervisor has gone away"}')
        if "error" in answer:
            writer.close()
            raise ShimError(answer["error"])
        return reader, writer

    async def quit(self) -> None:
        """End the supervisor; its containers must be gone."""
        if self._writer is not None:
            self._writer.write(b'{"op": "quit"}\n')
            await self._writer.drain()

    async def close(self) -> None:
        """Leave the supervisor running and let go of it."""
        for task in (self._listener, self._answers):
            if task is not None:
                task.cancel()
        if self._writer is not None:
            self._writer.close()
