"""HPACK blocks that the decoder's core would take and RFC 7541 refuses; what is well-formed passes."""

from __future__ import annotations

import hpack as peer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.proxy.codec.hpack import Encoder
from mizzen.wire import hpack

METHOD = b"\x82"  # indexed: :method GET
PLAIN = b"\x00\x01a\x01b"
HUFFMAN_A = b"\x81\x1f"  # "a" (00011) and three ones


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    return hpack.Decoder(1 << 16).decode(block)


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (METHOD, [(b":method", b"GET")]),
        (b"\x20" + METHOD, [(b":method", b"GET")]),
        (b"\x20\x3f\xe1\x1f" + METHOD, [(b":method", b"GET")]),
        (PLAIN + METHOD, [(b"a", b"b"), (b":method", b"GET")]),
        (b"\x00" + HUFFMAN_A + HUFFMAN_A, [(b"a", b"a")]),
        (b"\x40\x01a\x84\x1c\x64\x3f\xff"[:-1] + b"\xff", None),
        (b"\x00\x01a\x80", [(b"a", b"")]),
        (b"\x0f\x00\x01x", [(b"accept-charset", b"x")]),
        (b"\x00\x01a\x7f\x01" + b"v" * 128, [(b"a", b"v" * 128)]),
    ],
)
def test_blocks(block: bytes, fields: list[tuple[bytes, bytes]] | None) -> None:
    if fields is None:
        with pytest.raises(hpack.HpackError):
            decoded(block)
    else:
        assert decoded(block) == fields


@pytest.mark.parametrize(
    "block",
    [
        METHOD + b"\x20",  # 4.2: a size update comes first
        METHOD + b"\x3f\xe1\x1f" + METHOD,
        b"\x00\x01a\x81\x18",  # 5.2: padding of zeros
        b"\x00\x01a\x81\x1e",  # ones and a zero
        b"\x00\x81\x18\x01b",  # in a name
        b"\x00\x01a\x82\x1f\xff",  # eight bits of padding and more
        b"\x00\x01a\x84\xff\xff\xff\xff",  # EOS
        b"\x80",  # index 0
        b"\xff",  # cut off
        b"\x00\x01",
    ],
)
def test_what_is_refused(block: bytes) -> None:
    with pytest.raises(hpack.HpackError):
        decoded(block)


LISTS = st.lists(
    st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=300)), max_size=8), max_size=6
)
TEXT = st.text(st.characters(max_codepoint=255), max_size=60)
NAMES = st.sampled_from(["accept", "x-request-id", "x-a", "x-b", "date", "cookie"]) | TEXT.filter(bool)


@given(LISTS, st.booleans(), st.integers(0, 4096))
def test_what_another_encoder_makes_passes(blocks: list[list[tuple[bytes, bytes]]], huffman: bool, limit: int) -> None:
    encoder, decoder = peer.Encoder(), hpack.Decoder(1 << 20)
    encoder.header_table_size = limit
    for fields in [*blocks, *blocks]:  # the second time out of the table
        assert decoder.decode(encoder.encode(fields, huffman)) == fields


@given(st.lists(st.lists(st.tuples(NAMES, TEXT), max_size=8), max_size=6), st.lists(st.integers(0, 5000), max_size=6))
def test_another_decoder_reads_what_is_encoded(blocks: list[list[tuple[str, str]]], limits: list[int]) -> None:
    encoder, decoder, ours = Encoder(), peer.Decoder(), hpack.Decoder(1 << 20)
    for at, fields in enumerate([*blocks, *blocks]):
        if at < len(limits):
            encoder.set_table_size(limits[at])
        block = encoder.encode([(b":status", b"200"), (b":path", b"/a?b")], fields)
        want = [(b":status", b"200"), (b":path", b"/a?b")]
        want += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        assert ours.decode(block) == want
        assert [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)] == want


def test_a_table_that_turns_over_stays_right() -> None:
    encoder, decoder, ours = Encoder(), peer.Decoder(), hpack.Decoder(1 << 20)
    for number in range(3000):
        fields = [("x-a", str(number)), ("x-b", str(number % 7)), ("x-c", "c" * (number % 50))]
        block = encoder.encode([], fields)
        want = [(name.encode(), value.encode()) for name, value in fields]
        assert (
            ours.decode(block)
            == want
            == [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
        )


@given(st.binary(max_size=60))
def test_huffman_codes_as_another_decoder_reads_them(raw: bytes) -> None:
    from hpack.huffman_table import decode_huffman

    try:
        want: bytes | None = bytes(decode_huffman(raw))
    except peer.HPACKDecodingError:
        want = None
    try:
        got: bytes | None = hpack.huffman(raw)
    except hpack.HpackError:
        got = None
    assert got == want


@given(st.binary(max_size=100))
def test_any_octets_decode_or_are_refused(block: bytes) -> None:
    try:
        fields = decoded(block)
    except hpack.HpackError:
        return
    assert all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in fields)
