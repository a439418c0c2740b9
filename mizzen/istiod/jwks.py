"""Key sets of RequestAuthentications: an object of the configuration like any other, once they were fetched.

Not here: fetching (config/jwks.py), the filter (translate/security/jwt.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

from mizzen.api.istio.security import JWTRule

DISCOVERY = "/.well-known/openid-configuration"


class Jwks(msgspec.Struct, frozen=True):
    """A fetched key set. metadata.name: where it comes from (`source_of`); text: the JWKS."""

    metadata: ObjectMeta
    text: str
    kind: str = "Jwks"

    @classmethod
    def of(cls, source: str, text: str) -> Jwks:
        return cls(ObjectMeta(name=source), text)


def source_of(rule: JWTRule) -> str:
    """Whence a rule's keys are fetched: its jwksUri, else its issuer's OpenID discovery; "" when they are inline."""
    if rule.jwks:
        return ""
    if rule.jwks_uri:
        return rule.jwks_uri
    issuer = (rule.issuer or "").rstrip("/")
    return issuer + DISCOVERY if issuer.startswith(("http://", "https://")) else ""


def sources(objects: Iterable[Any]) -> set[str]:
    """Whence the keys of these RequestAuthentications are fetched."""
    return {source for obj in objects for rule in obj.spec.jwt_rules if (source := source_of(rule))}
