"""Resources for gRPC programs that are their own data plane (`GENERATOR: grpc` in the node's metadata).

Takes a snapshot, a node and names, gives the small part of xDS that gRPC reads: a client's listener is named `host:port`
and leads to routes, clusters and endpoints; a server's is named SERVER_PREFIX + its address.
Not here: proxies (generate.py). Source: gRFC A27, A29, A36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import api_listener_pb2, listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Resolution, Service
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_names import OUTBOUND, outbound_name, parse_cluster_name
from mizzen.istiod.translate.cluster_outbound import with_aliases
from mizzen.istiod.translate.endpoints import load_assignments
from mizzen.istiod.translate.messages import ADS_CONFIG, address, boolean, pack, uint32
from mizzen.istiod.translate.routes import route_configuration
from mizzen.istiod.translate.security.authorization import policy_filters
from mizzen.istiod.translate.security.tls_contexts import spiffe_prefixes, tls_socket
from mizzen.istiod.translate.traffic_policy import policy_for, subset_named
from mizzen.istiod.xds import types

GENERATOR = "grpc"
SERVER_PREFIX = "xds.istio.io/grpc/lds/inbound/"
PROVIDER, ROOT = "default", "ROOTCA"
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
        names, lambda name: _server(snap, node, name) if name.startswith(SERVER_PREFIX) else _client(snap, node, name)
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
    filters = [HttpFilter(name="envoy.filters.http.fault", typed_config=pack(fault_pb2.HTTPFault())), _router()]
    rds = hcm_pb2.Rds(route_config_name=outbound_name(port, "", svc.host), config_source=ADS_CONFIG)
    manager = hcm_pb2.HttpConnectionManager(http_filters=filters, rds=rds)
    return listener_pb2.Listener(name=name, api_listener=api_listener_pb2.ApiListener(api_listener=pack(manager)))


def _router() -> Any:
    return HttpFilter(name="envoy.filters.http.router", typed_config=pack(router_pb2.Router()))


def _server(snap: Snapshot, node: Node, name: str) -> Any:
    host, _, port = name.removeprefix(SERVER_PREFIX).rpartition(":")
    if not port.isdigit():
        return None
    mode = snap.peer_authentications.for_workload(node.namespace, node.labels).port(int(port))
    mutual = mode == "STRICT" or (mode == "PERMISSIVE" and node.labels.get("security.istio.io/tlsMode") == "istio")
    chain = listener_components_pb2.FilterChain(
        name="inbound-mtls" if mutual else "inbound-plaintext",
        filters=[_inbound_manager(snap, node, "mtls" if mutual else "plaintext")],
    )
    if mutual:
        context = tls_pb2.DownstreamTlsContext(
            common_tls_context=_provided(spiffe_prefixes(snap.mesh)), require_client_certificate=boolean(True)
        )
        chain.transport_socket.CopyFrom(tls_socket(context))
    return listener_pb2.Listener(
        name=name,
        address=address(host.strip("[]"), int(port)),
        filter_chains=[chain],
        traffic_direction=base_pb2.INBOUND,
    )


def _inbound_manager(snap: Snapshot, node: Node, suffix: str) -> Any:
    policies = snap.authorization_policies.for_node(node)
    enforced = [policy for policy in policies if policy.spec.action in ("ALLOW", "DENY")]
    rbac = policy_filters(snap, enforced, tcp=False)
    filters = [
        HttpFilter(name=f"{name}-{index}", typed_config=pack(config)) for index, (name, config) in enumerate(rbac)
    ]
    route = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(prefix="/"),
        non_forwarding_action=route_components_pb2.NonForwardingAction(),
    )
    host = route_components_pb2.VirtualHost(name="inbound", domains=["*"], routes=[route])
    manager = hcm_pb2.HttpConnectionManager(
        http_filters=[*filters, _router()],
        route_config=route_pb2.RouteConfiguration(name="inbound", virtual_hosts=[host]),
    )
    return listener_components_pb2.Filter(name=f"inbound-hcm-{suffix}", typed_config=pack(manager))


def routes(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return _found(names, lambda name: _routes(snap, node, name))


def _routes(snap: Snapshot, node: Node, name: str) -> Any:
    """The one virtual host of a service port, for authorities with and without the port."""
    parsed = parse_cluster_name(name)
    if parsed is None or parsed.direction != OUTBOUND:
        return None
    whole = route_configuration(snap, node, str(parsed.port))
    host = next((one for one in whole.virtual_hosts if one.name == f"{parsed.host}:{parsed.port}"), None)
    if host is None:
        return None
    out = route_components_pb2.VirtualHost()
    out.CopyFrom(host)
    out.domains.extend([f"{domain}:{parsed.port}" for domain in host.domains if domain != "*"])
    for route in out.routes:
        action = route.route
        if action.HasField("timeout") and (action.timeout.seconds or action.timeout.nanos):
            action.max_stream_duration.max_stream_duration.CopyFrom(action.timeout)
    return route_pb2.RouteConfiguration(name=name, virtual_hosts=[out])


def clusters(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return _found(names, lambda name: _cluster(snap, node, name))


def _cluster(snap: Snapshot, node: Node, name: str) -> Any:
    parsed = parse_cluster_name(name)
    scope = snap.scope(node)
    svc = scope.by_host.get(parsed.host) if parsed is not None and parsed.direction == OUTBOUND else None
    if parsed is None or svc is None or svc.resolution is not Resolution.CLIENT_SIDE_LB:
        return None
    rule = scope.destination_rule(node, svc.host)
    spec = rule.spec if rule is not None else None
    subset = subset_named(spec, parsed.subset)
    if parsed.subset and subset is None:
        return None
    policy = policy_for(spec, parsed.port, subset)
    eds = Cluster.EdsClusterConfig(eds_config=ADS_CONFIG, service_name=name)
    cluster = Cluster(name=name, type=Cluster.EDS, eds_cluster_config=eds)
    balancer = policy.load_balancer
    if balancer is not None and balancer.simple in ("LEAST_REQUEST", "LEAST_CONN"):
        cluster.lb_policy = Cluster.LEAST_REQUEST
    elif balancer is not None and balancer.consistent_hash is not None:
        cluster.lb_policy = Cluster.RING_HASH
    pool = policy.connection_pool
    if pool is not None and pool.http is not None and pool.http.http2_max_requests > 0:
        cluster.circuit_breakers.thresholds.add(max_requests=uint32(pool.http.http2_max_requests))
    if policy.tls is not None and policy.tls.mode == "ISTIO_MUTUAL":
        accounts = with_aliases(snap.service_accounts(svc), snap.mesh)
        names = [string_pb2.StringMatcher(exact=account) for account in accounts]
        cluster.transport_socket.CopyFrom(tls_socket(tls_pb2.UpstreamTlsContext(common_tls_context=_provided(names))))
    return cluster


def _provided(names: Iterable[Any]) -> Any:
    """Certificates that the program itself gets, by the provider named in its bootstrap."""
    instance = common_pb2.CertificateProviderPluginInstance
    validation = common_pb2.CertificateValidationContext(
        match_subject_alt_names=names,
        ca_certificate_provider_instance=instance(instance_name=PROVIDER, certificate_name=ROOT),
    )
    return tls_pb2.CommonTlsContext(
        tls_certificate_provider_instance=instance(instance_name=PROVIDER, certificate_name=PROVIDER),
        combined_validation_context=tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=validation
        ),
    )


def endpoints(snap: Snapshot, node: Node, names: Iterable[str]) -> Named:
    return list(load_assignments(snap, node, names))


TYPES: dict[str, Callable[[Snapshot, Node, Iterable[str]], Named]] = {
    types.LDS: listeners,
    types.RDS: routes,
    types.CDS: clusters,
    types.EDS: endpoints,
}
