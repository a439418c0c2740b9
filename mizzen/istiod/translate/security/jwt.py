"""RequestAuthentications as the jwt_authn filter.

Takes the objects that hold for a workload and the keys that were fetched, gives the filter's config; None without rules.
Source: envoy.extensions.filters.http.jwt_authn.v3. Not here: fetching keys.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from google.protobuf import empty_pb2

from mizzen.api.istio.security import JWTRule, RequestAuthentication
from mizzen.istiod.jwks import source_of

NAME = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"
SPACE_DELIMITED = ("permission", "scope")
"""Claims that are always read as lists of words."""
Requirement = config_pb2.JwtRequirement


def jwt_authn(objects: Iterable[RequestAuthentication], keys: Mapping[str, str], sidecar: bool) -> Any:
    """The filter's config. keys: JWKS text by where it comes from; a rule whose keys are not there lets no token pass."""
    rules = sorted((rule for obj in objects for rule in obj.spec.jwt_rules), key=lambda rule: rule.issuer or "")
    if not rules:
        return None
    names = [f"origins-{index}" for index in range(len(rules))]
    config = config_pb2.JwtAuthentication(bypass_cors_preflight=True)
    for name, rule in zip(names, rules, strict=True):
        config.providers[name].CopyFrom(_provider(rule, keys, sidecar))
    config.rules.add(match=route_components_pb2.RouteMatch(prefix="/"), requires=_required(names))
    return config


def _required(names: list[str]) -> Any:
    """A token of one provider; or, of each provider, a valid one or none."""
    if len(names) == 1:
        return _any([Requirement(provider_name=names[0]), Requirement(allow_missing=empty_pb2.Empty())])
    each = [_any([Requirement(provider_name=name), Requirement(allow_missing=empty_pb2.Empty())]) for name in names]
    every = Requirement(requires_all=config_pb2.JwtRequirementAndList(requirements=each))
    return _any([*(Requirement(provider_name=name) for name in names), every])


def _any(requirements: list[Any]) -> Any:
    return Requirement(requires_any=config_pb2.JwtRequirementOrList(requirements=requirements))


def _provider(rule: JWTRule, keys: Mapping[str, str], sidecar: bool) -> Any:
    provider = config_pb2.JwtProvider(
        issuer=rule.issuer or "",
        audiences=rule.audiences,
        forward=rule.forward_original_token,
        forward_payload_header=rule.output_payload_to_header,
        payload_in_metadata=PAYLOAD,
        from_params=rule.from_params,
        from_cookies=rule.from_cookies,
        clear_route_cache=not sidecar,
    )
    for header in rule.from_headers:
        provider.from_headers.add(name=header.name, value_prefix=header.prefix)
    for claim in rule.output_claim_to_headers:
        provider.claim_to_headers.add(header_name=claim.header, claim_name=claim.claim)
    words = sorted({*SPACE_DELIMITED, *rule.space_delimited_claims})
    provider.normalize_payload_in_metadata.space_delimited_claims.extend(words)
    text = rule.jwks or keys.get(source_of(rule)) or unmatchable_keys(rule)
    provider.local_jwks.CopyFrom(base_pb2.DataSource(inline_string=text))
    return provider


def unmatchable_keys(rule: JWTRule) -> str:
    """A JWKS that verifies no token: its modulus is the URI itself, as Istio's is.

    Without a URI it is a number of 2048 bits that nobody has made out of primes (Istio: a key whose private half is
    printed in RFC 7517). Envoy takes no listener with an empty modulus.
    """
    if rule.jwks_uri:
        made = rule.jwks_uri.encode()
    else:
        digest = bytearray(hashlib.shake_256((rule.issuer or "").encode()).digest(256))
        digest[0], digest[-1] = digest[0] | 0x80, digest[-1] | 1
        made = bytes(digest)
    modulus = base64.urlsafe_b64encode(made).decode().rstrip("=")
    return f'{{"keys":[ {{"e":"AQAB","kid":"abc","kty":"RSA","n":"{modulus}"}}]}}'
