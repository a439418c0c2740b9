"""HTTP/2 header lists to messages and back: what RFC 9113 section 8 allows, cookies joined, pseudo fields apart.

Raises CodecError with Envoy's details for a list that is malformed.
"""

from __future__ import annotations

from typing import Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.h1_head import METHODS
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders

INVALID: Final = "http2.invalid.header.field"
VIOLATION: Final = "http2.violation.of.messaging.rule"
FORBIDDEN: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
BAD_VALUE: Final = bytes(set(range(32)) - {9} | {127})
AUTHORITY: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:%@[]")
PATH_BAD: Final = bytes(range(33)) + bytes(range(127, 256))
_names: Final[dict[bytes, str]] = {}


def field_name(raw: bytes) -> str:
    """The text of a valid name. Raises CodecError."""
    if not raw or not TOKEN.issuperset(raw) or raw in FORBIDDEN:
        raise CodecError(INVALID)
    name = raw.decode("ascii")
    if len(_names) < 4096:
        _names[raw] = name
    return name


def add_field(
    d: dict[str, str], more: dict[str, list[str]] | None, raw: bytes, value: bytes
) -> dict[str, list[str]] | None:
    name = _names.get(raw) or field_name(raw)
    text = value.decode("latin-1")
    if not text.isprintable() and value.translate(None, BAD_VALUE) != value:
        raise CodecError(INVALID)
    if name in d:
        if name == "cookie":
            d[name] = f"{d[name]}; {text}"
            return more
        if name == "content-length":
            raise CodecError(VIOLATION)
        if more is None:
            more = {}
        more.setdefault(name, [d[name]]).append(text)
    else:
        d[name] = text
    return more


def request_of(fields: list[tuple[bytes, bytes]]) -> RequestHeaders:
    """A request's head."""
    pseudo: dict[bytes, bytes] = {}
    d: dict[str, str] = {}
    more: dict[str, list[str]] | None = None
    for raw, value in fields:
        if raw[:1] == b":":
            if d or raw in pseudo or raw not in (b":method", b":path", b":scheme", b":authority", b":protocol"):
                raise CodecError(VIOLATION if raw in pseudo or d else INVALID)
            pseudo[raw] = value
        else:
            more = add_field(d, more, raw, value)
    method = pseudo.get(b":method", b"").decode("latin-1")
    path = pseudo.get(b":path")
    authority = pseudo.get(b":authority")
    protocol = pseudo.get(b":protocol")
    if not method:
        raise CodecError(VIOLATION)
    if method not in METHODS and not method.isalpha():
        raise CodecError(INVALID)
    if method == "CONNECT" and protocol is None:
        if path is not None or b":scheme" in pseudo or authority is None:
            raise CodecError(VIOLATION)
    elif path is None or b":scheme" not in pseudo:
        raise CodecError(VIOLATION)
    elif not path or (path[:1] != b"/" and not (path == b"*" and method == "OPTIONS")):
        raise CodecError(INVALID)
    if path is not None and path.translate(None, PATH_BAD) != path:
        raise CodecError(INVALID)
    host = d.pop("host", None)
    if more is not None and "host" in more:
        raise CodecError(VIOLATION)
    text = authority.decode("latin-1") if authority is not None else host
    if text is None:
        raise CodecError(VIOLATION)
    if authority is not None and not AUTHORITY.issuperset(authority):
        raise CodecError(INVALID)
    te = d.get("te")
    if te is not None and te.lower() != "trailers":
        raise CodecError(INVALID)
    out = RequestHeaders(
        method, (path or b"").decode("latin-1"), text, d, more, pseudo.get(b":scheme", b"").decode("latin-1")
    )
    if protocol is not None:
        out.protocol = protocol.decode("latin-1")
    return out


def response_of(fields: list[tuple[bytes, bytes]]) -> ResponseHeaders:
    """A response's head."""
    d: dict[str, str] = {}
    more: dict[str, list[str]] | None = None
    status = 0
    for raw, value in fields:
        if raw[:1] == b":":
            if raw != b":status" or status or d or not value.isdigit() or len(value) != 3:
                raise CodecError(VIOLATION)
            status = int(value)
        else:
            more = add_field(d, more, raw, value)
    if not status:
        raise CodecError(VIOLATION)
    return ResponseHeaders(status, d, more)


def trailers_of(fields: list[tuple[bytes, bytes]]) -> Headers:
    d: dict[str, str] = {}
    more: dict[str, list[str]] | None = None
    for raw, value in fields:
        if raw[:1] == b":":
            raise CodecError(VIOLATION)
        more = add_field(d, more, raw, value)
    return Headers(d, more)


STATUS: Final = {code: [(b":status", str(code).encode())] for code in range(100, 1000)}


def request_pseudo(headers: RequestHeaders) -> list[tuple[bytes, bytes]]:
    authority = (headers.authority or "").encode("latin-1", "replace")
    method = headers.method.encode("latin-1", "replace")
    if method == b"CONNECT" and headers.protocol is None:
        return [(b":method", method), (b":authority", authority)]
    scheme = b"https" if headers.scheme == "https" else b"http"
    path = headers.path.encode("latin-1", "replace")
    out = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
    if headers.protocol is not None:
        out[0] = (b":method", b"CONNECT")
        out.append((b":protocol", headers.protocol.encode("latin-1", "replace")))
    return out
