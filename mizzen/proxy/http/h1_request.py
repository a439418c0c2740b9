"""What a request's head must be before a stream is told of it: its target's form, its authority, names of fields.

Takes parsed heads, refuses with CodecError or mends them as Envoy does. Not here: parsing (codec/h1_head.py), how the body is
framed (h1_server.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.proxy.codec.errors import CodecError
from mizzen.proxy.codec.headers import RequestHeaders

if TYPE_CHECKING:
    from mizzen.proxy.config.hcm import Hcm

AUTHORITY_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:%@[]")
_authorities: Final[set[str]] = set()  # valid ones that came before; bounded


def valid_authority(text: str) -> bool:
    if not AUTHORITY_CHARS.issuperset(text):
        return False
    if len(_authorities) > 4096:
        _authorities.clear()
    _authorities.add(text)
    return True


def check(hcm: Hcm, request: RequestHeaders) -> None:
    """Refuses (CodecError) or mends what may not be so in a head: too many fields, underscores, the target, the authority."""
    d = request.d
    if len(d) >= hcm.max_headers or request.more is not None:  # noqa: SIM102
        if request.count() + (request.authority is not None) > hcm.max_headers:
            raise CodecError("http1.too_many_headers", 431)
    if hcm.underscores and any("_" in name for name in d):
        _underscores(hcm, request)
    target = request.path
    first = target[:1]
    if first != "/":
        _target(hcm, request, target)
    authority = request.authority
    if authority and authority not in _authorities and not valid_authority(authority):
        raise CodecError("http.invalid_authority")


def _underscores(hcm: Hcm, request: RequestHeaders) -> None:
    names = [name for name in request.d if "_" in name]
    if hcm.underscores == 1:
        hcm.codec1.requests_rejected_with_underscores_in_headers += 1
        raise CodecError("http1.unexpected_underscore")
    for name in names:
        hcm.codec1.dropped_headers_with_underscores += 1
        request.remove(name)


def _target(hcm: Hcm, request: RequestHeaders, target: str) -> None:
    """Absolute, authority and asterisk form."""
    method = request.method
    if method == "CONNECT":
        request.authority = target
        request.path = ""
        return
    if target == "*":
        if method != "OPTIONS":
            raise CodecError("http1.invalid_url")
        return
    scheme, mark, rest = target.partition("://")
    if not mark or not hcm.allow_absolute_url:
        raise CodecError("http1.codec_error")
    if scheme.lower() not in ("http", "https"):
        raise CodecError("http1.invalid_scheme")
    cut = min((i for i in (rest.find("/"), rest.find("?"), rest.find("#")) if i >= 0), default=len(rest))
    if not cut:
        raise CodecError("http1.invalid_url")
    request.authority = rest[:cut]
    path = rest[cut:]
    request.path = path if path.startswith("/") else "/" + path
    request.scheme = scheme.lower()
