"""A JSON Web Token in compact form: parsed and checked for form, with the statuses that Envoy gives clients.

Not here: signatures (keys.py) and who is trusted (filters/jwt_authn.py). Source: RFC 7515, RFC 7519.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

ALGORITHMS = frozenset([f"{kind}{size}" for kind in ("ES", "HS", "RS", "PS") for size in (256, 384, 512)] + ["EdDSA"])
BASE64URL = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")

MISSED = "Jwt is missing"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
AUDIENCE = "Audiences in Jwt are not allowed"
EXPIRED, NOT_YET = "Jwt is expired", "Jwt not yet valid"
FAILS = "Jwt verification fails"
NO_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
NO_VALID_KEYS = "Jwks doesn't have any valid public key"
FETCH = "Jwks remote fetch is failed"


class BadToken(ValueError):
    """The token is not well formed; the message is the status."""


def decoded(text: str) -> bytes | None:
    """Base64url without padding; None when it is not that."""
    if not BASE64URL.issuperset(text) or len(text) % 4 == 1:
        return None
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _object(text: str, part: str) -> dict[str, Any]:
    raw = decoded(text)
    if not raw:
        raise BadToken(f"Jwt {part} is an invalid Base64url encoded")
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadToken(f"Jwt {part} is an invalid JSON") from error
    if not isinstance(value, dict):
        raise BadToken(f"Jwt {part} is an invalid JSON")
    return value


class Token:
    """A well-formed token. Times are integer seconds, 0 when absent."""

    __slots__ = (
        "alg", "audiences", "exp", "header", "iat", "issuer", "kid", "nbf", "payload", "payload_text", "signature",
        "signed", "subject", "text",
    )  # fmt: skip

    def __init__(self, text: str) -> None:
        parts = text.split(".")
        if len(parts) != 3 or "" in parts:
            raise BadToken("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")
        self.text = text
        self.header = _object(parts[0], "header")
        alg = self.header.get("alg")
        if not isinstance(alg, str):
            raise BadToken("Jwt header [alg] field is required and must be a string")
        if alg not in ALGORITHMS:
            raise BadToken("Jwt header [alg] is not supported")
        self.alg = alg
        kid = self.header.get("kid", "")
        if not isinstance(kid, str):
            raise BadToken("Jwt header [kid] field is not a string")
        self.kid = kid
        self.payload_text = parts[1]
        payload = self.payload = _object(parts[1], "payload")
        self.issuer = self._text(payload, "iss")
        self.subject = self._text(payload, "sub")
        self.iat = self._integer(payload, "iat")
        self.nbf = self._integer(payload, "nbf")
        self.exp = self._integer(payload, "exp")
        self._text(payload, "jti")
        audiences = payload.get("aud", [])
        if isinstance(audiences, str):
            audiences = [audiences]
        if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
            raise BadToken("Jwt payload [aud] field is not a string or string list")
        self.audiences: list[str] = audiences
        signature = decoded(parts[2])
        if not signature:
            raise BadToken("Jwt signature is an invalid Base64url encoded")
        self.signature = signature
        self.signed = f"{parts[0]}.{parts[1]}".encode()

    @staticmethod
    def _text(payload: dict[str, Any], name: str) -> str:
        value = payload.get(name, "")
        if not isinstance(value, str):
            raise BadToken(f"Jwt payload [{name}] field is not a string")
        return value

    @staticmethod
    def _integer(payload: dict[str, Any], name: str) -> int:
        value = payload.get(name, 0)
        if isinstance(value, float):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadToken(f"Jwt payload [{name}] field is not an integer")
        if not 0 <= value < 1 << 63:
            raise BadToken(f"Jwt payload [{name}] field is not a positive 64 bit integer")
        return value

    def time_status(self, now: float, skew_s: int) -> str:
        """ "" while the token is valid at a time (seconds since 1970), else why not."""
        if self.nbf > now + skew_s:
            return NOT_YET
        if self.exp and now > self.exp + skew_s:
            return EXPIRED
        return ""
