"""CDS: the clusters of a proxy.

Takes a snapshot and a proxy, gives Cluster messages; of two with one name the first stays.
Sidecars and gateways are two short compositions of the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_inbound import inbound_clusters
from mizzen.istiod.translate.cluster_outbound import outbound_clusters
from mizzen.istiod.translate.cluster_special import blackhole, inbound_passthrough, passthrough
from mizzen.istiod.translate.dynamic_dns import dynamic_dns_cluster
from mizzen.istiod.translate.outbound_policy import ALLOW_ANY_DYNAMIC_DNS, outbound_policy


def clusters(snap: Snapshot, node: Node) -> list[Any]:
    """All clusters of a proxy."""
    made = router_clusters(snap, node) if node.is_router else sidecar_clusters(snap, node)
    out: dict[str, Any] = {}
    for cluster in made:
        out.setdefault(cluster.name, cluster)
    return list(out.values())


def sidecar_clusters(snap: Snapshot, node: Node) -> Iterable[Any]:
    """Services, where unknown traffic goes, and the own application."""
    yield from outbound_clusters(snap, node, snap.scope(node).services)
    yield blackhole(snap)
    yield passthrough(snap, node)
    if outbound_policy(snap, node).mode == ALLOW_ANY_DYNAMIC_DNS:
        yield dynamic_dns_cluster(snap, node)
    yield from inbound_clusters(snap, node)
    yield inbound_passthrough(snap, node)


def router_clusters(snap: Snapshot, node: Node) -> Iterable[Any]:
    """Services, and once more those that mutual TLS is passed through to."""
    services = snap.scope(node).services
    yield from outbound_clusters(snap, node, services)
    yield blackhole(snap)
    if passes_mutual_tls(snap, node):
        yield from outbound_clusters(snap, node, services, sni_dnat=True)


def passes_mutual_tls(snap: Snapshot, node: Node) -> bool:
    """Whether a gateway has a server with mode AUTO_PASSTHROUGH."""
    return any(
        server.tls is not None and server.tls.mode == "AUTO_PASSTHROUGH"
        for gateway in snap.gateways.for_workload(node.labels)
        for server in gateway.spec.servers
    )
