"""Patches of clusters: MERGE, REMOVE, ADD.

Takes the clusters of a proxy, gives new ones; those given are not written to.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_names import INBOUND_PASSTHROUGH, parse_cluster_name
from mizzen.istiod.translate.patches.merge import merge, merge_any
from mizzen.istiod.translate.patches.select import GATEWAY, INBOUND, OUTBOUND, Patch, patches_for

Cluster = cluster_pb2.Cluster


def patch_clusters(snap: Snapshot, node: Node, clusters: Iterable[Any]) -> list[Any]:
    """The clusters after all patches; of two with one name the first stays, also when patches add them."""
    patches = patches_for(snap, node).get("CLUSTER")
    if not patches:
        return list(clusters)
    made = [patched for cluster in clusters if (patched := _patched(cluster, node, patches)) is not None]
    contexts = (GATEWAY,) if node.is_router else (OUTBOUND, INBOUND)
    for context in contexts:
        added = [
            p.value
            for p in patches
            if p.adds and (p.in_context(context) if context != INBOUND else p.match.context == INBOUND)
        ]
        made += added
    out: dict[str, Any] = {}
    for cluster in made:
        out.setdefault(cluster.name, cluster)
    return list(out.values())


def _patched(cluster: Any, node: Node, patches: list[Patch]) -> Any:
    """A cluster after patches; None when one removes it."""
    context = context_of(cluster.name, node)
    chosen = [patch for patch in patches if patch.in_context(context) and _means(patch, cluster)]
    if any(patch.operation == "REMOVE" for patch in chosen):
        return None
    merges = [patch for patch in chosen if patch.merges]
    if not merges:
        return cluster
    copy = Cluster()
    copy.CopyFrom(cluster)
    for patch in merges:
        if not _merge_socket(copy, patch.value):
            merge(copy, patch.value, patch.replaces_lists)
    return copy


def context_of(name: str, node: Node) -> str:
    """On which side of a proxy a cluster is."""
    if node.is_router:
        return GATEWAY
    return INBOUND if name.startswith("inbound|") or name == INBOUND_PASSTHROUGH else OUTBOUND


def _means(patch: Patch, cluster: Any) -> bool:
    match = patch.match.cluster
    if match is None:
        return True
    if match.name:
        return bool(match.name == cluster.name)
    name = parse_cluster_name(cluster.name)
    port, subset, hosts = (name.port, name.subset, [name.host]) if name is not None else (0, "", [""])
    if name is not None and name.direction == "inbound":
        hosts = _hosts(cluster)
    if match.subset and match.subset != subset:
        return False
    if match.service and match.service not in hosts:
        return False
    return not match.port_number or match.port_number == port


def _hosts(cluster: Any) -> list[str]:
    """The hosts that an inbound cluster is said to serve."""
    if "istio" not in cluster.metadata.filter_metadata:
        return []
    services = cluster.metadata.filter_metadata["istio"].fields["services"].list_value.values
    return [service.struct_value.fields["host"].string_value for service in services]


def _merge_socket(cluster: Any, patch: Any) -> bool:
    """Merge a patch's transport socket into the one of the same name; whether that was all there was to do."""
    if not patch.HasField("transport_socket") or not patch.transport_socket.HasField("typed_config"):
        return False
    wanted = patch.transport_socket
    sockets = [match.transport_socket for match in cluster.transport_socket_matches]
    if cluster.HasField("transport_socket"):
        sockets = [cluster.transport_socket]
    return any(socket.name == wanted.name and merge_any(socket.typed_config, wanted.typed_config) for socket in sockets)
