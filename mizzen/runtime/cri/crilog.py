"""CRI's log format: `RFC3339NANO stdout|stderr F|P TEXT`, one record a line.

`LogLines` turns a stream's bytes into records, `parse` a record into its parts. Imports nothing but the standard library:
the container supervisor uses it.
Source: the kubelet's CRI logging format (KEP "kubelet CRI logging"); a partial record (P) has no end of line of its own.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NamedTuple

MAX_LINE = 16 * 1024  # bytes of text in one record; a longer line is cut into P records


def stamp(now_ns: int) -> bytes:
    """`2006-01-02T15:04:05.999999999Z` for nanoseconds since the epoch."""
    whole, rest = divmod(now_ns, 1_000_000_000)
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:09d}Z").encode()


class LogLines:
    """Cuts one stream into records."""

    def __init__(self, stream: str) -> None:
        self._full = f" {stream} F ".encode()
        self._partial = f" {stream} P ".encode()
        self._rest = b""

    def feed(self, data: bytes, now_ns: int) -> bytes:
        """The records that data completes; what follows the last newline waits for more."""
        head = stamp(now_ns)
        *lines, rest = (self._rest + data).split(b"\n")
        out = [record for line in lines for record in self._cut(line, head, self._full)]
        while len(rest) >= MAX_LINE:
            out.append(head + self._partial + rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._rest = rest
        return b"\n".join([*out, b""]) if out else b""

    def _cut(self, line: bytes, head: bytes, mark: bytes) -> list[bytes]:
        out = []
        while len(line) > MAX_LINE:
            out.append(head + self._partial + line[:MAX_LINE])
            line = line[MAX_LINE:]
        return [*out, head + mark + line]

    def end(self, now_ns: int) -> bytes:
        """The record of an unfinished last line, if there is one."""
        rest, self._rest = self._rest, b""
        return stamp(now_ns) + self._partial + rest + b"\n" if rest else b""


class Record(NamedTuple):
    """One record: `time` as written, `stream`, whether the line ends here, the text."""

    time: bytes
    stream: bytes
    full: bool
    text: bytes

    def content(self) -> bytes:
        """What the program wrote."""
        return self.text + b"\n" if self.full else self.text


def parse(line: bytes) -> Record | None:
    """The record in a line (its newline may be there); None for what is not one."""
    parts = line.rstrip(b"\n").split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    return Record(parts[0], parts[1], parts[2].split(b":")[0] == b"F", parts[3])


def moment(text: bytes) -> float:
    """Seconds since the epoch of a record's time."""
    whole, _, fraction = text.decode().rstrip("Z").partition(".")
    base = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    return base + (float(f"0.{fraction}") if fraction else 0.0)
