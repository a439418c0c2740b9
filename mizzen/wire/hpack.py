"""HPACK (RFC 7541) by jh2's Rust core, wrapped here alone; the pure-Python `hpack` stands in where that is missing.

Takes blocks, gives pairs of bytes; and puts literal fields together. Not here: which fields are worth the table
(proxy/codec/hpack.py). Compiled together with the proxy's data path, which reads and writes a block with each message.
"""

from __future__ import annotations

from typing import Any

try:
    from jh2 import _hazmat
except ImportError:  # pragma: no cover
    _hazmat = None


class HpackError(Exception):
    """The block cannot be decoded: the connection has lost its state. oversized: it is larger than is allowed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.oversized = "Oversized" in name


class Decoder:
    """Blocks to header lists; one per connection and direction. max_list_size: bytes of a decoded header list."""

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


def encoder_core() -> Any:
    """What puts blocks together with a table; one per connection and direction."""
    if _hazmat is not None:
        return _hazmat.Encoder()
    from hpack import Encoder  # pragma: no cover

    return Encoder()  # pragma: no cover


def integer(value: int, prefix_bits: int, first: int) -> bytes:
    """RFC 7541, 5.1."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing, new name, no Huffman coding (RFC 7541, 6.2.2)."""
    if len(name) < 127 and len(value) < 127:
        return b"\x00%c%b%c%b" % (len(name), name, len(value), value)
    return b"\x00" + integer(len(name), 7, 0) + name + integer(len(value), 7, 0) + value
