"""Outbound clusters: one for each service port, and one more for each subset of its DestinationRule.

Takes a snapshot and a proxy, gives Cluster messages. A cluster depends only on what `_Inputs` names, and is kept
from one snapshot to the next by it. Not here: policies' parts (cluster_pool.py, cluster_balancer.py,
cluster_tls.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.clusters.dynamic_forward_proxy.v3 import cluster_pb2 as dfp_pb2
from envoy.extensions.common.dynamic_forward_proxy.v3 import dns_cache_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from google.protobuf import struct_pb2

from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.istio.networking import Subset, TrafficPolicy
from mizzen.istiod.hostname import is_wildcard
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Resolution, Service, ServicePort
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.destination_rules import Consolidated
from mizzen.istiod.translate.cluster_balancer import apply_balancer, apply_locality_setting
from mizzen.istiod.translate.cluster_draft import Draft
from mizzen.istiod.translate.cluster_flavour import Flavour, flavour_of
from mizzen.istiod.translate.cluster_names import outbound_name, sni_name
from mizzen.istiod.translate.cluster_pool import apply_outlier_detection, apply_pool, upgrades_to_http2
from mizzen.istiod.translate.cluster_tls import TlsFacts, apply_proxy_protocol, apply_tls
from mizzen.istiod.translate.endpoints import locality_endpoints
from mizzen.istiod.translate.filters.exchange import cluster_exchange_filter
from mizzen.istiod.translate.locality import locality_setting
from mizzen.istiod.translate.messages import ADS_CONFIG, config_path, duration, pack, uint32
from mizzen.istiod.translate.stat_names import expand
from mizzen.istiod.translate.traffic_policy import policy_for

Cluster = cluster_pb2.Cluster
DYNAMIC_PROTOCOLS = frozenset({Protocol.HTTP, Protocol.TLS, Protocol.GRPC, Protocol.HTTP2})
DNS_JITTER_S = 0.1
CARES_MAX_QUERIES = 100
RACE_FIRST = "RACE_FIRST_TCP_CONNECT"


class _Inputs(msgspec.Struct, frozen=True):
    """Everything that a cluster of one service port and subset is made from."""

    mesh: MeshConfig
    flavour: Flavour
    svc: Service
    port: ServicePort
    subset: Subset | None
    rule: Consolidated | None
    accounts: tuple[str, ...]
    mode: str
    sni_dnat: bool


def outbound_clusters(snap: Snapshot, node: Node, services: Iterable[Service], sni_dnat: bool = False) -> list[Any]:
    """The clusters of these services. sni_dnat: those that a gateway passes mutual TLS through to, unterminated."""
    scope, flavour = snap.scope(node), flavour_of(snap, node)
    out: list[Any] = []
    for svc in services:
        if svc.resolution is Resolution.ALIAS:
            continue
        rule = scope.destination_rule(node, svc.host)
        make = partial(_service_clusters, snap, node, flavour, svc, rule, sni_dnat)
        if svc.resolution.is_dns:  # endpoints stand in the clusters: the proxy's place counts
            out += make()
            continue
        made_from = (snap.mesh, snap.peer_authentications, svc, rule, snap.endpoints(svc))
        out += snap.memo.get(("clusters", flavour, sni_dnat, *map(id, made_from)), made_from, make)
    return out


def _service_clusters(
    snap: Snapshot, node: Node, flavour: Flavour, svc: Service, rule: Consolidated | None, sni_dnat: bool
) -> list[Any]:
    """The clusters of one service: of each port, and of each subset of it."""
    out: list[Any] = []
    accounts = with_aliases(snap.service_accounts(svc), snap.mesh)
    for port in svc.ports:
        if port.protocol is Protocol.UDP:
            continue
        subsets = rule.spec.subsets if rule is not None else ()
        for subset in (None, *subsets):
            policy = policy_for(rule.spec if rule is not None else None, port.number, subset)
            mode = service_mode(snap, svc, port, policy)
            inputs = _Inputs(snap.mesh, flavour, svc, port, subset, rule, accounts, mode, sni_dnat)
            cluster = _cluster(snap, node, inputs)
            if cluster is not None:
                out.append(cluster)
    return out


def with_aliases(accounts: tuple[str, ...], mesh: MeshConfig) -> tuple[str, ...]:
    """Identities with those of the same accounts under the trust domain's other names."""
    own = mesh.trust_domain or "cluster.local"
    out = set(accounts)
    for account in accounts:
        prefix = f"spiffe://{own}/"
        if account.startswith(prefix):
            out.update(f"spiffe://{alias}/{account.removeprefix(prefix)}" for alias in mesh.trust_domain_aliases)
    return tuple(sorted(out))


def service_mode(snap: Snapshot, svc: Service, port: ServicePort, policy: TrafficPolicy) -> str:
    """The mTLS mode that a client may assume of a service; "" = none is known (outside of the mesh)."""
    if svc.mesh_external:
        return ""
    balancer = policy.load_balancer
    if svc.resolution is Resolution.PASSTHROUGH or (balancer is not None and balancer.simple == "PASSTHROUGH"):
        endpoints = [endpoint for endpoint in snap.endpoints(svc) if endpoint.port_name == port.name]
        if not endpoints or any(endpoint.tls_mode != "istio" for endpoint in endpoints):
            return "DISABLE"
    return snap.peer_authentications.namespace_mode(svc.namespace) or "PERMISSIVE"


def _cluster(snap: Snapshot, node: Node, i: _Inputs) -> Any:
    kind = cluster_type(i.svc, i.port, i.flavour.router)
    if kind is None:
        return None
    if kind in (Cluster.STRICT_DNS, Cluster.LOGICAL_DNS):  # endpoints stand in the cluster: the proxy's place counts
        return _build(snap, node, i, kind)
    key = (
        "cluster",
        id(i.mesh),
        i.flavour,
        id(i.svc),
        i.port.number,
        i.port.name,
        i.subset.name if i.subset is not None else None,
        id(i.rule),
        i.accounts,
        i.mode,
        i.sni_dnat,
    )
    return snap.memo.get(key, (i.mesh, i.svc, i.rule), lambda: _build(snap, node, i, kind))


def cluster_type(svc: Service, port: ServicePort, router: bool) -> Any:
    """The discovery type of a service's clusters; "dynamic" for wildcard hosts resolved by name; None = no cluster."""
    if svc.resolution is Resolution.CLIENT_SIDE_LB:
        return Cluster.EDS
    if svc.resolution is Resolution.DNS_LB:
        race = svc.annotations.get("istio.io/connect-strategy") == RACE_FIRST
        return Cluster.LOGICAL_DNS if race else Cluster.STRICT_DNS
    if svc.resolution is Resolution.DNS_ROUND_ROBIN_LB:
        return Cluster.LOGICAL_DNS
    if svc.resolution is Resolution.PASSTHROUGH:
        return Cluster.EDS if router else Cluster.ORIGINAL_DST
    if svc.resolution is Resolution.DYNAMIC_DNS and is_wildcard(svc.host) and svc.mesh_external:
        return "dynamic" if port.protocol in DYNAMIC_PROTOCOLS else None
    return None


def _build(snap: Snapshot, node: Node, i: _Inputs, kind: Any) -> Any:
    """The cluster; None for one that is to resolve names and has none."""
    subset = i.subset.name if i.subset is not None else ""
    name = (
        sni_name(i.port.number, subset, i.svc.host) if i.sni_dnat else outbound_name(i.port.number, subset, i.svc.host)
    )
    pattern = i.mesh.outbound_cluster_stat_name
    stat = expand(pattern, i.svc, i.port, subset) if pattern and kind != "dynamic" else ""
    policy = policy_for(
        i.rule.spec if i.rule is not None else None, i.port.number, i.subset, i.mesh.default_traffic_policy
    )
    draft = Draft(name, None if kind == "dynamic" else kind, i.mesh, stat)
    cluster = draft.cluster
    if kind == "dynamic":
        cluster.ClearField("type")
        cluster.cluster_type.CopyFrom(_dynamic(i))
    elif kind == Cluster.EDS:
        cluster.eds_cluster_config.service_name = name
        cluster.eds_cluster_config.eds_config.CopyFrom(ADS_CONFIG)
    elif kind in (Cluster.STRICT_DNS, Cluster.LOGICAL_DNS):
        labels = i.subset.labels if i.subset is not None else {}
        groups = locality_endpoints(snap, node, i.svc, i.port, labels, policy)
        if not groups:
            return None
        _resolve(draft, i, kind, groups)
    elif i.port.target_port and i.svc.resolution is Resolution.PASSTHROUGH and not i.svc.is_kubernetes:
        cluster.original_dst_lb_config.upstream_port_override.CopyFrom(uint32(i.port.target_port))
    if i.flavour.exchange:
        cluster.filters.append(cluster_exchange_filter())
    if i.flavour.buffer_limit is not None:
        cluster.per_connection_buffer_limit_bytes.value = i.flavour.buffer_limit
    _metadata(cluster, i, kind == "dynamic")
    _protocol(draft, i)
    _apply(draft, i, policy, kind)
    return draft.finished(i.flavour.preserve_case and (i.port.protocol.is_http or i.port.protocol.is_unsupported))


def _protocol(draft: Draft, i: _Inputs) -> None:
    if i.port.protocol.is_http2:
        draft.speak_http2()
    elif i.port.protocol.is_unsupported and not i.flavour.router:
        draft.speak_as_client()


def _apply(draft: Draft, i: _Inputs, policy: TrafficPolicy, kind: Any) -> None:
    """All that the traffic policy asks for."""
    # a proxy that keeps the case of header names speaks HTTP/1.1, where the port does not say otherwise
    if not i.flavour.preserve_case and upgrades_to_http2(i.mesh, policy.connection_pool, i.port.protocol):
        draft.speak_http2()
    apply_pool(draft, policy.connection_pool, policy.retry_budget)
    if kind != "dynamic" or policy.outlier_detection is not None:
        apply_outlier_detection(draft, policy.outlier_detection, bool(i.svc.traffic_distribution))
    if kind != "dynamic":
        setting = locality_setting(i.mesh, policy.load_balancer, i.svc)
        apply_locality_setting(draft, setting, policy.outlier_detection is not None)
    apply_balancer(draft, policy.load_balancer)
    if i.sni_dnat:
        return
    automatic = i.mesh.enable_auto_mtls is not False and not i.svc.mesh_external and i.mode not in ("", "DISABLE")
    selecting = i.rule is not None and i.rule.spec.workload_selector is not None
    facts = TlsFacts(
        accounts=i.accounts,
        sni=sni_name(i.port.number, i.subset.name if i.subset is not None else "", i.svc.host),
        automatic=automatic,
        external_names=() if i.svc.is_kubernetes else i.accounts,
        exchange=i.flavour.exchange,
        credentials=i.flavour.router or selecting,
        file_credentials=i.flavour.file_credentials,
    )
    apply_tls(draft, policy.tls, facts)
    apply_proxy_protocol(draft, policy.proxy_protocol)


def _metadata(cluster: Any, i: _Inputs, dynamic: bool) -> None:
    istio: dict[str, Any] = {}
    if not dynamic:
        istio["services"] = [{"host": i.svc.host, "name": i.svc.name, "namespace": i.svc.namespace}]
    if i.svc.mesh_external and i.subset is None:
        istio["external"] = True
    if i.rule is not None:
        namespace, name = i.rule.sources[0]
        istio["config"] = config_path(namespace, "destination-rule", name)
    if i.subset is not None:
        istio["subset"] = i.subset.name
    value = struct_pb2.Struct()
    value.update(istio)
    cluster.metadata.filter_metadata["istio"].CopyFrom(value)


def dns_cache(svc: Service, family: str) -> Any:
    """The DNS cache that a wildcard host's cluster and filters share."""
    return dns_cache_pb2.DnsCacheConfig(
        name=f"{svc.host}_dfp_dns_cache", dns_lookup_family=Cluster.DnsLookupFamily.Value(family)
    )


def _dynamic(i: _Inputs) -> Any:
    config = dfp_pb2.ClusterConfig(dns_cache_config=dns_cache(i.svc, i.flavour.family))
    return Cluster.CustomClusterType(name="envoy.clusters.dynamic_forward_proxy", typed_config=pack(config))


def _resolve(draft: Draft, i: _Inputs, kind: Any, groups: list[Any]) -> None:
    """A cluster whose endpoints are names, resolved by the proxy."""
    cluster = draft.cluster
    race = i.svc.annotations.get("istio.io/connect-strategy") == RACE_FIRST
    cluster.dns_lookup_family = Cluster.DnsLookupFamily.Value("ALL" if race else i.flavour.family)
    cluster.dns_refresh_rate.CopyFrom(duration(i.mesh.dns_refresh_rate or 60.0))
    cluster.dns_jitter.CopyFrom(duration(DNS_JITTER_S))
    cluster.respect_dns_ttl = True
    cares = cares_dns_resolver_pb2.CaresDnsResolverConfig(udp_max_queries=uint32(CARES_MAX_QUERIES))
    cluster.typed_dns_resolver_config.CopyFrom(
        extension_pb2.TypedExtensionConfig(name="envoy.network.dns_resolver.cares", typed_config=pack(cares))
    )
    cluster.load_assignment.cluster_name = cluster.name
    cluster.load_assignment.endpoints.extend(groups)
