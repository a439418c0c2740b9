"""RDS: the route configuration of a name, for sidecars and gateways.

Takes a snapshot, a proxy and a name that one of its listeners mentions, gives a RouteConfiguration; a name that means
nothing gives an empty one of that name. Not here: the routes of a VirtualService (route_virtual_service.py), gateways'
virtual hosts (gateway_routes.py), inbound routes, which stand in their listener.
Source: envoy.config.route.v3.RouteConfiguration.
"""

from __future__ import annotations

from envoy.config.route.v3 import route_components_pb2 as routes
from envoy.config.route.v3 import route_pb2
from google.protobuf.duration_pb2 import Duration as PbDuration

from mizzen.istiod.internal_names import MESH_GATEWAY
from mizzen.istiod.node import Node
from mizzen.istiod.registry.protocol import Protocol, parse_protocol
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.scope import EgressListener, Scope
from mizzen.istiod.translate.addresses import address_for
from mizzen.istiod.translate.cluster_names import ALLOW_ANY_DYNAMIC_DNS as DYNAMIC_DNS
from mizzen.istiod.translate.cluster_names import PASSTHROUGH
from mizzen.istiod.translate.consistent_hash import any_service_hash, hash_of_destination, hash_of_service
from mizzen.istiod.translate.gateway_routes import gateway_routes
from mizzen.istiod.translate.outbound_policy import ALLOW_ANY_DYNAMIC_DNS, BLOCK, outbound_policy
from mizzen.istiod.translate.port_services import port_services
from mizzen.istiod.translate.proxy_headers import appends_forwarded_host, attempt_count
from mizzen.istiod.translate.route_scope import RouteScope, destination_cluster
from mizzen.istiod.translate.virtual_host_entries import HostEntry, configuration, host_entry
from mizzen.istiod.translate.virtual_hosts import HTTP_PORT, HostOptions, for_services, virtual_hosts

HTTP_PROXY = "http_proxy"


def route_configuration(snap: Snapshot, node: Node, name: str) -> route_pb2.RouteConfiguration:
    """The route configuration of this name for a proxy."""
    if node.is_router:
        return configuration(name, map(host_entry, gateway_routes(snap, node, name)))
    return sidecar_routes(snap, node, name)


def sidecar_routes(snap: Snapshot, node: Node, name: str) -> route_pb2.RouteConfiguration:
    """The routes of a sidecar's outbound listeners: by port, by `host:port` for one detected port, or for all ports."""
    parsed = parse_route_name(name)
    scope = snap.scope(node)
    if parsed is None:
        return configuration(name, [])
    port, sniffed = parsed
    listener = egress_listener(scope, port, name)
    if listener is None:
        return configuration(name, [])
    if _is_http_proxy(listener):
        port = 0
    hosts = _hosts(snap, node, scope, listener, port)
    if sniffed:
        return configuration(name, _only(hosts, name))
    return configuration(name, [*hosts, catch_all(snap, node)])


def parse_route_name(name: str) -> tuple[int, bool] | None:
    """(port, whether it is one detected service's) of a sidecar's route name; port 0 = all ports; None = no such
    name.
    """
    if name == HTTP_PROXY or name.startswith(("unix://", "@")):
        return 0, False
    _, colon, port = name.rpartition(":")
    return (int(port), bool(colon)) if port.isascii() and port.isdigit() else None


def egress_listener(scope: Scope, port: int, bind: str) -> EgressListener | None:
    """The egress listener that serves a port, or the socket `bind` when the port is 0; the catch-all is last."""
    for listener in scope.egress:
        declared = listener.declared
        if declared is None or declared.port is None:
            return listener
        if declared.port.number == port and (port or declared.bind == bind):
            return listener
    return None


def _is_http_proxy(listener: EgressListener) -> bool:
    declared = listener.declared
    if declared is None or declared.port is None:
        return False
    return parse_protocol(declared.port.protocol) is Protocol.HTTP_PROXY


def _hosts(snap: Snapshot, node: Node, scope: Scope, listener: EgressListener, port: int) -> list[HostEntry]:
    ported = port_services(listener.services, port)
    services = ported.by_host
    rules = listener.virtual_services
    chosen = list(rules) if port == HTTP_PORT else for_services(rules, services)
    route_scope = RouteScope(
        port=port,
        gateways=frozenset({MESH_GATEWAY}),
        labels=node.labels,
        namespace=node.namespace,
        service=services.get,
        hash_of=lambda destination: hash_of_destination(scope, node, destination),
        retries=snap.mesh.default_http_retry_policy,
        forwarded_host=appends_forwarded_host(snap, node),
    )
    options = HostOptions(
        dns_domain=node.dns_domain,
        address=lambda svc: address_for(svc, node),
        variant=(node.supports_ipv4, node.supports_ipv6, node.dns_capture),
        hashed=any_service_hash(snap),
        service_hash=lambda svc, p: hash_of_service(scope, node, svc, p),
        every_port=port == 0,
        attempt_count=attempt_count(snap, node),
    )
    return virtual_hosts(chosen, ported, route_scope, options)


def _only(hosts: list[HostEntry], name: str) -> list[HostEntry]:
    """The virtual host of one detected service port, for whatever authority."""
    found = [host for host in hosts if host.name == name] or hosts
    if len(found) != 1:
        return found
    message = found[0].message()
    del message.domains[:]
    message.domains.append("*")
    return [host_entry(message)]


def catch_all(snap: Snapshot, node: Node) -> HostEntry:
    """What happens to requests for hosts that nobody knows."""
    policy = outbound_policy(snap, node)
    out = routes.VirtualHost(domains=["*"], include_request_attempt_count=attempt_count(snap, node))
    route = out.routes.add(match=routes.RouteMatch(prefix="/"))
    if policy.mode == BLOCK:
        out.name = route.name = "block_all"
        route.direct_response.status = 502
        return host_entry(out)
    dynamic = policy.mode == ALLOW_ANY_DYNAMIC_DNS
    out.name = route.name = "allow_any_dynamic_dns" if dynamic else "allow_any"
    route.route.cluster = DYNAMIC_DNS if dynamic else PASSTHROUGH
    if policy.egress_proxy is not None:
        route.route.cluster = destination_cluster(policy.egress_proxy, None, 0)
    route.route.append_x_forwarded_host = appends_forwarded_host(snap, node)
    route.route.timeout.CopyFrom(PbDuration())
    route.route.max_grpc_timeout.CopyFrom(PbDuration())
    return host_entry(out)
