"""Tokens and access, asked and answered: TokenRequest, TokenReview, SelfSubjectReview, access and rules reviews.

Source: authentication.k8s.io/v1, authorization.k8s.io/v1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .. import bodies, options
from ..accept import negotiate
from ..auth.tokens import ISSUER, account_claims
from ..context import Ask, User
from ..errors import Problem, bad_request, invalid, not_found, refused
from ..http1 import Response
from ..parts import Parts
from ..reading import rendered
from ..schema.facts import struct_of
from ..schema.scalars import now

Object = dict[str, Any]
encode = msgspec.json.encode


def _body(ask: Ask, kind: str, version: str) -> Object:
    options.write_options(ask, "CreateOptions")
    tree, doubles = bodies.load(ask, kind)
    bodies.check_kind(tree, kind, version)
    shape = struct_of(version, kind)
    assert shape is not None
    return bodies.shaped(ask, tree, shape, kind, version, doubles)


def _answer(ask: Ask, obj: Object, status: int = 201) -> Response:
    return rendered(ask, negotiate(ask.request.headers.get("accept", "")), status, encode(obj))


async def token_request(ask: Ask, parts: Parts) -> Response:
    obj = _body(ask, "TokenRequest", "authentication.k8s.io/v1")
    namespace, name = ask.info.namespace, ask.info.name
    account = parts.lookup("serviceaccounts", namespace, name)
    if account is None:
        raise not_found("", "serviceaccounts", name)
    meta, spec = obj["metadata"], obj["spec"]
    if meta.get("name", name) != name:
        raise bad_request("metadata.name must match the service account name")
    seconds = spec.get("expirationSeconds") or 3600
    spec["expirationSeconds"] = seconds
    spec["audiences"] = spec.get("audiences") or [ISSUER]
    problems: list[Problem] = []
    if seconds < 600:
        problems.append(invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > 1 << 32:
        problems.append(
            invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
        )
    if problems:
        raise refused("authentication.k8s.io", "TokenRequest", meta.get("name", ""), problems)
    bound = _bound(parts, namespace, name, spec.get("boundObjectRef"))
    claims = account_claims(namespace, name, account["metadata"]["uid"], spec["audiences"], seconds, bound)
    from datetime import UTC, datetime

    ends = datetime.fromtimestamp(claims["exp"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    token = "" if ask.dry_run else parts.signer.sign(claims)
    obj["metadata"] = {"name": name, "namespace": namespace, "creationTimestamp": now()}
    obj["status"] = {"token": token, "expirationTimestamp": ends}
    return _answer(ask, obj)


def _bound(parts: Parts, namespace: str, account: str, reference: Object | None) -> Object:
    if not reference:
        return {}
    kind, name = reference.get("kind", ""), reference.get("name", "")
    plural = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(kind)
    if plural is None or reference.get("apiVersion") != "v1":
        raise bad_request(f"cannot bind token to object of type {_gvk(reference)}")
    found = parts.lookup(plural, "" if kind == "Node" else namespace, name)
    if found is None:
        raise not_found("", plural, name)
    uid = found["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        from ..errors import conflict

        raise conflict(
            "",
            kind,
            name,
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. The object might have been deleted and then recreated",
        )
    if kind == "Pod" and (found.get("spec") or {}).get("serviceAccountName", "default") != account:
        raise bad_request(
            f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
        )
    out: Object = {kind.lower(): {"name": name, "uid": uid}}
    node = (found.get("spec") or {}).get("nodeName") if kind == "Pod" else None
    if node:
        there = parts.lookup("nodes", "", node)
        out["node"] = {"name": node, **({"uid": there["metadata"]["uid"]} if there else {})}
    return out


def _gvk(reference: Object) -> str:
    group, _, version = reference.get("apiVersion", "").rpartition("/")
    return f"{group}/{version}, Kind={reference.get('kind', '')}"


async def token_review(ask: Ask, parts: Parts) -> Response:
    obj = _body(ask, "TokenReview", "authentication.k8s.io/v1")
    spec = obj.get("spec") or {}
    token = spec.get("token", "")
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    found = parts.authenticator.review(token, spec.get("audiences") or [])
    if found is None or (not found[1] and spec.get("audiences")):
        obj["status"] = {"user": {}, "error": parts.authenticator.why_not(token, spec.get("audiences") or [])}
    else:
        obj["status"] = {"authenticated": True, "user": found[0].info(), "audiences": found[1]}
    obj["metadata"].setdefault("creationTimestamp", None)
    obj["metadata"].pop("creationTimestamp")
    return _answer(ask, obj)


async def self_review(ask: Ask, parts: Parts) -> Response:
    obj = _body(ask, "SelfSubjectReview", "authentication.k8s.io/v1")
    obj["metadata"]["creationTimestamp"] = now()
    obj["status"] = {"userInfo": ask.user.info()}
    return _answer(ask, obj)


async def access(ask: Ask, parts: Parts) -> Response:
    """SubjectAccessReview and its Self and Local kin."""
    kind = ask.resource.kind
    obj = _body(ask, kind, "authorization.k8s.io/v1")
    spec = obj["spec"]
    problems = _access_problems(kind, spec, ask)
    if problems:
        refusal = refused("authorization.k8s.io", "", "", problems)
        (refusal.details or {}).pop("kind", None)
        raise refusal
    user = ask.user
    if kind != "SelfSubjectAccessReview":
        extra = tuple(sorted((key, tuple(values)) for key, values in (spec.get("extra") or {}).items()))
        user = User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)
    allowed, reason = decide(parts, user, spec)
    obj["status"] = {"allowed": allowed, **({"reason": reason} if reason else {})}
    return _answer(ask, obj)


def _access_problems(kind: str, spec: Object, ask: Ask) -> list[Problem]:
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    shown = {"Path": path.get("path", ""), "Verb": path.get("verb", "")} if path is not None else None
    problems: list[Problem] = []
    if (about is None) == (path is None):
        problems.append(
            invalid("spec", shown, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
        )
    if kind == "LocalSubjectAccessReview":
        if path is not None:
            problems.append(invalid("spec.nonResourceAttributes", shown, "disallowed on this kind of request"))
        if about is not None and about.get("namespace", "") != ask.info.namespace:
            problems.append(
                invalid(
                    "spec.resourceAttributes.namespace", about.get("namespace", ""), "must match metadata.namespace"
                )
            )
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        problems.append(invalid("spec.user", spec.get("user", ""), "at least one of user or group must be specified"))
    return problems


def decide(parts: Parts, user: User, spec: Object) -> tuple[bool, str]:
    """Whether a user may, and the binding that says so."""
    about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if about is not None:
        resource = about.get("resource", "")
        full = f"{resource}/{about['subresource']}" if about.get("subresource") else resource
        wanted = (
            about.get("verb", ""),
            about.get("group", ""),
            full,
            about.get("namespace", ""),
            about.get("name", ""),
        )
        return parts.rbac.explain(user, *wanted)
    assert path is not None
    return parts.rbac.explain_path(user, path.get("verb", ""), path.get("path", ""))


async def rules(ask: Ask, parts: Parts) -> Response:
    obj = _body(ask, "SelfSubjectRulesReview", "authorization.k8s.io/v1")
    namespace = (obj.get("spec") or {}).get("namespace", "")
    if not namespace:
        raise bad_request("no namespace on request")
    resources, paths = [], []
    if ask.user.is_master:
        resources.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        paths.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    for rule in parts.rbac.rules(ask.user, namespace):
        if rule.get("resources"):
            entry = {"verbs": rule["verbs"], "apiGroups": rule.get("apiGroups") or [], "resources": rule["resources"]}
            if rule.get("resourceNames"):
                entry["resourceNames"] = rule["resourceNames"]
            resources.append(entry)
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
    obj["status"] = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    obj["spec"] = {}
    return _answer(ask, obj)
