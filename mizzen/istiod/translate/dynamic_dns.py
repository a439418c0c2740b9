"""ALLOW_ANY_DYNAMIC_DNS: HTTP to unknown hosts goes to the address that their name resolves to.

Gives the cluster and the cache of names that its listener and it share. Not here: wildcard hosts of ServiceEntries with
resolution DYNAMIC_DNS (tcp_chains.py, cluster_outbound.py).
Source: envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig.
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as dfp_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_draft import Draft
from mizzen.istiod.translate.cluster_flavour import flavour_of
from mizzen.istiod.translate.cluster_names import ALLOW_ANY_DYNAMIC_DNS
from mizzen.istiod.translate.messages import address, pack, uint32

CACHE = "allow_any_dfp_dns_cache"
MAX_HOSTS = 1024
AGENT_RESOLVER = "127.0.0.1:15053"
"""The agent's DNS proxy, unless the proxy names another (DNS_PROXY_ADDR)."""


def dns_cache(node: Node) -> Any:
    """The cache; Envoy asks for the same config wherever its name is used."""
    host, _, port = (node.text("DNS_PROXY_ADDR") or AGENT_RESOLVER).rpartition(":")
    resolver = cares_dns_resolver_pb2.CaresDnsResolverConfig(
        resolvers=[address(host.strip("[]"), int(port) if port.isdigit() else 53)]
    )
    return dns_cache_pb2.DnsCacheConfig(
        name=CACHE,
        dns_lookup_family=cluster_pb2.Cluster.V4_ONLY if node.supports_ipv4 else cluster_pb2.Cluster.V6_ONLY,
        max_hosts=uint32(MAX_HOSTS),
        typed_dns_resolver_config=extension_pb2.TypedExtensionConfig(
            name="envoy.network.dns_resolver.cares", typed_config=pack(resolver)
        ),
    )


def dynamic_dns_cluster(snap: Snapshot, node: Node) -> Any:
    """The cluster that finds its endpoints by the request's host."""
    draft = Draft(ALLOW_ANY_DYNAMIC_DNS, cluster_pb2.Cluster.STATIC, snap.mesh)
    # Plain HTTP goes out as it came: there is no certificate whose name could be checked.
    config = dfp_pb2.ClusterConfig(dns_cache_config=dns_cache(node), allow_insecure_cluster_options=True)
    draft.cluster.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    draft.cluster.cluster_type.typed_config.CopyFrom(pack(config))
    draft.cluster.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
    draft.speak_as_client()
    return draft.finished(flavour_of(snap, node).preserve_case)
