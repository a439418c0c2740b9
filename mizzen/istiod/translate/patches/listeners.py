"""Patches of listeners, listener filters and filter chains.

Takes the listeners of a proxy, gives new ones; those given are not written to. Order inside one listener: the listener
itself, its listener filters, each chain with its filters, added chains; added listeners come last.
Not here: filters of a chain (filters.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.patches.filters import means_chain, patched_filters
from mizzen.istiod.translate.patches.lists import placed
from mizzen.istiod.translate.patches.merge import merge, merge_any
from mizzen.istiod.translate.patches.select import ANY, GATEWAY, INBOUND, OUTBOUND, Patch, Patches, patches_for

KINDS = frozenset(
    {"LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"}
    | {"ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"}
)
VIRTUAL = frozenset({"virtualInbound", "virtualOutbound"})


def patch_listeners(snap: Snapshot, node: Node, listeners: Iterable[Any]) -> list[Any]:
    """The listeners after all patches."""
    every = patches_for(snap, node)
    if not KINDS & every.keys():
        return list(listeners)
    out = []
    for listener in listeners:
        context = context_of(listener, node)
        patched = _patched(
            listener, {kind: [p for p in found if p.in_context(context)] for kind, found in every.items()}, context
        )
        if patched is not None:
            out.append(patched)
    contexts = (GATEWAY, ANY) if node.is_router else (OUTBOUND, INBOUND, ANY)
    added = [patch.value for patch in every.get("LISTENER", ()) if patch.adds and patch.match.context in contexts]
    names = {listener.name for listener in out}
    return out + [listener for listener in added if listener.name not in names]


def context_of(listener: Any, node: Node) -> str:
    """On which side of a proxy a listener is."""
    if node.is_router:
        return GATEWAY
    return INBOUND if listener.traffic_direction == base_pb2.INBOUND else OUTBOUND


def means_listener(patch: Patch, listener: Any) -> bool:
    match = patch.match.listener
    if match is None:
        return True
    if match.name and match.name != listener.name:
        return False
    if listener.name in VIRTUAL or not match.port_number:  # there, the port is one of the chains'
        return True
    return bool(listener.address.socket_address.port_value == match.port_number)


def _patched(listener: Any, patches: Patches, context: str) -> Any:
    """A listener after patches; None when one removes it."""
    chosen = {kind: [p for p in found if means_listener(p, listener)] for kind, found in patches.items()}
    if not any(chosen.get(kind) for kind in KINDS):
        return listener
    out = listener_pb2.Listener()
    out.CopyFrom(listener)
    for patch in chosen.get("LISTENER", ()):
        if patch.operation == "REMOVE":
            return None
        if patch.merges:
            merge(out, patch.value, patch.replaces_lists)
    _listener_filters(out, chosen.get("LISTENER_FILTER", []))
    chains = [chain for one in out.filter_chains if (chain := _chain(out, one, chosen, context)) is not None]
    if out.HasField("default_filter_chain"):
        default = _chain(out, out.default_filter_chain, chosen, context)
        if default is None:
            out.ClearField("default_filter_chain")
    chains += [patch.value for patch in chosen.get("FILTER_CHAIN", ()) if patch.adds]
    kept = [listener_components_pb2.FilterChain.FromString(chain.SerializeToString()) for chain in chains]
    del out.filter_chains[:]
    out.filter_chains.extend(kept)
    return out


def _listener_filters(listener: Any, patches: list[Patch]) -> None:
    filters = list(listener.listener_filters)
    for patch in patches:
        name = patch.match.listener.listener_filter if patch.match.listener is not None else ""
        means = (lambda item, name=name: item.name == name) if name else None
        if patch.operation == "REMOVE":
            filters = [one for one in filters if means is not None and not means(one)]
        elif patch.merges:
            for one in filters:
                if means is None or means(one):
                    _merge_named(one, patch.value)
        else:
            filters = placed(filters, patch.operation, patch.value, means)
    if patches:
        copies = [listener_components_pb2.ListenerFilter.FromString(one.SerializeToString()) for one in filters]
        del listener.listener_filters[:]
        listener.listener_filters.extend(copies)


def _merge_named(target: Any, value: Any) -> None:
    if value.HasField("typed_config") and merge_any(target.typed_config, value.typed_config):
        return
    merge(target, value)


def _chain(listener: Any, chain: Any, chosen: Patches, context: str) -> Any:
    """A filter chain after patches, written to in place; None when one removes it."""
    for patch in chosen.get("FILTER_CHAIN", ()):
        if patch.adds or not means_chain(patch, listener, chain):
            continue
        if patch.operation == "REMOVE":
            return None
        if patch.merges and not _merge_socket(chain, patch.value):
            merge(chain, patch.value, patch.replaces_lists)
    patched_filters(listener, chain, chosen, context)
    return chain


def _merge_socket(chain: Any, value: Any) -> bool:
    """Merge a patch's transport socket into the chain's; whether it has one that can be merged."""
    if not value.HasField("transport_socket") or not value.transport_socket.HasField("typed_config"):
        return False
    if not chain.HasField("transport_socket") or chain.transport_socket.name != value.transport_socket.name:
        return False
    return merge_any(chain.transport_socket.typed_config, value.transport_socket.typed_config)
