"""Inbound clusters of a sidecar: the way to its own application, one for each port.

Takes a snapshot and a proxy, gives Cluster messages. Not here: which ports there are (inbound_ports.py).
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from google.protobuf import duration_pb2, struct_pb2

from mizzen.api.istio.networking import ConnectionPoolSettings
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.destination_rules import Consolidated
from mizzen.istiod.translate.addresses import localhosts
from mizzen.istiod.translate.cluster_draft import Draft
from mizzen.istiod.translate.cluster_flavour import flavour_of
from mizzen.istiod.translate.cluster_pool import apply_pool
from mizzen.istiod.translate.cluster_special import bind_source
from mizzen.istiod.translate.inbound_ports import InboundPort, inbound_ports, inbound_stat
from mizzen.istiod.translate.messages import address, config_path
from mizzen.istiod.translate.traffic_policy import policy_for

Cluster = cluster_pb2.Cluster
LOOPBACK = {"127.0.0.1", "::1"}
ANY_ADDRESS = {"0.0.0.0", "::"}
NEVER_S = 9223372035
"""The longest time that Envoy takes: hosts of an original-destination cluster are never cleaned up."""


def inbound_clusters(snap: Snapshot, node: Node) -> list[Any]:
    """The clusters of a sidecar's inbound ports."""
    return [_cluster(snap, node, port) for port in inbound_ports(snap, node)]


def _cluster(snap: Snapshot, node: Node, port: InboundPort) -> Any:
    mesh = snap.mesh
    name = f"inbound|{port.number}||"
    pattern = mesh.inbound_cluster_stat_name
    stat = inbound_stat(pattern, port)
    host, number = _endpoint(snap, node, port)
    draft = Draft(name, Cluster.STATIC if host else Cluster.ORIGINAL_DST, mesh, stat)
    cluster = draft.cluster
    cluster.common_lb_config.SetInParent()
    if host:
        lb = endpoint_components_pb2.LbEndpoint()
        lb.endpoint.address.CopyFrom(address(host, number))
        group = endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[lb])
        cluster.load_assignment.CopyFrom(endpoint_pb2.ClusterLoadAssignment(cluster_name=name, endpoints=[group]))
    else:
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        cluster.cleanup_interval.CopyFrom(duration_pb2.Duration(seconds=NEVER_S))
    if host not in LOOPBACK:
        bind_source(cluster, node)
    if port.protocol.is_http2:
        draft.speak_http2()
    elif port.protocol.is_unsupported:
        draft.speak_as_client()
    apply_pool(draft, _pool(snap, node, port))
    if port.services:
        _metadata(cluster, port, _rule(snap, node, port))
    return draft.finished(flavour_of(snap, node).preserve_case and not port.protocol.is_tcp)


def _endpoint(snap: Snapshot, node: Node, port: InboundPort) -> tuple[str, int]:
    """Where the application is; ("", 0) = where the connection was addressed to."""
    if not port.declared:
        policy = snap.mesh.inbound_traffic_policy
        if policy is not None and policy.mode == "LOCALHOST":
            return localhosts(node)[0], port.number
        return "", 0
    if not port.endpoint:
        return "", 0
    if port.endpoint.startswith("unix://"):
        return port.endpoint.removeprefix("unix://"), 0
    host, _, number = port.endpoint.rpartition(":")
    if not number.isdigit():
        return "", 0
    return _own_address(node, host.strip("[]")), int(number)


def _own_address(node: Node, host: str) -> str:
    """The address of the pod, or its loopback, of the family that `host` is of; "" for any other host."""
    if host in ANY_ADDRESS:
        of_family = [ip for ip in node.ips if (":" in ip) == (":" in host)]
        return next(iter(of_family), "::1" if ":" in host else "127.0.0.1")
    if host in LOOPBACK:
        here = localhosts(node)
        return host if host in here else here[0]
    return ""


def _pool(snap: Snapshot, node: Node, port: InboundPort) -> ConnectionPoolSettings | None:
    """The pool of a declared port or its Sidecar, else of the DestinationRule of the port's service."""
    sidecar = snap.sidecar_of(node)
    own = sidecar.spec.inbound_connection_pool if sidecar is not None else None
    if port.connection_pool is not None or own is not None:
        return port.connection_pool or own
    rule = _rule(snap, node, port)
    mesh = snap.mesh.default_traffic_policy
    number = port.ports[0].number if port.ports else port.service_port
    return policy_for(rule.spec if rule is not None else None, number, None, mesh).connection_pool


def _rule(snap: Snapshot, node: Node, port: InboundPort) -> Consolidated | None:
    """The DestinationRule of the service behind a port."""
    if not port.services:
        return None
    return snap.scope(node).destination_rule(node, port.services[0].host, inbound=True)


def _metadata(cluster: Any, port: InboundPort, rule: Consolidated | None) -> None:
    value = struct_pb2.Struct()
    if rule is not None:
        value.update({"config": config_path(rule.sources[0][0], "destination-rule", rule.sources[0][1])})
    services = sorted(port.services, key=lambda svc: svc.host)
    value.update({"services": [{"host": svc.host, "name": svc.name, "namespace": svc.namespace} for svc in services]})
    cluster.metadata.filter_metadata["istio"].CopyFrom(value)
