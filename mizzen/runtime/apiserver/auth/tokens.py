"""Service account tokens: signed JSON Web Tokens, made and checked. ES256 with one key that the data directory keeps.

Takes claims and text, gives text and claims. Not here: whether the account, pod or secret still exists (authn.py).
Source: KEP-1205 (bound service account tokens), RFC 7515, RFC 7518 section 3.4.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

Claims = dict[str, Any]
ISSUER = "https://kubernetes.default.svc"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """One signing key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, key_id: str) -> None:
        self._key, self.key_id = key, key_id
        self.public = key.public_key()

    def sign(self, claims: Claims) -> str:
        head = {"alg": "ES256", "kid": self.key_id}
        signed = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def read(self, token: str) -> Claims | None:
        """The claims of a token that this key signed; None for any other text. Expiry is not looked at."""
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            raw = _decode(parts[2])
            signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            self.public.verify(signature, f"{parts[0]}.{parts[1]}".encode(), ec.ECDSA(hashes.SHA256()))
            claims = json.loads(_decode(parts[1]))
        except (ValueError, InvalidSignature):
            return None
        return claims if isinstance(claims, dict) else None

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set, for whoever checks tokens offline."""
        numbers = self.public.public_numbers()
        point = {name: _encode(value.to_bytes(32, "big")) for name, value in (("x", numbers.x), ("y", numbers.y))}
        return {"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.key_id, **point}]}


def account_claims(
    namespace: str,
    account: str,
    uid: str,
    audiences: list[str],
    seconds: int,
    bound: Claims | None = None,
    now: float | None = None,
) -> Claims:
    """Claims of a token for an account; `bound` names the pod, secret or node it is bound to ({"pod": {name, uid}})."""
    issued = int(time.time() if now is None else now)
    about = {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}, **(bound or {})}
    return {
        "aud": audiences,
        "exp": issued + seconds,
        "iat": issued,
        "iss": ISSUER,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": about,
        "nbf": issued,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }


def secret_claims(namespace: str, account: str, uid: str, secret: str) -> Claims:
    """Claims of a token without end, kept in a Secret of type kubernetes.io/service-account-token."""
    prefix = "kubernetes.io/serviceaccount"
    return {
        "iss": "kubernetes/serviceaccount",
        f"{prefix}/namespace": namespace,
        f"{prefix}/secret.name": secret,
        f"{prefix}/service-account.name": account,
        f"{prefix}/service-account.uid": uid,
        "sub": f"system:serviceaccount:{namespace}:{account}",
    }
