"""Reading containers' logs: tail, since, limits, following through rotations and to the container's end.

Takes log files in CRI's format, gives what the program wrote.
Source: Kubernetes' PodLogOptions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from mizzen.runtime.cri.crilog import Record, moment, parse

BLOCK = 64 * 1024
POLL_S = 0.1


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted. since: seconds since the epoch; limit: bytes; stream: stdout, stderr or both when empty."""

    follow: bool = False
    tail: int | None = None
    since: float = 0.0
    timestamps: bool = False
    limit: int | None = None
    stream: str = ""


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last `lines` records begin. Records, not lines of the program: a long line counts as several."""
    file.seek(0, 2)
    end = file.tell()
    if lines <= 0:
        return end
    at, found = end, 0
    while at > 0:
        size = min(BLOCK, at)
        at -= size
        file.seek(at)
        block = file.read(size)
        if at + size == end and block.endswith(b"\n"):
            block = block[:-1]
        for index in range(len(block) - 1, -1, -1):
            if block[index] == 10:
                found += 1
                if found == lines:
                    return at + index + 1
    return 0


def tail_text(path: Path, lines: int, limit: int) -> str:
    """The end of a log as text, at most limit bytes."""
    try:
        with path.open("rb") as file:
            file.seek(tail_offset(file, lines))
            records = [parse(line) for line in file]
    except OSError:
        return ""
    text = b"".join(record.content() for record in records if record is not None)
    return text[-limit:].decode(errors="replace")


class _Writer:
    """Turns records into output, within the options."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._left = options.limit
        self._begins = True  # a record begins a line of the program

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return self._left is not None and self._left <= 0

    def write(self, record: Record) -> bytes:
        """The output for a record; empty when it is not wanted."""
        options = self._options
        if options.stream and record.stream.decode() != options.stream:
            return b""
        if options.since and moment(record.time) < options.since:
            return b""
        data = record.content()
        if options.timestamps and self._begins:
            data = record.time + b" " + data
        self._begins = record.full
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data


async def read(path: Path, options: Options, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log in blocks. running: whether the container may still write; a follow ends when it says no and all is read.

    Raises FileNotFoundError.
    """
    writer = _Writer(options)
    file: BinaryIO = path.open("rb")
    try:
        if options.tail is not None:
            file.seek(tail_offset(file, options.tail))
        else:
            file.seek(0)
        while True:
            alive = running()
            block, rest = b"", b""
            while line := file.readline():
                if not line.endswith(b"\n"):
                    rest = line
                    break
                if (record := parse(line)) is not None:
                    block += writer.write(record)
                if len(block) >= BLOCK:
                    yield block
                    block = b""
                    await asyncio.sleep(0)
                if writer.full:
                    break
            if block:
                yield block
            if writer.full or not options.follow:
                return
            if rest:
                file.seek(-len(rest), 1)
            rotated = _rotated(file, path)
            if rotated is not None:
                file.close()
                file = rotated
                continue
            if not alive:
                return
            await asyncio.sleep(POLL_S)
    finally:
        file.close()


def _rotated(file: BinaryIO, path: Path) -> BinaryIO | None:
    """The new file at path, when the open one is not it any more and is read to its end."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return path.open("rb") if there.st_ino != os.fstat(file.fileno()).st_ino else None
