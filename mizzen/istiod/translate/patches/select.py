"""Which patches of which EnvoyFilters hold for a proxy, in the order in which they are applied.

Order: priority, then the root namespace first, then age, then name. Takes a snapshot and a proxy, gives Patch values by what
they apply to. A patch whose value cannot be read is left out. Not here: applying them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import re2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import json_format

from mizzen.api.istio.networking import EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilter
from mizzen.istiod.node import Node
from mizzen.istiod.objects import by_age
from mizzen.istiod.registry.workloads import selects
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.policies import chooses, target_refs
from mizzen.wire.lookup import ensure_types

TYPES: dict[str, Any] = {
    "LISTENER": listener_pb2.Listener,
    "LISTENER_FILTER": listener_components_pb2.ListenerFilter,
    "FILTER_CHAIN": listener_components_pb2.FilterChain,
    "NETWORK_FILTER": listener_components_pb2.Filter,
    "HTTP_FILTER": hcm_pb2.HttpFilter,
    "ROUTE_CONFIGURATION": route_pb2.RouteConfiguration,
    "VIRTUAL_HOST": route_components_pb2.VirtualHost,
    "HTTP_ROUTE": route_components_pb2.Route,
    "CLUSTER": cluster_pb2.Cluster,
    "EXTENSION_CONFIG": extension_pb2.TypedExtensionConfig,
}
"""What a patch's value is, by what it applies to."""
INSERTABLE = frozenset({"LISTENER_FILTER", "NETWORK_FILTER", "HTTP_FILTER", "HTTP_ROUTE"})
ANY_MATCH = EnvoyConfigObjectMatch()
INBOUND, OUTBOUND, GATEWAY, ANY = "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "ANY"


class Patch(msgspec.Struct, frozen=True):
    """One patch. value: a message, None for REMOVE."""

    operation: str
    match: EnvoyConfigObjectMatch
    value: Any = None

    def in_context(self, context: str) -> bool:
        return self.match.context in (context, ANY)

    @property
    def adds(self) -> bool:
        return self.operation == "ADD"

    @property
    def merges(self) -> bool:
        return self.operation in ("MERGE", "MERGE_AND_REPLACE_LIST")

    @property
    def replaces_lists(self) -> bool:
        return self.operation == "MERGE_AND_REPLACE_LIST"


Patches = dict[str, list[Patch]]


def patches_for(snap: Snapshot, node: Node) -> Patches:
    """The patches for a proxy, by what they apply to; empty for most."""
    near = snap.envoy_filters.near(node.namespace)
    if not near:
        return {}
    return snap.local.get(("patches", node.id), node, lambda: _patches(near, snap.root_namespace, node))


def patching(snap: Snapshot, node: Node) -> list[EnvoyFilter]:
    """The EnvoyFilters with a patch that is applied to the proxy, if it is to something that the proxy has."""
    chosen = [obj for obj in snap.envoy_filters.near(node.namespace) if _chooses(obj, node, snap.root_namespace)]
    takes = [obj for obj in chosen if any(_takes(p.match or ANY_MATCH, node) for p in obj.spec.config_patches)]
    return _ordered(takes, snap.root_namespace)


def _patches(near: list[EnvoyFilter], root: str, node: Node) -> Patches:
    out: Patches = {}
    for obj in _ordered((obj for obj in near if _chooses(obj, node, root)), root):
        for given in obj.spec.config_patches:
            patch = _patch(given, node)
            if patch is not None:
                out.setdefault(given.apply_to, []).append(patch)
    return out


def _chooses(obj: EnvoyFilter, node: Node, root: str) -> bool:
    if target_refs(obj):
        return chooses(obj, node.namespace, node.labels, root)
    selector = obj.spec.workload_selector
    return selector is None or selects(selector.labels, node.labels)


def _ordered(objects: Iterable[EnvoyFilter], root: str) -> list[EnvoyFilter]:
    return sorted(by_age(objects), key=lambda obj: (obj.spec.priority, obj.metadata.namespace != root))


def _patch(given: EnvoyConfigObjectPatch, node: Node) -> Patch | None:
    match = given.match or EnvoyConfigObjectMatch()
    if given.patch is None or not _takes(match, node):
        return None
    operation = given.patch.operation
    if operation.startswith("INSERT") and given.apply_to not in INSERTABLE:
        operation = "ADD"
    if operation == "REMOVE":
        return Patch(operation, match)
    kind = TYPES.get(given.apply_to)
    value = read(kind, given.patch.value or {}) if kind is not None else None
    return Patch(operation, match, value) if value is not None else None


def _takes(match: EnvoyConfigObjectMatch, node: Node) -> bool:
    """Whether the proxy itself matches: its version and metadata."""
    proxy = match.proxy
    if proxy is None:
        return True
    if proxy.proxy_version:
        try:
            if re2.search(proxy.proxy_version, node.text("ISTIO_VERSION")) is None:
                return False
        except re2.error:
            return False
    return all(node.text(key) == value for key, value in proxy.metadata.items())


def read(kind: Any, value: Any) -> Any:
    """A JSON value as a message; None when it cannot be read. Unknown fields do not matter, unknown types do."""
    plain = msgspec.to_builtins(value)
    if ensure_types(plain):
        return None
    message = kind()
    try:
        json_format.ParseDict(plain, message, ignore_unknown_fields=True)
    except (json_format.ParseError, TypeError, ValueError):
        return None
    return message
