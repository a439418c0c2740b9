"""Patches of network filters, of HTTP filters inside connection managers, and of inline routes there.

Takes a copy of a listener and one of its chains, and writes to the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from mizzen.istiod.translate.patches.lists import placed
from mizzen.istiod.translate.patches.merge import merge_any
from mizzen.istiod.translate.patches.routes import patched as patched_routes
from mizzen.istiod.translate.patches.select import Patch, Patches

HCM = "envoy.filters.network.http_connection_manager"
VIRTUAL = frozenset({"virtualInbound", "virtualOutbound"})
ROUTE_KINDS = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")


def means_chain(patch: Patch, listener: Any, chain: Any) -> bool:
    """Whether a patch means a filter chain."""
    match = patch.match.listener
    if match is None:
        return True
    fcm = chain.filter_chain_match
    if listener.name in VIRTUAL and match.port_number and fcm.destination_port.value != match.port_number:
        return False
    wanted = match.filter_chain
    if wanted is None:
        return True
    if wanted.name and wanted.name != chain.name:
        return False
    if wanted.sni and wanted.sni not in fcm.server_names:
        return False
    if wanted.transport_protocol and wanted.transport_protocol != fcm.transport_protocol:
        return False
    names = [name.strip() for name in wanted.application_protocols.split(",") if name.strip()]
    if any(name not in fcm.application_protocols for name in names):
        return False
    return not wanted.destination_port or wanted.destination_port == fcm.destination_port.value


def _filter_name(patch: Patch) -> str:
    match = patch.match.listener
    chosen = match.filter_chain.filter if match is not None and match.filter_chain is not None else None
    return chosen.name if chosen is not None else ""


def _sub_filter_name(patch: Patch) -> str:
    match = patch.match.listener
    chosen = match.filter_chain.filter if match is not None and match.filter_chain is not None else None
    return chosen.sub_filter.name if chosen is not None and chosen.sub_filter is not None else ""


def _named(name: str) -> Callable[[Any], bool] | None:
    return (lambda item: bool(item.name == name)) if name else None


def patched_filters(listener: Any, chain: Any, chosen: Patches, context: str) -> None:
    """Apply all patches of filters to a chain."""
    network = [p for p in chosen.get("NETWORK_FILTER", ()) if means_chain(p, listener, chain)]
    http = [p for p in chosen.get("HTTP_FILTER", ()) if means_chain(p, listener, chain)]
    routes = {kind: chosen.get(kind, []) for kind in ROUTE_KINDS}
    if network:
        kind = listener_components_pb2.Filter
        changed = _changed(list(chain.filters), network, kind, _filter_name)
        del chain.filters[:]
        chain.filters.extend(changed)
    if not http and not any(routes.values()):
        return
    for filter_ in chain.filters:
        if filter_.name == HCM:
            _manager(filter_, [p for p in http if _filter_name(p) in ("", HCM)], routes, context)


def _manager(filter_: Any, http: list[Patch], routes: Patches, context: str) -> None:
    """Apply patches inside a connection manager."""
    manager = hcm_pb2.HttpConnectionManager()
    if not filter_.typed_config.Unpack(manager):
        return
    if http:
        changed = _changed(list(manager.http_filters), http, hcm_pb2.HttpFilter, _sub_filter_name)
        del manager.http_filters[:]
        manager.http_filters.extend(changed)
    if manager.HasField("route_config") and any(routes.values()):
        manager.route_config.CopyFrom(patched_routes(manager.route_config, routes, context, {}))
    filter_.typed_config.value = manager.SerializeToString(deterministic=True)


def _changed(filters: list[Any], patches: list[Patch], kind: Any, name_of: Callable[[Patch], str]) -> list[Any]:
    """Filters with what is added, inserted and replaced; then with what is merged and removed."""
    out = [kind.FromString(one.SerializeToString()) for one in filters]
    for patch in patches:
        if patch.value is not None and not patch.merges:
            fresh = kind.FromString(patch.value.SerializeToString())
            out = placed(out, patch.operation, fresh, _named(name_of(patch)))
    return [one for one in out if not _merged_or_gone(one, patches, name_of)]


def _merged_or_gone(filter_: Any, patches: list[Patch], name_of: Callable[[Patch], str]) -> bool:
    """Merge what is to be merged into a filter; whether it is to be removed instead."""
    for patch in patches:
        name = name_of(patch)
        if name and name != filter_.name:
            continue
        if patch.operation == "REMOVE":
            return True
        if patch.merges:
            _merge(filter_, patch.value)
    return False


def _merge(filter_: Any, value: Any) -> None:
    """A filter's config merged, its name replaced when the patch gives one."""
    if value.HasField("typed_config"):
        change = type(value.typed_config)()
        change.CopyFrom(value.typed_config)
        if not merge_any(filter_.typed_config, change) and not filter_.typed_config.type_url:
            filter_.typed_config.CopyFrom(change)
    if value.name:
        filter_.name = value.name
