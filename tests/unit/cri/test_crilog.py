"""CRI log records: whole and partial lines, however the bytes arrive, and back again."""

from __future__ import annotations

import pytest

from mizzen.runtime.cri.crilog import MAX_LINE, LogLines, Record, moment, parse, stamp

NOW = 1_700_000_000_000_000_007
HEAD = b"2023-11-14T22:13:20.000000007Z"


def records(*pieces: bytes) -> list[Record]:
    lines = LogLines("stdout")
    out = b"".join(lines.feed(piece, NOW) for piece in pieces) + lines.end(NOW)
    assert out == b"" or out.endswith(b"\n")
    found = [parse(line) for line in out.splitlines(keepends=True)]
    assert None not in found
    return [record for record in found if record is not None]


def test_a_record() -> None:
    assert stamp(NOW) == HEAD
    assert LogLines("stderr").feed(b"hello there\n", NOW) == HEAD + b" stderr F hello there\n"
    assert moment(HEAD) == pytest.approx(1_700_000_000.000000007)
    assert moment(b"2023-11-14T22:13:20Z") == 1_700_000_000


CASES: list[tuple[bytes, list[tuple[bool, int]]]] = [
    (b"", []),
    (b"a\n", [(True, 1)]),
    (b"a\n\nb\n", [(True, 1), (True, 0), (True, 1)]),
    (b"a\nb", [(True, 1), (False, 1)]),
    (b" lead and trail \n", [(True, 16)]),
    (b"x" * MAX_LINE + b"\n", [(True, MAX_LINE)]),
    (b"x" * (MAX_LINE + 1) + b"\n", [(False, MAX_LINE), (True, 1)]),
    (b"x" * (2 * MAX_LINE + 5), [(False, MAX_LINE), (False, MAX_LINE), (False, 5)]),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_lines_are_cut(data: bytes, expected: list[tuple[bool, int]]) -> None:
    assert [(record.full, len(record.text)) for record in records(data)] == expected


@pytest.mark.parametrize(("data", "_"), CASES)
@pytest.mark.parametrize("size", [1, 7, 4096, MAX_LINE])
def test_no_byte_is_lost_however_it_arrives(data: bytes, _: object, size: int) -> None:
    if size == 1:
        data = data[:200]
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(record.content() for record in records(*pieces)) == data


def test_an_unfinished_line_waits_for_more() -> None:
    lines = LogLines("stdout")
    assert lines.feed(b"ha", NOW) == b""
    assert lines.feed(b"lf\n", NOW) == HEAD + b" stdout F half\n"
    assert lines.end(NOW) == b""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"T stdout F text\n", Record(b"T", b"stdout", True, b"text")),
        (b"T stderr P a b  c", Record(b"T", b"stderr", False, b"a b  c")),
        (b"T stdout F:tag text", Record(b"T", b"stdout", True, b"text")),
        (b"T stdout F \n", Record(b"T", b"stdout", True, b"")),
        (b"T stdin F text", None),
        (b"T stdout F", None),
        (b"", None),
    ],
)
def test_parse(line: bytes, expected: Record | None) -> None:
    assert parse(line) == expected
