"""Clusters that every proxy has: where unknown traffic goes, and where it is dropped.

Takes a snapshot and a proxy, gives Cluster messages.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_draft import Draft
from mizzen.istiod.translate.cluster_flavour import flavour_of
from mizzen.istiod.translate.cluster_names import BLACKHOLE, INBOUND_PASSTHROUGH, PASSTHROUGH
from mizzen.istiod.translate.cluster_pool import apply_pool
from mizzen.istiod.translate.filters.exchange import cluster_exchange_filter
from mizzen.istiod.translate.messages import duration

Cluster = cluster_pb2.Cluster
PASSTHROUGH_IDLE_S = 300.0
SOURCE_V4, SOURCE_V6 = "127.0.0.6", "::6"
"""Addresses that the proxy calls its own application from, so that the connection is not taken for an outbound one."""


def blackhole(snap: Snapshot) -> Any:
    """A cluster without endpoints."""
    return Draft(BLACKHOLE, Cluster.STATIC, snap.mesh).cluster


def passthrough(snap: Snapshot, node: Node) -> Any:
    """Outbound traffic to where it was addressed."""
    flavour = flavour_of(snap, node)
    draft = _original(snap, PASSTHROUGH)
    if flavour.exchange:
        draft.cluster.filters.append(cluster_exchange_filter())
    return draft.finished(flavour.preserve_case)


def inbound_passthrough(snap: Snapshot, node: Node) -> Any:
    """Inbound traffic to ports that no service is behind."""
    draft = _original(snap, INBOUND_PASSTHROUGH, PASSTHROUGH)
    bind_source(draft.cluster, node, extra=True)
    return draft.finished(flavour_of(snap, node).preserve_case)


def _original(snap: Snapshot, name: str, stat_name: str = "") -> Draft:
    draft = Draft(name, Cluster.ORIGINAL_DST, snap.mesh, stat_name)
    draft.cluster.lb_policy = Cluster.CLUSTER_PROVIDED
    draft.speak_as_client()
    draft.http.common_http_protocol_options.idle_timeout.CopyFrom(duration(PASSTHROUGH_IDLE_S))
    defaults = snap.mesh.default_traffic_policy
    apply_pool(draft, defaults.connection_pool if defaults is not None else None)
    return draft


def bind_source(cluster: Any, node: Node, extra: bool = False) -> None:
    """Let the cluster call from the proxy's own source address. extra: from one of the other IP family, too."""
    first = SOURCE_V4 if node.supports_ipv4 else SOURCE_V6
    cluster.upstream_bind_config.source_address.CopyFrom(_source(first))
    if extra and node.supports_ipv4 and node.supports_ipv6:
        cluster.upstream_bind_config.extra_source_addresses.add().address.CopyFrom(_source(SOURCE_V6))


def _source(address: str) -> Any:
    return address_pb2.SocketAddress(address=address, port_value=0)
