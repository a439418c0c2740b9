"""Protocol buffers' wire format by hand: enough for the few messages that the agent reads and writes.

Values in: str, bytes, int, bool; out: (field number, value). Source: protobuf.dev, "Encoding". Not here: the messages
(messages.py), groups (nobody sends them).
"""

from __future__ import annotations

from collections.abc import Iterator

from mizzen.api.errors import PeerError
from mizzen.wire.varint import varint

Value = bytes | int


def field(number: int, value: str | bytes | int | bool | None) -> bytes:
    """One field; nothing for a value that proto3 leaves out."""
    if value is None or value in ("", b"", 0, False):
        return b""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return present(number, value)


def present(number: int, value: str | bytes) -> bytes:
    """A length-delimited field that is written even when empty: messages, items of lists."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, position behind it). Raises PeerError."""
    result = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise PeerError("a message ends within a number")


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of a message in order; fixed-width ones as bytes. Raises PeerError for what is no message."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = read_varint(data, at)
            yield key >> 3, number
            continue
        if kind == 2:
            size, at = read_varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise PeerError(f"a field of wire type {kind}")
        if at + size > len(data):
            raise PeerError("a message ends within a field")
        yield key >> 3, data[at : at + size]
        at += size


def text(value: Value) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
