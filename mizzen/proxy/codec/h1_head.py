"""HTTP/1.1 heads: bytes to fields, in one pass for what nearly everyone sends, with care for the rest.

`parse_request` and `parse_response` take a complete head without its final empty line. The fast pass takes only heads
that can be read in one way; anything odd goes to `lenient_lines`, which mends what Envoy mends (bare LF, obs-fold, a lone
CR) and raises CodecError for what Envoy refuses. `head_end` finds where a head ends.
Not here: bodies (h1_body.py), connection state (http/h1_server.py, upstream/h1_client.py).
Source: RFC 9112 and Envoy's Balsa based parser, whose verdicts tests/answers holds.
"""

from __future__ import annotations

import re

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders

METHODS = frozenset(
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
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# bytes that a head may hold: printable ASCII, obs-text, tab, CR and LF
PLAIN = bytes([9, 10, 13, *range(32, 127), *range(128, 256)])
HOST_CHARS = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:%@\[\]]*")

_names: dict[str, str] = {}  # header names as sent -> lower case; only valid ones, bounded
MAX_NAMES = 4096


def header_name(sent: str) -> str | None:
    """The lower-case form of a valid header name, None for one that is no token."""
    if TOKEN.fullmatch(sent) is None:
        return None
    lower = sent.lower()
    if len(_names) < MAX_NAMES:
        _names[sent] = lower
    return lower


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


def fields_of(lines: list[str], start: int) -> tuple[dict[str, str], dict[str, list[str]] | None] | None:
    """Fields of lines that need no mending; None when one of them does."""
    d: dict[str, str] = {}
    more: dict[str, list[str]] | None = None
    names = _names
    for i in range(start, len(lines)):
        sent, colon, value = lines[i].partition(":")
        name = names.get(sent)
        if name is None:
            name = header_name(sent)
            if name is None:
                return None
        if not colon:
            return None
        value = value.strip(" \t")
        if name in d:
            if more is None:
                more = {}
            more.setdefault(name, [d[name]]).append(value)
        else:
            d[name] = value
    return d, more


def split_head(head: bytes) -> list[str] | None:
    """The lines of a head that is plain; None when some byte of it needs care."""
    if head.translate(None, PLAIN):
        return None
    text = head.decode("latin-1")
    lines = text.split("\r\n")
    ends = len(lines) - 1
    if text.count("\n") != ends or text.count("\r") != ends:
        return None
    return lines


def lenient_lines(head: bytes) -> list[str]:
    """The lines of any head, mended: bare LF ends a line, a folded line is joined, a lone CR is dropped."""
    if b"\0" in head:
        raise CodecError("http1.invalid_characters")
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


def parse_request(head: bytes) -> tuple[RequestHeaders, str]:
    """Fields and version text of a request head; path is the request target as sent and authority the Host field.

    Raises CodecError; `status` 426 for a version that HTTP/1.1 does not know is the caller's business.
    """
    lines = split_head(head)
    fields = fields_of(lines, 1) if lines is not None else None
    if lines is None or fields is None:
        lines = lenient_lines(head)
        start = request_line(lines[0])
        fields = lenient_fields(lines)
    else:
        start = lines[0].split(" ")  # type: ignore[assignment]
        if len(start) != 3 or start[0] not in METHODS or start[2] != "HTTP/1.1" or not start[1].isascii():
            start = request_line(lines[0])
    d, more = fields
    host = d.pop("host", None)
    if more is not None and "host" in more:
        host = ",".join(more.pop("host"))
        more = more or None
    return RequestHeaders(start[0], start[1], host, d, more), start[2]


VERSION = re.compile(r"HTTP/\d\.\d")


def request_line(line: str) -> tuple[str, str, str]:
    """Method, target and version of a request line; blanks between the words may repeat. Raises CodecError."""
    words = line.replace("\t", " ").strip(" ").split(" ")
    words = [word for word in words if word]
    if not words or words[0] not in METHODS:
        raise CodecError("http1.codec_error")
    if len(words) == 2:
        return words[0], words[1], ""  # HTTP/0.9
    if len(words) != 3 or VERSION.fullmatch(words[2]) is None:
        raise CodecError("http1.codec_error")
    if not words[1].isascii() or any(ord(c) < 33 or ord(c) == 127 for c in words[1]):
        raise CodecError("http1.codec_error" if words[1].isascii() else "http1.invalid_url")
    return words[0], words[1], words[2]


STATUS_LINE = re.compile(r"HTTP/1\.([01]) +(\d{3})(?: .*)?")


def parse_response(head: bytes) -> tuple[ResponseHeaders, int]:
    """Fields and minor version of a response head. Raises CodecError."""
    lines = split_head(head)
    fields = fields_of(lines, 1) if lines is not None else None
    if lines is None or fields is None:
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
    if status < 100:
        raise CodecError("http1.codec_error")
    return ResponseHeaders(status, fields[0], fields[1]), minor


def content_length(d: dict[str, str], more: dict[str, list[str]] | None) -> int:
    """The body's length as the head states it, -1 when it does not. Raises CodecError for anything but one plain number."""
    value = d.get("content-length")
    if value is None:
        return -1
    if (more is not None and "content-length" in more) or not value.isascii() or not value.isdigit() or len(value) > 19:
        raise CodecError("http1.codec_error")
    return int(value)
