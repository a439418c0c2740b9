"""Who a caller is: by its client certificate, or by a Kubernetes service-account token.

Takes a call, gives SPIFFE identities; the first way that succeeds counts. Client certificates have been
verified by the TLS layer already, and the call tells their URI SANs; tokens are checked by TokenReview, or by
the issuer's public key when there is no API server. Not here: what an identity may do. Source: istiod's
authenticators on port 15012: client certificate SPIFFE SAN, then Kubernetes JWT.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from mizzen.istiod.ca.spiffe import Identity
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client
from mizzen.kube.resource import TOKEN_REVIEWS

log = logging.getLogger(__name__)

AUDIENCE = "istio-ca"
ACCOUNT_PREFIX = "system:serviceaccount:"


class Unauthenticated(Exception):
    """No authenticator accepted the caller; the text says why each did not."""


class Caller(Protocol):
    """What is known of who calls: a gRPC call."""

    uris: Sequence[str]
    metadata: Mapping[str, str]


class TokenReviewer(Protocol):
    """Checks a service-account token: `<namespace>`, `<name>` of the account. Raises Unauthenticated."""

    async def account(self, token: str) -> tuple[str, str]: ...


class ApiTokenReviewer:
    """Asks the API server."""

    def __init__(self, client: Client, audiences: Sequence[str] = (AUDIENCE,)) -> None:
        self._client, self._audiences = client, list(audiences)

    async def account(self, token: str) -> tuple[str, str]:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {"name": ""},
            "spec": {"token": token, "audiences": self._audiences},
        }
        try:
            status = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        except (ApiError, *CONNECTION_ERRORS) as error:
            raise Unauthenticated(f"TokenReview: {error}") from error
        if not status.get("authenticated"):
            raise Unauthenticated(f"the token is not accepted: {status.get('error') or 'not authenticated'}")
        user = status.get("user") or {}
        if "system:serviceaccounts" not in (user.get("groups") or ()):
            raise Unauthenticated("the token is not of a service account")
        return account_of(str(user.get("username") or ""))


class KeyTokenReviewer:
    """Checks RS256 and ES256 signatures with the issuer's public keys (PEM)."""

    def __init__(self, keys_pem: bytes, audiences: Sequence[str] = (AUDIENCE,)) -> None:
        self._keys = [serialization.load_pem_public_key(part) for part in _pems(keys_pem)]
        self._audiences = set(audiences)

    async def account(self, token: str) -> tuple[str, str]:
        claims = self._verified(token)
        audience = claims.get("aud", [])
        if not self._audiences & {*([audience] if isinstance(audience, str) else audience)}:
            raise Unauthenticated(f"the token is for {audience}, not for {', '.join(self._audiences)}")
        now = time.time()
        if not float(claims.get("nbf", 0)) - 60 <= now <= float(claims.get("exp", 0)):
            raise Unauthenticated("the token has expired or is not valid yet")
        return account_of(str(claims.get("sub", "")))

    def _verified(self, token: str) -> dict[str, Any]:
        try:
            head, body, signature = (part.encode() for part in token.split("."))
            algorithm = json.loads(_unbase64(head))["alg"]
            claims: dict[str, Any] = json.loads(_unbase64(body))
            proof = _unbase64(signature)
        except (ValueError, KeyError, TypeError) as error:
            raise Unauthenticated("the token is no JWT") from error
        if not any(_fits(key, algorithm, head + b"." + body, proof) for key in self._keys):
            raise Unauthenticated("the token's signature fits none of the issuer's keys")
        return claims


def account_of(username: str) -> tuple[str, str]:
    """Namespace and name in `system:serviceaccount:<namespace>:<name>`. Raises Unauthenticated for any other name."""
    parts = username.split(":")
    if len(parts) != 4 or not username.startswith(ACCOUNT_PREFIX) or not all(parts):
        raise Unauthenticated(f"{username!r} is not a service account")
    return parts[2], parts[3]


class Authenticator:
    """tokens: None = tokens are not accepted."""

    def __init__(self, trust_domain: Callable[[], str], tokens: TokenReviewer | None = None) -> None:
        self._trust_domain, self._tokens = trust_domain, tokens

    async def identities(self, call: Caller) -> tuple[str, ...]:
        """The caller's identities, never empty. Raises Unauthenticated."""
        found = tuple(uri for uri in call.uris if uri.startswith("spiffe://"))
        if found:
            return found
        return (await self.by_token(bearer(call.metadata)),)

    async def by_token(self, token: str | None) -> str:
        """The identity that a token proves."""
        if token is None:
            raise Unauthenticated("no client certificate and no bearer token")
        if self._tokens is None:
            raise Unauthenticated("tokens cannot be checked: istiod was given neither a kubeconfig nor a key for them")
        namespace, name = await self._tokens.account(token)
        return str(Identity(self._trust_domain(), namespace, name))


def bearer(metadata: Mapping[str, str]) -> str | None:
    """The token in gRPC metadata `authorization: Bearer <token>`."""
    scheme, _, token = metadata.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def _fits(key: Any, algorithm: str, signed: bytes, proof: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm == "RS256":
            key.verify(proof, signed, padding.PKCS1v15(), hashes.SHA256())
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm == "ES256" and len(proof) == 64:
            pair = int.from_bytes(proof[:32], "big"), int.from_bytes(proof[32:], "big")
            key.verify(encode_dss_signature(*pair), signed, ec.ECDSA(hashes.SHA256()))
            return True
    except InvalidSignature:
        pass
    return False


def _unbase64(data: bytes) -> bytes:
    return base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))


def _pems(data: bytes) -> list[bytes]:
    end = b"-----END PUBLIC KEY-----"
    return [part.strip() + b"\n" + end for part in data.split(end) if part.strip()]
