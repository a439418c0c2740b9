"""EDS: the endpoints of a cluster, by locality.

Takes a snapshot, a proxy and a cluster's name (or a service, port and subset), gives ClusterLoadAssignment messages.
Not here: weights and priorities of localities (locality.py).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf import struct_pb2

from mizzen.api.istio.networking import TrafficPolicy
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import PERSISTENT_SESSION, Endpoint, Health, Resolution, Service, ServicePort
from mizzen.istiod.registry.workloads import selects
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_names import SNI_DNAT, parse_cluster_name
from mizzen.istiod.translate.locality import Group, balance, locality_setting
from mizzen.istiod.translate.messages import address, uint32
from mizzen.istiod.translate.networks import network_of, through_gateways, view_of
from mizzen.istiod.translate.traffic_policy import policy_for, subset_named

LocalityLbEndpoints = endpoint_components_pb2.LocalityLbEndpoints
LbEndpoint = endpoint_components_pb2.LbEndpoint
ClusterLoadAssignment = endpoint_pb2.ClusterLoadAssignment
NO_POLICY = TrafficPolicy()
DRAINING = "istio.io/draining"
ADDRESS = re.compile(r"[0-9.]*|[0-9a-fA-F]*:[0-9a-fA-F:.]*(%.*)?")  # an IP address, not a name; "" is left to networks


def load_assignment(snap: Snapshot, node: Node, cluster_name: str) -> Any:
    """The assignment of an EDS cluster; without endpoints when the cluster's service, port or subset is not known."""
    empty = ClusterLoadAssignment(cluster_name=cluster_name)
    parsed = parse_cluster_name(cluster_name)
    if parsed is None:
        return empty
    scope = snap.scope(node)
    svc = scope.by_host.get(parsed.host)
    port = svc.port(parsed.port) if svc is not None else None
    if svc is None or port is None or svc.resolution.is_dns:
        return empty
    rule = scope.destination_rule(node, svc.host)
    subset = subset_named(rule.spec, parsed.subset) if rule is not None and parsed.subset else None
    if parsed.subset and subset is None:
        return empty
    policy = policy_for(rule.spec, port.number, subset) if rule is not None else NO_POLICY

    def make() -> Any:
        labels = subset.labels if subset is not None else {}
        only_mutual = parsed.direction == SNI_DNAT
        groups = locality_endpoints(snap, node, svc, port, labels, policy, only_mutual)
        return ClusterLoadAssignment(cluster_name=cluster_name, endpoints=groups)

    made_from = (snap.endpoints(svc), svc, rule, snap.mesh, snap.peer_authentications, snap.networks)
    place = _place(snap, node, svc, policy)
    return snap.memo.get(("endpoints", cluster_name, *map(id, made_from), place), made_from, make)


def _place(snap: Snapshot, node: Node, svc: Service, policy: TrafficPolicy) -> Hashable:
    """What of a proxy's place an assignment depends on; None = nothing."""
    own: Hashable = node.text("NODE_NAME") if svc.node_local else ""
    if svc.node_local or svc.host in snap.cluster_local:
        own = (own, node.cluster_id)
    view = view_of(node)
    if snap.networks.gateways or view:
        own = (own, network_of(node), view)
    setting = locality_setting(snap.mesh, policy.load_balancer, svc)
    if setting is None or not setting.depends_on_place(policy.outlier_detection is not None):
        return own or None
    names = (key.partition("=")[0] for key in setting.failover_priority)
    return own, node.locality, tuple(node.labels.get(name) for name in names)


def locality_endpoints(
    snap: Snapshot,
    node: Node,
    svc: Service,
    port: ServicePort,
    labels: Any,
    policy: TrafficPolicy,
    only_mutual: bool = False,
) -> list[Any]:
    """The endpoints of a service port by locality, weights and priorities set.

    labels: of the subset; only_mutual: those alone that take mutual TLS (SNI-DNAT).
    """
    outlier = policy.outlier_detection
    in_cluster = svc.node_local or svc.host in snap.cluster_local
    keep_unready = bool(svc.traffic_distribution) or outlier is None or outlier.min_health_percent <= 0
    chosen = [
        endpoint
        for endpoint in snap.endpoints(svc)
        if endpoint.port_name == port.name
        and selects(labels, endpoint.labels)
        and _is_served(svc, endpoint, keep_unready)
        and (not svc.node_local or _same_node(node, endpoint))
        and (not in_cluster or endpoint.cluster_id == node.cluster_id)
        and (svc.resolution is not Resolution.CLIENT_SIDE_LB or _reachable(snap, endpoint))
    ]
    groups: dict[str, Group] = {}
    for endpoint in chosen:
        group = groups.get(endpoint.locality)
        if group is None:
            group = groups[endpoint.locality] = Group(_locality(endpoint.locality), [])
        mutual = _takes_mutual_tls(snap, svc, endpoint, policy)
        if only_mutual and not mutual:
            continue
        group.endpoints.append(endpoint)
        group.message.lb_endpoints.append(_lb_endpoint(endpoint, mutual))
    ordered = through_gateways([groups[label] for label in sorted(groups)], snap.networks, node)
    for group in ordered:
        total = sum(e.load_balancing_weight.value for e in group.message.lb_endpoints)
        if total:
            group.message.load_balancing_weight.value = total
    setting = locality_setting(snap.mesh, policy.load_balancer, svc)
    return balance(ordered, setting, node.locality, node.labels, outlier is not None)


def _locality(label: str) -> Any:
    region, zone, subzone = (*label.split("/", 2), "", "", "")[:3]
    return LocalityLbEndpoints(locality=base_pb2.Locality(region=region, zone=zone, sub_zone=subzone))


def _reachable(snap: Snapshot, endpoint: Endpoint) -> bool:
    """Whether Envoy takes its address: for one that is a name it refuses the whole assignment. A gateway's stands in for it."""
    if endpoint.port == 0 or snap.networks.gateways.get(endpoint.network):
        return True
    return ADDRESS.fullmatch(endpoint.address) is not None


def _same_node(node: Node, endpoint: Endpoint) -> bool:
    return endpoint.node_name == node.text("NODE_NAME")


def _takes_mutual_tls(snap: Snapshot, svc: Service, endpoint: Endpoint, policy: TrafficPolicy) -> bool:
    """Whether a client is to use mutual TLS for an endpoint: it can, and neither side's policy says otherwise."""
    if endpoint.tls_mode != "istio":
        return False
    if policy.tls is not None:
        return policy.tls.mode == "ISTIO_MUTUAL"
    modes = snap.peer_authentications.for_workload(endpoint.namespace, endpoint.labels)
    return modes.port(endpoint.port) != "DISABLE"


def _is_served(svc: Service, endpoint: Endpoint, keep_unready: bool) -> bool:
    """Whether clients are told of an endpoint: not when it ends, unless sessions stick to it until it has."""
    if endpoint.health is Health.UNHEALTHY:
        return keep_unready
    if endpoint.health is Health.TERMINATING:
        return False
    draining = endpoint.health is Health.DRAINING or bool(endpoint.labels.get(DRAINING))
    return not draining or bool(svc.labels.get(PERSISTENT_SESSION))


def _lb_endpoint(endpoint: Endpoint, mutual: bool) -> Any:
    out = LbEndpoint(load_balancing_weight=uint32(endpoint.weight or 1))
    out.endpoint.address.CopyFrom(address(endpoint.address, endpoint.port))
    for extra in endpoint.addresses:
        out.endpoint.additional_addresses.add().address.CopyFrom(address(extra, endpoint.port))
    out.health_status = int(endpoint.health)
    if mutual:
        out.metadata.filter_metadata["envoy.transport_socket_match"].CopyFrom(_strings({"tlsMode": "istio"}))
    workload = telemetry_label(endpoint)
    if workload:
        out.metadata.filter_metadata["istio"].CopyFrom(_strings({"workload": workload}))
    return out


def _strings(values: dict[str, str]) -> Any:
    out = struct_pb2.Struct()
    for key, value in values.items():
        out.fields[key].string_value = value
    return out


def telemetry_label(endpoint: Endpoint) -> str:
    """`workload;namespace;canonical name;canonical revision;cluster`, the revision empty when it is the latest."""
    labels = endpoint.labels
    name = _first(labels, ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")) or endpoint.workload
    revision = _first(labels, ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"))
    revision = "" if revision == "latest" else revision
    return ";".join((endpoint.workload, endpoint.namespace, name, revision, endpoint.cluster_id))


def _first(labels: Any, keys: Sequence[str]) -> str:
    return next((labels[key] for key in keys if labels.get(key)), "")


def load_assignments(snap: Snapshot, node: Node, names: Iterable[str]) -> list[tuple[str, Any]]:
    """The assignments of several clusters, by name."""
    return [(name, load_assignment(snap, node, name)) for name in names]
