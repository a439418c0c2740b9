"""Delegate VirtualServices merged into the roots that hand path prefixes to them.

Takes all VirtualServices, gives those that stand alone: roots with their delegates' routes in place, delegates gone.
Not here: which of them a proxy sees. A route whose delegate is missing, not exported or in conflict is left out.
Source: istio.networking.v1alpha3.Delegate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from mizzen.api.istio.virtual_service import HTTPMatchRequest, HTTPRoute, StringMatch, VirtualService

INHERITED = (
    "rewrite",
    "direct_response",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirror_percent",
    "mirror_percentage",
    "cors_policy",
    "headers",
)
"""What a delegate's route takes from the root's when it says nothing itself; `mirrors` likewise."""

Item = TypeVar("Item")


def is_delegate(virtual_service: VirtualService) -> bool:
    """Whether it only serves roots: it has no hosts."""
    return not virtual_service.spec.hosts


def has_delegates(virtual_service: VirtualService) -> bool:
    """Whether some of its routes are handed on."""
    return any(rule.delegate is not None for rule in virtual_service.spec.http)


def merge_delegates(
    virtual_services: Iterable[VirtualService], default_export_to: Sequence[str] = ("*",)
) -> tuple[VirtualService, ...]:
    """The VirtualServices that have hosts, in the order given, with their delegates' routes in place of the references."""
    given = list(virtual_services)
    delegates = {(vs.metadata.namespace or "", vs.metadata.name or ""): vs for vs in given if is_delegate(vs)}
    return tuple(
        _with_routes(vs, delegates, default_export_to) if has_delegates(vs) else vs
        for vs in given
        if not is_delegate(vs)
    )


def _with_routes(
    root: VirtualService, delegates: dict[tuple[str, str], VirtualService], default_export_to: Sequence[str]
) -> VirtualService:
    namespace = root.metadata.namespace or ""
    merged: list[HTTPRoute] = []
    for rule in root.spec.http:
        if rule.delegate is None:
            merged.append(rule)
            continue
        delegate = delegates.get((rule.delegate.namespace or namespace, rule.delegate.name))
        if delegate is not None and _exported(delegate, namespace, default_export_to):
            merged += [route for leaf in delegate.spec.http if (route := merge_routes(rule, leaf)) is not None]
    return replace(root, spec=replace(root.spec, http=tuple(merged)))


def _exported(delegate: VirtualService, to_namespace: str, default_export_to: Sequence[str]) -> bool:
    own = delegate.metadata.namespace
    visible = {own if name == "." else name for name in delegate.spec.export_to or default_export_to}
    return "*" in visible or to_namespace in visible


def merge_routes(root: HTTPRoute, leaf: HTTPRoute) -> HTTPRoute | None:
    """The delegate's route narrowed by the root's matches; None when they exclude each other."""
    matches = _merge_matches(root.match, leaf.match)
    if matches is None:
        return None
    inherited = {name: getattr(root, name) for name in INHERITED if getattr(leaf, name) is None}
    return replace(
        leaf,
        match=matches,
        name=_joined(root.name, leaf.name),
        mirrors=leaf.mirrors or root.mirrors,
        **inherited,
    )


def _joined(root: str, leaf: str) -> str:
    return f"{root}-{leaf}" if root and leaf else root or leaf


def _merge_matches(
    roots: tuple[HTTPMatchRequest, ...], leaves: tuple[HTTPMatchRequest, ...]
) -> tuple[HTTPMatchRequest, ...] | None:
    """Every pair that can hold together; None when some leaf fits no root."""
    if not roots or not leaves:
        return roots or leaves
    out: list[HTTPMatchRequest] = []
    for leaf in leaves:
        fitting = [_merge_match(root, leaf) for root in roots if not conflict(root, leaf)]
        if not fitting:
            return None
        out += fitting
    return tuple(out)


def _merge_match(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> HTTPMatchRequest:
    return replace(
        leaf,
        name=_joined(root.name, leaf.name),
        uri=leaf.uri or root.uri,
        scheme=leaf.scheme or root.scheme,
        method=leaf.method or root.method,
        authority=leaf.authority or root.authority,
        headers={**root.headers, **leaf.headers},
        without_headers={**root.without_headers, **leaf.without_headers},
        query_params={**root.query_params, **leaf.query_params},
        port=leaf.port or root.port,
        source_labels={**root.source_labels, **leaf.source_labels},
        source_namespace=leaf.source_namespace or root.source_namespace,
        gateways=leaf.gateways or root.gateways,
        stat_prefix=leaf.stat_prefix or root.stat_prefix,
    )


def conflict(root: HTTPMatchRequest, leaf: HTTPMatchRequest) -> bool:
    """Whether the leaf's conditions are not a part of what the root hands on."""
    strings = [(getattr(root, name), getattr(leaf, name)) for name in ("uri", "scheme", "method", "authority")]
    for name in ("headers", "without_headers", "query_params"):
        strings += [(getattr(root, name).get(key), value) for key, value in getattr(leaf, name).items()]
    return (
        any(_strings_conflict(ours, theirs) for ours, theirs in strings)
        or root.ignore_uri_case != leaf.ignore_uri_case
        or _differ(root.port, leaf.port)
        or _differ(root.source_namespace, leaf.source_namespace)
        or any(_differ(root.source_labels.get(key), value) for key, value in leaf.source_labels.items())
        or (bool(root.gateways) and not set(leaf.gateways) <= set(root.gateways))
    )


def _differ(root: Item | None, leaf: Item | None) -> bool:
    return bool(root) and bool(leaf) and root != leaf


def _strings_conflict(root: StringMatch | None, leaf: StringMatch | None) -> bool:
    """A leaf must extend the root's prefix or equal its exact value; regular expressions cannot be compared."""
    if root is None or leaf is None:
        return False
    if (root.regex and (leaf.regex or leaf.prefix or leaf.exact)) or (leaf.regex and (root.prefix or root.exact)):
        return True
    if root.exact:
        return leaf.exact != root.exact
    if root.prefix:
        return not (leaf.exact or leaf.prefix or "").startswith(root.prefix)
    return True
