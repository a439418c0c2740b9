"""JSON Web Key sets and the check of a token's signature against them. Source: RFC 7517, RFC 7518.

Importing this brings in `cryptography`: only done once a configuration names a JWT provider.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from mizzen.proxy.jwt.token import FAILS, NO_KEY, Token, decoded

HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES: dict[str, tuple[ec.EllipticCurve, str]] = {
    "P-256": (ec.SECP256R1(), "ES256"),
    "P-384": (ec.SECP384R1(), "ES384"),
    "P-521": (ec.SECP521R1(), "ES512"),
}


class BadKeys(ValueError):
    """The set cannot be used; the message is the status."""


class Key:
    """One key of a set."""

    __slots__ = ("alg", "kid", "kty", "material", "only")

    def __init__(self, entry: dict[str, Any]) -> None:
        self.kid = str(entry.get("kid", ""))
        self.alg = str(entry.get("alg", ""))
        self.kty = str(entry["kty"])
        self.only = ""  # the one algorithm of an elliptic curve
        self.material: Any = None
        if self.kty == "RSA":
            self.material = rsa.RSAPublicNumbers(number(entry["e"]), number(entry["n"])).public_key()
        elif self.kty == "EC":
            curve, self.only = CURVES[entry.get("crv", "P-256")]
            self.material = ec.EllipticCurvePublicNumbers(number(entry["x"]), number(entry["y"]), curve).public_key()
        elif self.kty == "OKP" and entry.get("crv") == "Ed25519":
            self.material = ed25519.Ed25519PublicKey.from_public_bytes(raw(entry["x"]))
        elif self.kty == "oct":
            self.material = raw(entry["k"])
        else:
            raise ValueError(self.kty)

    def verifies(self, token: Token) -> bool:
        alg, kty = token.alg, self.kty
        try:
            if kty == "RSA" and alg[:2] in ("RS", "PS"):
                chosen = HASHES[alg[2:]]
                pad: Any = padding.PKCS1v15()
                if alg[0] == "P":
                    pad = padding.PSS(padding.MGF1(chosen), padding.PSS.DIGEST_LENGTH)
                self.material.verify(token.signature, token.signed, pad, chosen)
                return True
            if kty == "EC" and alg == self.only:
                half = (self.material.curve.key_size + 7) // 8
                if len(token.signature) != 2 * half:
                    return False
                r, s = int.from_bytes(token.signature[:half], "big"), int.from_bytes(token.signature[half:], "big")
                self.material.verify(utils.encode_dss_signature(r, s), token.signed, ec.ECDSA(HASHES[alg[2:]]))
                return True
            if kty == "OKP" and alg == "EdDSA":
                self.material.verify(token.signature, token.signed)
                return True
        except InvalidSignature:
            return False
        if kty == "oct" and alg[:2] == "HS":
            return hmac.compare_digest(hmac.digest(self.material, token.signed, "sha" + alg[2:]), token.signature)
        return False


def raw(text: Any) -> bytes:
    value = decoded(str(text).rstrip("="))
    if value is None:
        raise ValueError("not base64url")
    return value


def number(text: Any) -> int:
    return int.from_bytes(raw(text), "big")


class Keys:
    """A key set. Raises BadKeys when none of its keys can be used."""

    def __init__(self, text: str | bytes) -> None:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise BadKeys("Jwks is an invalid JSON") from error
        if not isinstance(value, dict) or "keys" not in value:
            raise BadKeys("Jwks does not have [keys] field")
        if not isinstance(value["keys"], list):
            raise BadKeys("[keys] in Jwks is not an array")
        self.keys: list[Key] = []
        for entry in value["keys"]:
            try:
                self.keys.append(Key(entry))
            except (KeyError, ValueError, TypeError):
                continue  # one key of a kind that is not known leaves the others usable
        if not self.keys:
            raise BadKeys("Jwks doesn't have any valid public key")

    def status(self, token: Token) -> str:
        """ "" when a key that fits by id and algorithm verifies the token, else why not."""
        fits = False
        for key in self.keys:
            if (token.kid and key.kid and token.kid != key.kid) or (key.alg and key.alg != token.alg):
                continue
            fits = True
            if key.verifies(token):
                return ""
        return FAILS if fits else NO_KEY
