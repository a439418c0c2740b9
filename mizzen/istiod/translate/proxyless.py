"""Resources for gRPC programs that are their own data plane (`GENERATOR: grpc` in the node's metadata).

Takes a snapshot, a node and names, gives the small part of xDS that gRPC reads: a client's listener is named `host:port`
and leads to routes, clusters and endpoints. Not here: servers' listeners (proxyless_server.py), proxies (generate.py).
Source: gRFC A27, A29, A32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.config.listener.v3 import api_listener_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.type.matcher.v3 import string_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Service
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.addresses import address_for
from mizzen.istiod.translate.chains import bind_address
from mizzen.istiod.translate.cluster_balancer import apply_consistent_hash
from mizzen.istiod.translate.cluster_names import OUTBOUND, outbound_name, parse_cluster_name
from mizzen.istiod.translate.cluster_outbound import with_aliases
from mizzen.istiod.translate.endpoints import load_assignments
from mizzen.istiod.translate.messages import pack, uint32
from mizzen.istiod.translate.proxyless_server import ROUTER, SERVER_PREFIX, provided, server_listener
from mizzen.istiod.translate.routes import route_configuration
from mizzen.istiod.translate.security.tls_contexts import tls_socket
from mizzen.istiod.translate.traffic_policy import policy_for, subset_named
from mizzen.istiod.xds import types

GENERATOR = "grpc"
ADS = config_source_pb2.ConfigSource(ads=config_source_pb2.AggregatedConfigSource())
Named = list[tuple[str, Any]]
HttpFilter = hcm_pb2.HttpFilter
Cluster = cluster_pb2.Cluster


def generate(snap: Snapshot, node: Node, type_url: str, names: Iterable[str]) -> Named:
    """The resources of a type with these names; names that mean nothing are left out."""
    build = TYPES.get(type_url)
    return build(snap, node, names) if build is not None else []


def _found(names: Iterable[str], build: Callable[[str], Any]) -> Named:
    made = ((name, build(name)) for name in names)
    return [(name, message) for name, message in made if message is not None]


def listeners(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return _found(
        names,
        lambda name: server_listener(snap, node, name) if name.startswith(SERVER_PREFIX) else _client(snap, node, name),
    )


def service_of(snap: Snapshot, node: Node, target: str) -> tuple[Service, int] | None:
    """The service and port that a client's target means: a full host, or a short one in the client's namespace."""
    host, _, port = target.rpartition(":")
    if not port.isdigit():
        return None
    _, _, domain = node.dns_domain.partition(".svc.")
    scope = snap.scope(node)
    for name in (host, f"{host}.{node.dns_domain}", f"{host}.svc.{domain}", f"{host}.{domain}"):
        svc = scope.by_host.get(name)
        if svc is not None and svc.port(int(port)) is not None:
            return svc, int(port)
    return None


def _client(snap: Snapshot, node: Node, name: str) -> Any:
    found = service_of(snap, node, name)
    if found is None:
        return None
    svc, port = found
    filters = [HttpFilter(name="envoy.filters.http.fault", typed_config=pack(fault_pb2.HTTPFault())), ROUTER]
    rds = hcm_pb2.Rds(route_config_name=outbound_name(port, "", svc.host), config_source=ADS)
    manager = hcm_pb2.HttpConnectionManager(http_filters=filters, rds=rds)
    return listener_pb2.Listener(
        name=name,
        address=bind_address(address_for(svc, node), port),
        api_listener=api_listener_pb2.ApiListener(api_listener=pack(manager)),
    )


def routes(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return _found(names, lambda name: _routes(snap, node, name))


def _routes(snap: Snapshot, node: Node, name: str) -> Any:
    """The virtual hosts that a service port's authorities mean; an unknown service has none."""
    parsed = parse_cluster_name(name)
    if parsed is None or parsed.direction != OUTBOUND:
        return None
    whole = route_configuration(snap, node, str(parsed.port))
    hosts = [_host(one, parsed.port) for one in whole.virtual_hosts if _serves(one.domains, parsed.host)]
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=hosts)


def _serves(domains: Iterable[str], host: str) -> bool:
    """Whether a virtual host is a host's: by name, or by a wildcard that is not for everything."""
    return any(one == host or (one.startswith("*.") and host.endswith(one[1:])) for one in domains)


def _host(given: Any, port: int) -> Any:
    """The virtual host as gRPC reads it: it compares authorities with their port, and has a time limit of its own."""
    out = route_components_pb2.VirtualHost()
    out.CopyFrom(given)
    del out.domains[:]
    for domain in given.domains:
        out.domains.extend([domain, f"{domain}:{port}"])
    for route in out.routes:
        if route.HasField("metadata") and route.HasField("route"):  # a VirtualService's
            route.route.ClearField("max_grpc_timeout")
            route.route.max_stream_duration.max_stream_duration.CopyFrom(route.route.timeout)
    return out


def clusters(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return _found(names, lambda name: _cluster(snap, node, name))


def _cluster(snap: Snapshot, node: Node, name: str) -> Any:
    parsed = parse_cluster_name(name)
    scope = snap.scope(node)
    svc = scope.by_host.get(parsed.host) if parsed is not None and parsed.direction == OUTBOUND else None
    if parsed is None or svc is None or svc.port(parsed.port) is None:
        return None
    rule = scope.destination_rule(node, svc.host)
    spec = rule.spec if rule is not None else None
    subset = subset_named(spec, parsed.subset)
    if parsed.subset and subset is None:
        return None
    policy = policy_for(spec, parsed.port, subset)
    eds = Cluster.EdsClusterConfig(eds_config=ADS, service_name=name)
    cluster = Cluster(name=name, alt_stat_name=f"{name};", type=Cluster.EDS, eds_cluster_config=eds)
    balancer = policy.load_balancer
    if balancer is not None and balancer.consistent_hash is not None:
        apply_consistent_hash(cluster, balancer.consistent_hash)
    elif balancer is not None and balancer.simple == "LEAST_REQUEST":
        cluster.lb_policy = Cluster.LEAST_REQUEST
    pool = policy.connection_pool
    if pool is not None and pool.http is not None and pool.http.http2_max_requests > 0:
        cluster.circuit_breakers.thresholds.add(max_requests=uint32(pool.http.http2_max_requests))
    if policy.tls is not None and policy.tls.mode == "ISTIO_MUTUAL":
        accounts = with_aliases(snap.service_accounts(svc), snap.mesh)
        names = [string_pb2.StringMatcher(exact=account) for account in accounts]
        cluster.transport_socket.CopyFrom(tls_socket(tls_pb2.UpstreamTlsContext(common_tls_context=provided(names))))
    return cluster


def endpoints(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return list(load_assignments(snap, node, names))


TYPES: dict[str, Callable[[Snapshot, Node, Iterable[str]], Named]] = {
    types.LDS: listeners,
    types.RDS: routes,
    types.CDS: clusters,
    types.EDS: endpoints,
}
