"""HPACK blocks that the decoder's core would take and RFC 7541 refuses; what is well-formed passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.binary(max_size=300)), max_size=8), st.booleans())
def test_what_an_encoder_makes_passes(fields: list[tuple[bytes, bytes]], huffman: bool) -> None:
    encoder, decoder = hpack.encoder_core(), hpack.Decoder(1 << 20)
    for _ in range(2):  # the second time out of the table
        block = bytes(encoder.encode([(name, value, False) for name, value in fields], huffman))
        assert decoder.decode(block) == fields


@given(st.binary(max_size=100))
def test_any_octets_decode_or_are_refused(block: bytes) -> None:
    try:
        fields = decoded(block)
    except hpack.HpackError:
        return
    assert all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in fields)
