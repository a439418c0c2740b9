"""HPACK blocks of the data path: encoded from pairs of text, decoded (wire/hpack.py) to pairs of bytes.

Fields that hardly ever repeat (ids, paths, dates) are put
behind the block as literals without indexing, so that they do not churn the dynamic table.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.wire import hpack
from mizzen.wire.hpack import HpackError

# fields whose values are new with nearly every message
UNIQUE: Final = frozenset(
    (
        "x-request-id", "traceparent", "tracestate", "x-envoy-upstream-service-time", "content-length", "date", "etag", "x-b3-traceid",
        "x-b3-spanid", "x-b3-parentspanid", "age", "last-modified", "grpc-message", "grpc-timeout", "x-envoy-peer-metadata",
    )
)  # fmt: skip
# names -> where they stand in the static table, and names with values -> where both do
STATIC_NAMES: Final[dict[bytes, int]] = {}
STATIC_FIELDS: Final[dict[tuple[bytes, bytes], int]] = {}
for _at, _field in enumerate(hpack.STATIC, 1):
    STATIC_NAMES.setdefault(_field[0], _at)
    if _field[1]:
        STATIC_FIELDS[_field] = _at
INDEXED: Final = [hpack.integer(i, 7, 0x80) for i in range(256)]
LENGTHS: Final = [hpack.integer(i, 7, 0) for i in range(256)]
_kept: Final[dict[str, bytes]] = {}  # how a field of that name begins that goes into the table
_passing: Final[dict[str, bytes]] = {}  # and one that does not


def beginning(name: str, first: int, bits: int, known: dict[str, bytes]) -> bytes:
    """A literal field up to its value (RFC 7541, 6.2)."""
    raw = name.encode("latin-1", "replace")
    index = STATIC_NAMES.get(raw, 0)
    out = hpack.integer(index, bits, first)
    if not index:
        out += hpack.integer(len(raw), 7, 0) + raw
    if len(known) < 4096:
        known[name] = out
    return out


class Encoder:
    """Header lists to blocks; one per connection and direction. No Huffman codes: octets within a mesh are cheaper than work."""

    __slots__ = ("_entries", "_found", "_inserted", "_least", "_limit", "_size")

    def __init__(self) -> None:
        self._found: dict[str, dict[str, int]] = {}  # name -> value -> how many entries came before
        self._entries: deque[tuple[str, str]] = deque()  # the oldest first
        self._inserted = 0
        self._size = 0
        self._limit = hpack.TABLE_BYTES
        self._least = -1  # the smallest limit since the last block; -1: none was set

    def set_table_size(self, size: int) -> None:
        """What the peer's SETTINGS_HEADER_TABLE_SIZE allows."""
        limit = min(size, hpack.TABLE_BYTES)
        if limit == self._limit:
            return
        self._limit = limit
        self._least = limit if self._least < 0 else min(limit, self._least)
        self._make_room(0)

    def encode(self, pseudo: list[tuple[bytes, bytes]], fields: Any) -> bytes:
        """A block: pseudo fields (bytes) first, then (name, value) texts."""
        parts: list[bytes] = []
        if self._least >= 0:
            parts.append(hpack.integer(self._least, 5, 0x20))
            if self._least < self._limit:
                parts.append(hpack.integer(self._limit, 5, 0x20))
            self._least = -1
        for pair in pseudo:
            index = STATIC_FIELDS.get(pair, 0)
            if index:
                parts.append(INDEXED[index])
            else:
                self._field(parts, pair[0].decode("latin-1"), pair[1].decode("latin-1"))
        found = self._found
        for name, value in fields:
            values = found.get(name)
            if values is not None:
                before = values.get(value, -1)
                if before >= 0:
                    parts.append(INDEXED[hpack.STATIC_SIZE + self._inserted - before])
                    continue
            self._field(parts, name, value)
        return b"".join(parts)

    def _field(self, parts: list[bytes], name: str, value: str) -> None:
        values = self._found.get(name)
        if values is not None:
            before = values.get(value, -1)
            if before >= 0:
                parts.append(INDEXED[hpack.STATIC_SIZE + self._inserted - before])
                return
        raw = value.encode("latin-1", "replace")
        length = len(raw)
        size = len(name) + length + hpack.OVERHEAD
        if name in UNIQUE or size > self._limit >> 1:
            parts.append(_passing.get(name) or beginning(name, 0, 4, _passing))
        else:
            parts.append(_kept.get(name) or beginning(name, 0x40, 6, _kept))
            self._insert(name, value, size)
        parts.append(LENGTHS[length] if length < 256 else hpack.integer(length, 7, 0))
        parts.append(raw)

    def _insert(self, name: str, value: str, size: int) -> None:
        self._make_room(size)
        self._size += size
        self._entries.append((name, value))
        values = self._found.get(name)
        if values is None:
            values = self._found[name] = {}
        values[value] = self._inserted
        self._inserted += 1

    def _make_room(self, size: int) -> None:
        entries, found = self._entries, self._found
        while entries and self._size + size > self._limit:
            name, value = entries.popleft()
            self._size -= len(name) + len(value) + hpack.OVERHEAD
            values = found[name]
            del values[value]
            if not values:
                del found[name]


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
