"""HPACK (RFC 7541) by jh2's Rust core, wrapped here alone; the pure-Python `hpack` package stands in where that is missing.

Blocks are decoded to pairs of bytes, and encoded from pairs of text. Fields that hardly ever repeat (ids, paths, dates) are put
behind the block as literals without indexing, so that they do not churn the dynamic table.
"""

from __future__ import annotations

from typing import Any, Final

from mizzen.proxy.codec.errors import CodecError

try:
    from jh2 import _hazmat
except ImportError:  # pragma: no cover
    _hazmat = None

# fields whose values are new with nearly every message
UNIQUE: Final = frozenset(
    (
        "x-request-id", "traceparent", "tracestate", "x-envoy-upstream-service-time", "content-length", "date", "etag", "x-b3-traceid",
        "x-b3-spanid", "x-b3-parentspanid", "age", "last-modified", "grpc-message", "grpc-timeout", "x-envoy-peer-metadata",
    )
)  # fmt: skip
_names: Final[dict[str, bytes]] = {}


def name_bytes(name: str) -> bytes:
    found = _names.get(name)
    if found is None:
        found = name.encode("latin-1", "replace")
        if len(_names) < 4096:
            _names[name] = found
    return found


def integer(value: int, prefix_bits: int, first: int) -> bytes:
    """RFC 7541 5.1."""
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
    """A literal field without indexing, new name, no Huffman coding (RFC 7541 6.2.2)."""
    if len(name) < 127 and len(value) < 127:
        return b"\x00%c%b%c%b" % (len(name), name, len(value), value)
    return b"\x00" + integer(len(name), 7, 0) + name + integer(len(value), 7, 0) + value


class Encoder:
    """Header lists to blocks; one per connection and direction."""

    __slots__ = ("_core",)

    def __init__(self) -> None:
        if _hazmat is not None:
            self._core: Any = _hazmat.Encoder()
        else:  # pragma: no cover
            from hpack import Encoder as Pure

            self._core = Pure()

    def set_table_size(self, size: int) -> None:
        """What the peer's SETTINGS_HEADER_TABLE_SIZE allows."""
        self._core.header_table_size = min(size, 4096)

    def encode(self, pseudo: list[tuple[bytes, bytes]], fields: Any) -> bytes:
        """A block: pseudo fields (bytes) first, then (name, value) texts."""
        head: list[tuple[bytes, bytes, bool]] = [(name, value, False) for name, value in pseudo]
        tail = b""
        for name, value in fields:
            raw = value.encode("latin-1", "replace")
            if name in UNIQUE:
                tail += literal(name_bytes(name), raw)
            else:
                head.append((name_bytes(name), raw, False))
        return bytes(self._core.encode(head)) + tail


class Decoder:
    """Blocks to header lists; one per connection and direction."""

    __slots__ = ("_core",)

    def __init__(self, max_list_size: int) -> None:
        if _hazmat is not None:
            self._core: Any = _hazmat.Decoder()
        else:  # pragma: no cover
            from hpack import Decoder as Pure

            self._core = Pure()
        self._core.max_header_list_size = max_list_size

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of a block. Raises CodecError: the connection cannot go on."""
        try:
            return [(field[0], field[1]) for field in self._core.decode(block, True)]
        except BaseException as error:  # the core raises its own types for each way to be wrong, and may panic
            name = type(error).__name__
            if not isinstance(error, Exception) and name != "PanicException":
                raise
            raise CodecError("http2.too_large_headers" if "Oversized" in name else "http2.compression_error") from error
