"""The server name and ALPN protocols of a TLS ClientHello, read without ending the handshake.

Source: RFC 8446 4.1.2, RFC 6066, RFC 7301. Not here: any decision about them.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_HELLO = 16 * 1024


class Hello(NamedTuple):
    server_name: str
    alpn: tuple[str, ...]


class NotTls(Exception):
    """The bytes are no TLS handshake."""


def client_hello(data: bytes) -> Hello | None:
    """The hello in these first bytes of a connection; None when more are needed. Raises NotTls."""
    if data[:1] != b"\x16" or (len(data) > 1 and data[1] != 3):
        raise NotTls
    body = b""
    at = 0
    while True:  # a hello may be split over records
        if len(data) < at + 5:
            _too_long(data)
            return None
        if data[at] != 0x16:
            raise NotTls
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        body += data[at + 5 : at + 5 + size]
        if len(body) >= 4:
            if body[0] != 1:
                raise NotTls
            need = 4 + int.from_bytes(body[1:4], "big")
            if len(body) >= need:
                return _parse(body[4:need])
        if len(data) < at + 5 + size:
            _too_long(data)
            return None
        at += 5 + size


def _too_long(data: bytes) -> None:
    if len(data) > MAX_HELLO:
        raise NotTls


def _parse(body: bytes) -> Hello:
    name, alpn = "", []
    try:
        at = 34
        at += 1 + body[at]
        at += 2 + int.from_bytes(body[at : at + 2], "big")
        at += 1 + body[at]
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        at += 2
        while at + 4 <= min(end, len(body)):
            kind = int.from_bytes(body[at : at + 2], "big")
            size = int.from_bytes(body[at + 2 : at + 4], "big")
            value = body[at + 4 : at + 4 + size]
            if kind == 0 and len(value) > 5 and value[2] == 0:
                name = value[5 : 5 + int.from_bytes(value[3:5], "big")].decode("ascii", "replace").lower()
            elif kind == 16:
                i = 2
                while i < len(value):
                    alpn.append(value[i + 1 : i + 1 + value[i]].decode("latin-1"))
                    i += 1 + value[i]
            at += 4 + size
    except IndexError:
        pass  # TLS itself will refuse it
    return Hello(name, tuple(alpn))
