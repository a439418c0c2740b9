"""The few facts of an X.509 certificate that a proxy reads, out of its DER bytes.

Not here: any check of a signature or a chain; the TLS engine has done those. Source: RFC 5280, X.690.
Rejected: `cryptography` for this, at 10 MB of memory in every sidecar.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property

OIDS = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "GN",
    "1.2.840.113549.1.9.1": "emailAddress",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
SAN = "2.5.29.17"


class DerError(ValueError):
    """Bytes that are no certificate."""


def element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of contents and end of the element at an offset."""
    try:
        tag, length, start = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[start : start + count], "big")
            start += count
    except IndexError as error:
        raise DerError("truncated") from error
    if start + length > len(data):
        raise DerError("truncated")
    return tag, start, start + length


def elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    while start < end:
        tag, inner, stop = element(data, start)
        yield tag, inner, stop
        start = stop


def oid_text(data: bytes) -> str:
    first = data[0]
    parts = [min(first // 40, 2), first - 40 * min(first // 40, 2)]
    value = 0
    for byte in data[1:]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            parts.append(value)
            value = 0
    return ".".join(map(str, parts))


def name_text(data: bytes, start: int, end: int) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for _, set_start, set_end in elements(data, start, end):
        for _, pair_start, pair_end in elements(data, set_start, set_end):
            (_, oid_start, oid_end), (tag, value_start, value_end) = list(elements(data, pair_start, pair_end))[:2]
            oid = oid_text(data[oid_start:oid_end])
            raw = data[value_start:value_end]
            out.append((OIDS.get(oid, oid), raw.decode("utf-16-be" if tag == 30 else "utf-8", "replace")))
    return out


def escaped(value: str) -> str:
    """RFC 2253's quoting of a name's value."""
    out = "".join("\\" + c if c in ',+"\\<>;' else c for c in value)
    return "\\" + out if out[:1] in ("#", " ") else out


def rfc2253(name: list[tuple[str, str]]) -> str:
    return ",".join(f"{kind}={escaped(value)}" for kind, value in reversed(name))


def time_of(data: bytes, element_: tuple[int, int, int]) -> datetime:
    tag, start, end = element_
    text = data[start:end].decode("ascii").rstrip("Z")
    if tag == 23:
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)


class Certificate:
    """Facts read from one certificate; names in Envoy's spelling."""

    def __init__(self, der: bytes) -> None:
        self.der = der
        _, start, end = element(der, 0)
        _, start, end = element(der, start)
        parts = list(elements(der, start, end))
        if parts and parts[0][0] == 0xA0:
            parts = parts[1:]
        serial, _, issuer, validity, subject = parts[:5]
        self.serial = der[serial[1] : serial[2]].lstrip(b"\0").hex() or "0"
        self._issuer = name_text(der, issuer[1], issuer[2])
        self._subject = name_text(der, subject[1], subject[2])
        self.not_before, self.not_after = (time_of(der, part) for part in elements(der, validity[1], validity[2]))
        self.uris: list[str] = []
        self.dns: list[str] = []
        self.emails: list[str] = []
        self.ips: list[str] = []
        self.others: list[str] = []
        self.sans: list[str] = []  # all of them, in the certificate's order
        for tag, inner, stop in parts[5:]:
            if tag == 0xA3:
                self._extensions(*element(der, inner)[1:], stop)

    def _extensions(self, start: int, end: int, _stop: int) -> None:
        for _, inner, stop in elements(self.der, start, end):
            parts = list(elements(self.der, inner, stop))
            if oid_text(self.der[parts[0][1] : parts[0][2]]) == SAN:
                _, names_start, names_end = element(self.der, parts[-1][1])
                for tag, at, to in elements(self.der, names_start, names_end):
                    self._san(tag & 0x1F, self.der[at:to])

    def _san(self, kind: int, raw: bytes) -> None:
        if kind == 7:
            text = socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
            self.ips.append(text)
        else:
            text = raw.decode("latin-1")
            lists = {6: self.uris, 2: self.dns, 1: self.emails}
            lists.get(kind, self.others).append(text)
        self.sans.append(text)

    @cached_property
    def subject(self) -> str:
        return rfc2253(self._subject)

    @cached_property
    def issuer(self) -> str:
        return rfc2253(self._issuer)

    @cached_property
    def fingerprint_256(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    @cached_property
    def fingerprint_1(self) -> str:
        return hashlib.sha1(self.der, usedforsecurity=False).hexdigest()


_seen: dict[bytes, Certificate] = {}


def certificate(der: bytes) -> Certificate:
    """The certificate's facts, remembered for the few thousand peers that come again. Raises DerError."""
    found = _seen.get(der)
    if found is None:
        try:
            found = Certificate(der)
        except (IndexError, ValueError) as error:
            raise DerError(str(error)) from error
        if len(_seen) > 2000:
            _seen.clear()
        _seen[der] = found
    return found
