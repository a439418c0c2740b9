"""HPACK blocks of the data path: encoded from pairs of text, decoded (wire/hpack.py) to pairs of bytes.

Fields that hardly ever repeat (ids, paths, dates) are put
behind the block as literals without indexing, so that they do not churn the dynamic table.
"""

from __future__ import annotations

from typing import Any, Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.wire import hpack
from mizzen.wire.hpack import HpackError, literal

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


class Encoder:
    """Header lists to blocks; one per connection and direction."""

    __slots__ = ("_core",)

    def __init__(self) -> None:
        self._core: Any = hpack.encoder_core()

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

    __slots__ = ("_blocks",)

    def __init__(self, max_list_size: int) -> None:
        self._blocks = hpack.Decoder(max_list_size)

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of a block. Raises CodecError: the connection cannot go on."""
        try:
            return self._blocks.decode(block)
        except HpackError as error:
            raise CodecError("http2.too_large_headers" if error.oversized else "http2.compression_error") from error
