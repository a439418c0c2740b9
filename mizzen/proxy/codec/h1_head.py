"""HTTP/1.1 heads: bytes to fields, in one pass for what nearly everyone sends, with care for the rest.

`parse_request` and `parse_response` take a complete head without its final empty line. The fast pass takes only heads
that can be read in one way; anything odd goes to `lenient_lines`, which mends what Envoy mends (bare LF, obs-fold, a lone
CR) and raises CodecError for what Envoy refuses. `head_end` finds where a head ends.
Not here: bodies (h1_body.py), connection state (http/h1_server.py, upstream/h1_client.py).
Source: RFC 9112 and Envoy's Balsa based parser, whose verdicts tests/answers holds.
"""

from __future__ import annotations

import re
from typing import Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders

METHODS: Final = frozenset(
    [
        "ACL",
        "BIND",
        "CHECKOUT",
        "CONNECT",
        "COPY",
        "DELETE",
        "GET",
        "HEAD",
        "LINK",
        "LOCK",
        "MERGE",
        "MKACTIVITY",
        "MKCALENDAR",
        "MKCOL",
        "MOVE",
        "MSEARCH",
        "NOTIFY",
        "OPTIONS",
        "PATCH",
        "POST",
        "PROPFIND",
        "PROPPATCH",
        "PURGE",
        "PUT",
        "REBIND",
        "REPORT",
        "SEARCH",
        "SOURCE",
        "SUBSCRIBE",
        "TRACE",
        "UNBIND",
        "UNLINK",
        "UNLOCK",
        "UNSUBSCRIBE",
        "M-SEARCH",
    ]
)


def head_end(data: bytes | bytearray, start: int = 0) -> tuple[int, int]:
    """Where the head that begins at `start` ends and where what follows begins; (-1, -1) when it is not all there."""
    strict = data.find(b"\r\n\r\n", start)
    bare = data.find(b"\n\n", start)
    mixed = data.find(b"\n\r\n", start)
    best = (-1, -1)
    for at, skip in ((strict, 4), (bare, 2), (mixed, 3)):
        if at >= 0 and (best[0] < 0 or at + skip < best[1]):
            best = (at, at + skip)
    return best


LINE: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
Field = tuple[str, str]
# whole lines that were read before -> their field: heads repeat most of their lines. Only valid ones, bounded.
_lines: Final[dict[str, Field]] = {}
MAX_LINES: Final = 8192
MAX_LINE: Final = 256


def field_of(line: str) -> Field | None:
    """The field of a line that needs no mending; None for any other."""
    matched = LINE.fullmatch(line)
    if matched is None:
        return None
    field = (matched[1].lower(), matched[2].rstrip(" \t"))
    if len(line) <= MAX_LINE:
        if len(_lines) >= MAX_LINES:
            _lines.clear()
        _lines[line] = field
    return field


def fields_of(lines: list[str], start: int) -> tuple[dict[str, str], dict[str, list[str]] | None] | None:
    """Fields of lines that need no mending; None when one of them does."""
    known = _lines
    pairs: list[Field] = []
    for line in lines[start:] if start else lines:
        field = known.get(line)
        if field is None:
            field = field_of(line)
            if field is None:
                return None
        pairs.append(field)
    d = dict(pairs)
    if len(d) == len(pairs):
        return d, None
    d = {}
    more: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in d:
            more.setdefault(name, [d[name]]).append(value)
        else:
            d[name] = value
    return d, more


def lenient_lines(head: bytes) -> list[str]:
    """The lines of any head, mended: bare LF ends a line, a folded line is joined, a lone CR is dropped."""
    lines: list[str] = []
    for raw in head.decode("latin-1").split("\n"):
        line = raw[:-1] if raw.endswith("\r") else raw
        if len(lines) > 1 and line[:1] in (" ", "\t"):
            folded = line.strip(" \t")
            lines[-1] = lines[-1].rstrip(" \t") + " " + folded
        else:
            lines.append(line)
    for i in range(1, len(lines)):
        lines[i] = lines[i].replace("\r", "")
        if any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in lines[i].partition(":")[2]):
            raise CodecError("http1.invalid_characters")
    return lines


def lenient_fields(lines: list[str]) -> tuple[dict[str, str], dict[str, list[str]] | None]:
    """Fields of mended lines; the first is the start line. Raises CodecError for a line that is no field."""
    fields = fields_of(lines, 1)
    if fields is None:
        raise CodecError("http1.codec_error")
    return fields


def _is_plain(target: str) -> bool:
    return target.isascii() and target.isprintable()


def parse_request(head: bytes) -> tuple[RequestHeaders, str]:
    """Fields and version text of a request head; path is the request target as sent and authority the Host field.

    Raises CodecError; `status` 426 for a version that HTTP/1.1 does not know is the caller's business.
    """
    lines = head.decode("latin-1").split("\r\n")
    line = lines.pop(0)
    fields = fields_of(lines, 0)
    if fields is None or "\n" in line:
        lines = lenient_lines(head)
        method, target, version = request_line(lines[0])
        fields = lenient_fields(lines)
    else:
        words = line.split(" ")
        if len(words) == 3 and words[2] == "HTTP/1.1" and words[0] in METHODS and _is_plain(words[1]):
            method, target, version = words[0], words[1], words[2]
        else:
            method, target, version = request_line(line)
    d, more = fields
    host = d.pop("host", None)
    if more is not None and "host" in more:
        host = ",".join(more.pop("host"))
        more = more or None
    return RequestHeaders(method, target, host, d, more), version


VERSION: Final = re.compile(r"HTTP/\d\.\d")


def request_line(line: str) -> tuple[str, str, str]:
    """Method, target and version of a request line; blanks between the words may repeat. Raises CodecError."""
    if line[:1] in (" ", "\t"):
        raise CodecError("http1.codec_error")
    words = line.replace("\t", " ").rstrip(" ").split(" ")
    words = [word for word in words if word]
    if not words or words[0] not in METHODS:
        raise CodecError("http1.codec_error")
    if len(words) == 2:
        return words[0], words[1], ""  # HTTP/0.9
    if len(words) != 3 or VERSION.fullmatch(words[2]) is None:
        raise CodecError("http1.codec_error")
    if not words[1].isascii() or any(ord(c) < 33 or ord(c) == 127 for c in words[1]):
        raise CodecError("http1.codec_error")
    return words[0], words[1], words[2]


STATUS_LINE: Final = re.compile(r"HTTP/1\.([01]) +(\d{2,3})(?: .*)?")


def parse_response(head: bytes) -> tuple[ResponseHeaders, int]:
    """Fields and minor version of a response head. Raises CodecError."""
    lines = head.decode("latin-1").split("\r\n")
    start = lines[0]
    fields = fields_of(lines, 1)
    if fields is None or "\n" in start:
        lines = lenient_lines(head)
        fields = lenient_fields(lines)
        start = lines[0]
    if start[:9] == "HTTP/1.1 " and start[9:12].isdecimal() and start[12:13] in (" ", ""):
        status, minor = int(start[9:12]), 1
    else:
        matched = STATUS_LINE.fullmatch(start)
        if matched is None:
            raise CodecError("http1.codec_error")
        status, minor = int(matched[2]), int(matched[1])
    return ResponseHeaders(status, fields[0], fields[1]), minor


def content_length(d: dict[str, str], more: dict[str, list[str]] | None) -> int:
    """The body's length as the head states it, -1 when it does not. Raises CodecError for anything but one plain number."""
    value = d.get("content-length")
    if value is None:
        return -1
    if (more is not None and "content-length" in more) or not value.isascii() or not value.isdigit() or len(value) > 19:
        raise CodecError("http1.codec_error")
    return int(value)
