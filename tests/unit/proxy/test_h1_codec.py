"""HTTP/1.1 heads and chunked bodies: the fast pass, what is mended, what is refused, and any cut of the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_body import ChunkedReader
from mizzen.proxy.codec.h1_head import (
    content_length,
    head_end,
    lenient_fields,
    lenient_lines,
    parse_request,
    parse_response,
)

GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\n"


def test_plain_request() -> None:
    request, version = parse_request(GET + b"X-A:  one \r\nx-a: two\r\nAccept: */*")
    assert (request.method, request.path, request.authority, version) == ("GET", "/a?b", "x", "HTTP/1.1")
    assert request.values("x-a") == ["one", "two"]
    assert request.d["accept"] == "*/*"


@pytest.mark.parametrize(
    ("head", "name", "value"),
    [
        (b"GET / HTTP/1.1\nhost: x\nx-a: b", "x-a", "b"),
        (GET + b"x-a: one\r\n two", "x-a", "one two"),
        (GET + b"x-a: a\rb", "x-a", "ab"),
        (GET + b"x-a:\t b \t", "x-a", "b"),
        (GET + b"x-a: caf\xe9", "x-a", "caf\xe9"),
    ],
)
def test_mended(head: bytes, name: str, value: str) -> None:
    assert parse_request(head)[0].get(name) == value


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x-a : b",
        GET + b"x a: b",
        GET + b"nonsense",
        GET + b": b",
        GET + b"x-a: a\0b",
        GET + b"x-a: a\x01b",
        b"BREW / HTTP/1.1\r\nhost: x",
        b"get / HTTP/1.1\r\nhost: x",
        b"GET /a b HTTP/1.1\r\nhost: x",
        b"GET /caf\xe9 HTTP/1.1\r\nhost: x",
        b"GET / http/1.1\r\nhost: x",
    ],
)
def test_refused(head: bytes) -> None:
    with pytest.raises(CodecError):
        parse_request(head)


@pytest.mark.parametrize("value", ["+2", "-1", "0x2", "", "2, 2", "1 2", "\u0662"])
def test_bad_lengths(value: str) -> None:
    with pytest.raises(CodecError):
        content_length({"content-length": value}, None)


@given(
    st.lists(
        st.tuples(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True), st.text("abc =;,/\t", max_size=12)),
        max_size=8,
    )
)
def test_fast_pass_agrees_with_the_slow_one(fields: list[tuple[str, str]]) -> None:
    head = "GET / HTTP/1.1\r\n" + "\r\n".join(f"{name}: {value}" for name, value in [("host", "x"), *fields])
    request, _ = parse_request(head.encode())
    d, more = lenient_fields(lenient_lines(head.encode()))
    expected = {name: (more or {}).get(name, [value]) for name, value in d.items() if name != "host"}
    assert {name: request.values(name) for name in request.d} == expected


def test_response_without_reason() -> None:
    response, minor = parse_response(b"HTTP/1.1 204")
    assert (response.status, minor) == (204, 1)


def test_head_end_takes_the_first_of_its_forms() -> None:
    assert head_end(b"a\n\nb\r\n\r\n") == (1, 3)
    assert head_end(b"a\r\n") == (-1, -1)


BODY = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\nGET"


@given(st.lists(st.integers(0, len(BODY)), max_size=6))
def test_chunks_in_any_pieces(cuts: list[int]) -> None:
    reader = ChunkedReader()
    at, out = 0, b""
    for cut in [*sorted(cuts), len(BODY)]:
        if not reader.done:
            out += reader.feed(BODY[at:cut])
        else:
            reader.rest += BODY[at:cut]
        at = cut
    assert (out, reader.done, reader.rest) == (b"abcde", True, b"GET")
    assert reader.trailers is not None
    assert reader.trailers.get("x-t") == "1"


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\nab", b"ffffffffffffffffff\r\n", b"\r\n"])
def test_bad_chunks(body: bytes) -> None:
    with pytest.raises(CodecError):
        ChunkedReader().feed(body)
