"""Where access-log lines go: files, written in batches on a tick, reopened on request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any


class FileSink:
    """Lines for one file. Written flush_s seconds after the first, or when they are flush_bytes together."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, flush_s: float, flush_bytes: int) -> None:
        self.path = path
        self._loop = loop
        self._flush_s, self._flush_bytes = flush_s, flush_bytes
        self._size = 0
        self._lines: list[str] = []
        self._descriptor = -1
        self._timer: Any = None
        self.open()

    def open(self) -> None:
        if self.path == "/dev/stdout":
            self._descriptor = 1
        elif self.path == "/dev/stderr":
            self._descriptor = 2
        else:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._size >= self._flush_bytes:
            self._put()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._flush_s, self.flush)

    def flush(self) -> None:
        self._timer = None
        self._put()

    def _put(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if lines and self._descriptor >= 0:
            data = "".join(lines).encode("latin-1", "replace")
            try:  # noqa: SIM105
                os.write(self._descriptor, data)
            except OSError:
                pass  # a full disk must not stop traffic

    def reopen(self) -> None:
        self._put()
        if self._descriptor > 2:
            os.close(self._descriptor)
        self.open()


class Logs:
    """All sinks of the process, one per path."""

    def __init__(self, loop: asyncio.AbstractEventLoop, flush_s: float, flush_bytes: int) -> None:
        self._loop = loop
        self._flush_s, self._flush_bytes = flush_s, flush_bytes
        self._files: dict[str, FileSink] = {}

    def file(self, path: str) -> Callable[[str], None]:
        sink = self._files.get(path)
        if sink is None:
            sink = self._files[path] = FileSink(path, self._loop, self._flush_s, self._flush_bytes)
        return sink.write

    def flush(self) -> None:
        for sink in self._files.values():
            sink.flush()

    def reopen(self) -> None:
        for sink in self._files.values():
            sink.reopen()
