"""HPACK (RFC 7541) by jh2's Rust core, wrapped here alone; the pure-Python `hpack` stands in where that is missing.

Takes blocks, gives pairs of bytes; and puts literal fields together. Not here: which fields are worth the table
(proxy/codec/hpack.py). Compiled together with the proxy's data path, which reads and writes a block with each message.
"""

from __future__ import annotations

from typing import Any, Final

try:
    from jh2 import _hazmat
except ImportError:  # pragma: no cover
    _hazmat = None


# Bits of each octet's Huffman code (RFC 7541, appendix B). Bytes: compiled code makes a tuple of 256 numbers anew for each look at it.
CODE_LENGTHS: Final = bytes((
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
))  # fmt: skip


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
            fields = [(field[0], field[1]) for field in self._core.decode(block, True)]
        except BaseException as error:  # the core raises its own types for each way to be wrong, and may panic
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise HpackError(type(error).__name__) from error
        check(block, fields)
        return fields


def check(block: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    """What the core lets pass: a size update behind a field (RFC 7541, 4.2), padding of a Huffman code (5.2). Raises HpackError."""
    at, size, number = 0, len(block), 0
    while at < size:
        first = block[at]
        if first >= 0x80:  # indexed
            at = at + 1 if first != 0xFF else _after_integer(block, at, 7)
        elif first & 0xE0 == 0x20:
            if number:
                raise HpackError("size update behind a field")
            at = _after_integer(block, at, 5)
            continue
        else:
            bits = 6 if first >= 0x40 else 4
            named = first & ((1 << bits) - 1)
            at = _after_integer(block, at, bits)
            if named == 0:
                at = _after_string(block, at, fields[number][0])
            at = _after_string(block, at, fields[number][1])
        number += 1


def _after_integer(block: bytes, at: int, bits: int) -> int:
    """Where the octets behind an integer (5.1) are."""
    most = (1 << bits) - 1
    if block[at] & most != most:
        return at + 1
    at += 1
    while block[at] & 0x80:
        at += 1
    return at + 1


def _after_string(block: bytes, at: int, value: bytes) -> int:
    """Where the octets behind a string (5.2) are, of which `value` was read. Raises HpackError."""
    length = block[at] & 0x7F
    huffman = block[at] >= 0x80
    at += 1
    if length == 0x7F:
        shift = 0
        while True:
            octet = block[at]
            at += 1
            length += (octet & 0x7F) << shift
            shift += 7
            if octet < 0x80:
                break
    end = at + length
    if huffman and length:
        padding = length * 8 - sum(value.translate(CODE_LENGTHS))
        ones = (1 << padding) - 1 if 0 <= padding < 8 else -1
        if ones < 0 or block[end - 1] & ones != ones:
            raise HpackError("padding of a Huffman code")
    return end


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
