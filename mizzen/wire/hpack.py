"""HPACK (RFC 7541): header blocks to pairs of bytes, and the pieces that blocks are put together from.

Fields that stand in a table are handed out as they lie there, and Huffman codes that came before are remembered: a message that
looks like the last one costs a look-up a field. Not here: which fields are worth the table (proxy/codec/hpack.py).
Compiled together with the proxy's data path, which reads and writes a block with each message.
"""

from __future__ import annotations

from typing import Final

Field = tuple[bytes, bytes]
STATIC: Final[list[Field]] = [
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""), (b"cache-control", b""),
    (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""), (b"content-length", b""),
    (b"content-location", b""), (b"content-range", b""), (b"content-type", b""), (b"cookie", b""), (b"date", b""), (b"etag", b""),
    (b"expect", b""), (b"expires", b""), (b"from", b""), (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""),
    (b"if-none-match", b""), (b"if-range", b""), (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""),
    (b"location", b""), (b"max-forwards", b""), (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""),
    (b"referer", b""), (b"refresh", b""), (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""),
    (b"strict-transport-security", b""), (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""), (b"via", b""),
    (b"www-authenticate", b""),
]  # fmt: skip
STATIC_SIZE: Final = 61
TABLE_BYTES: Final = 4096  # of both directions' dynamic tables: the protocol's default, which we never change
OVERHEAD: Final = 32  # bytes that an entry counts beyond its texts (4.1)
KNOWN: Final = 2048  # Huffman codes remembered
KNOWN_LENGTH: Final = 64

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


def _automaton() -> tuple[bytes, bytes, bytes, bytes]:
    """For every inner node of the code's tree (root: 0) and every four bits: the node to go to, the octet passed on the way,
    and whether there was one (1) or no such code (2); and for every node whether a string may end there: behind ones alone (5.2).
    """
    children: list[list[int]] = [[0, 0]]  # of an inner node: another node, or a leaf as -1 - octet; 0 for none yet
    code, length = 0, 0
    for octet in sorted(range(256), key=lambda o: (CODE_LENGTHS[o], o)):  # the code is canonical
        code <<= CODE_LENGTHS[octet] - length
        length = CODE_LENGTHS[octet]
        node = 0
        for bit in range(length - 1, -1, -1):
            way = code >> bit & 1
            if not bit:
                children[node][way] = -1 - octet
            else:
                if not children[node][way]:
                    children.append([0, 0])
                    children[node][way] = len(children) - 1
                node = children[node][way]
        code += 1
    size = len(children)
    steps, octets, marks = bytearray(size * 16), bytearray(size * 16), bytearray(size * 16)
    for node in range(size):
        for bits in range(16):
            at, slot = node, node << 4 | bits
            for bit in (3, 2, 1, 0):
                child = children[at][bits >> bit & 1]
                if child < 0:
                    octets[slot], marks[slot], child = -1 - child, 1, 0
                elif not child:  # the end of the longest code: EOS, which no string holds
                    marks[slot] = 2
                    break
                at = child
            steps[slot] = at
    ends, node = bytearray(size), 0
    for _ in range(8):
        ends[node] = 1
        node = children[node][1]
    return bytes(steps), bytes(octets), bytes(marks), bytes(ends)


STEPS, OCTETS, MARKS, ENDS = _automaton()
_known: Final[dict[bytes, bytes]] = {}


class HpackError(Exception):
    """The block cannot be decoded: the connection has lost its state. oversized: it is larger than is allowed."""

    def __init__(self, text: str, oversized: bool = False) -> None:
        super().__init__(text)
        self.oversized = oversized


def huffman(raw: bytes) -> bytes:
    """The octets that a Huffman code stands for (5.2). Raises HpackError."""
    found = _known.get(raw)
    if found is not None:
        return found
    steps, octets, marks = STEPS, OCTETS, MARKS
    out = bytearray()
    node = 0
    for octet in raw:
        slot = node << 4 | octet >> 4
        mark = marks[slot]
        if mark:
            if mark == 2:
                raise HpackError("EOS in a Huffman code")
            out.append(octets[slot])
        slot = steps[slot] << 4 | octet & 15
        mark = marks[slot]
        if mark:
            if mark == 2:
                raise HpackError("EOS in a Huffman code")
            out.append(octets[slot])
        node = steps[slot]
    if not ENDS[node]:
        raise HpackError("padding of a Huffman code")
    text = bytes(out)
    if len(raw) <= KNOWN_LENGTH:
        if len(_known) >= KNOWN:
            _known.clear()
        _known[raw] = text
    return text


class Decoder:
    """Blocks to header lists; one per connection and direction. max_list_size: bytes of a decoded header list."""

    __slots__ = ("_at", "_entries", "_limit", "_max_list", "_oldest", "_size")

    def __init__(self, max_list_size: int) -> None:
        self._max_list = max_list_size
        self._entries: list[Field] = []  # the newest last; those before _oldest are gone
        self._oldest = 0
        self._size = 0
        self._limit = TABLE_BYTES
        self._at = 0

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block. Raises HpackError."""
        fields: list[Field] = []
        size, total = len(block), 0
        self._at = 0
        while self._at < size:
            first = block[self._at]
            if first >= 0x80:
                index = first & 0x7F
                if index == 0x7F:
                    index = self._integer(block, 0x7F)
                else:
                    self._at += 1
                field = self._entry(index)
            elif first & 0xE0 == 0x20:
                if fields:
                    raise HpackError("size update behind a field")
                self._resize(self._integer(block, 0x1F))
                continue
            else:
                field = self._literal(block, 0x3F if first >= 0x40 else 0x0F)
                if first >= 0x40:
                    self._insert(field)
            total += len(field[0]) + len(field[1])
            if total >= self._max_list:
                raise HpackError("the list is too large", True)
            fields.append(field)
        return fields

    def _entry(self, index: int) -> Field:
        if 0 < index <= STATIC_SIZE:
            return STATIC[index - 1]
        at = len(self._entries) + STATIC_SIZE - index
        if not index or at < self._oldest:
            raise HpackError("no such entry")
        return self._entries[at]

    def _literal(self, block: bytes, most: int) -> Field:
        index = self._integer(block, most)
        name = self._entry(index)[0] if index else self._string(block)
        return name, self._string(block)

    def _integer(self, block: bytes, most: int) -> int:
        """The number at the place that is read (5.1); `most`: the first octet's part of it."""
        at = self._at
        if at >= len(block):
            raise HpackError("the block is cut off")
        value = block[at] & most
        at += 1
        if value == most:
            shift = 0
            while True:
                if at >= len(block) or shift > 21:
                    raise HpackError("a number is cut off or too large")
                octet = block[at]
                at += 1
                value += (octet & 0x7F) << shift
                shift += 7
                if octet < 0x80:
                    break
        self._at = at
        return value

    def _string(self, block: bytes) -> bytes:
        coded = self._at < len(block) and block[self._at] >= 0x80
        length = self._integer(block, 0x7F)
        at = self._at
        end = at + length
        if end > len(block):
            raise HpackError("the block is cut off")
        self._at = end
        raw = block[at:end]
        return huffman(raw) if coded else raw

    def _insert(self, field: Field) -> None:
        self._size += len(field[0]) + len(field[1]) + OVERHEAD
        self._entries.append(field)
        if self._size > self._limit:
            self._evict()

    def _resize(self, limit: int) -> None:
        if limit > TABLE_BYTES:
            raise HpackError("the table is larger than is allowed")
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        entries = self._entries
        while self._size > self._limit:
            name, value = entries[self._oldest]
            self._size -= len(name) + len(value) + OVERHEAD
            entries[self._oldest] = (b"", b"")
            self._oldest += 1
        if self._oldest > 256:
            del entries[: self._oldest]
            self._oldest = 0


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
