"""The lifetime of a certificate, read out of its DER by hand: all that the agent must know of one.

Source: RFC 5280, section 4.1. Not here: any check of signatures or names (TLS does that).
"""

from __future__ import annotations

import base64
import calendar
import re
import time

from mizzen.api.errors import PeerError

BEGIN = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def lifetime(pem: str) -> tuple[float, float]:
    """(not before, not after) of the first certificate in a PEM text, as Unix times. Raises PeerError."""
    found = BEGIN.search(pem)
    if found is None:
        raise PeerError("no certificate in PEM")
    try:
        data = base64.b64decode("".join(found[1].split()))
        certificate, _ = element(data, 0)
        body, _ = element(certificate[1], 0)
        at, parts = 0, []
        while at < len(body[1]):
            part, at = element(body[1], at)
            parts.append(part)
        version = 1 if parts[0][0] == 0xA0 else 0
        validity = parts[version + 3][1]
        first, at = element(validity, 0)
        second, _ = element(validity, at)
        return moment(*first), moment(*second)
    except (IndexError, ValueError) as error:
        raise PeerError(f"a certificate that cannot be read: {error}") from error


def element(data: bytes, at: int) -> tuple[tuple[int, bytes], int]:
    """((tag, content), position behind) of one DER element."""
    tag, size = data[at], data[at + 1]
    at += 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(data[at : at + count], "big"), at + count
    if at + size > len(data):
        raise ValueError("it ends early")
    return (tag, data[at : at + size]), at + size


def moment(tag: int, content: bytes) -> float:
    """UTCTime (tag 23) or GeneralizedTime as a Unix time."""
    text = content.decode("ascii")
    if tag == 23:
        text = ("19" if text[:2] >= "50" else "20") + text
    return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))
