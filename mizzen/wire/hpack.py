"""HPACK (RFC 7541) for servers that read few header blocks: jh2's Rust core, or the pure-Python `hpack` where that is missing.

Takes blocks, gives pairs of bytes; and puts literal fields together. Not here: the data path's codec, which also
encodes with a table (proxy/codec/hpack.py).
"""

from __future__ import annotations

from typing import Any

try:
    from jh2 import _hazmat
except ImportError:  # pragma: no cover
    _hazmat = None


class HpackError(Exception):
    """The block cannot be decoded: the connection has lost its state."""


class Decoder:
    """One connection's direction. max_list_size: bytes of a decoded header list."""

    __slots__ = ("_core",)

    def __init__(self, max_list_size: int) -> None:
        if _hazmat is not None:
            self._core: Any = _hazmat.Decoder()
        else:  # pragma: no cover
            from hpack import Decoder as Pure

            self._core = Pure()
        self._core.max_header_list_size = max_list_size

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of a block. Raises HpackError."""
        try:
            return [(field[0], field[1]) for field in self._core.decode(block, True)]
        except BaseException as error:  # the core raises its own types for each way to be wrong, and may panic
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise HpackError(type(error).__name__) from error


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return b"\x00" + _integer(len(name)) + name + _integer(len(value)) + value


def _integer(value: int) -> bytes:
    """With a prefix of 7 bits (RFC 7541, 5.1)."""
    if value < 127:
        return bytes((value,))
    out = bytearray((127,))
    value -= 127
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
