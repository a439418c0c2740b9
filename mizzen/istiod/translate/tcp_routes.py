"""Where TCP connections go: the destinations of a TCP or TLS rule, or a service's own cluster.

Takes destinations and what is known of their hosts, gives the options of a TCP proxy. Not here: filter chains
(tcp_chains.py, gateway_listeners.py), the filter itself (filters/network.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from mizzen.api.istio.destination_rule import DestinationRuleSpec, TunnelSettings
from mizzen.api.istio.virtual_service import L4MatchAttributes, RouteDestination, TLSMatchAttributes, VirtualService
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Service, ServicePort
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.snapshot.scope import Scope
from mizzen.istiod.translate.cluster_names import BLACKHOLE
from mizzen.istiod.translate.filters import TcpOptions
from mizzen.istiod.translate.route_scope import cluster_name, destination_cluster
from mizzen.istiod.translate.route_virtual_service import has_labels
from mizzen.istiod.translate.stat_names import expand


class ListenPort(msgspec.Struct, frozen=True):
    """The port of a listener: its number (0 = a socket), the protocol spoken there, and its name."""

    number: int
    protocol: Protocol
    name: str = ""


class TcpScope(msgspec.Struct, frozen=True):
    """What routes of one proxy's TCP chains are resolved against. stat_pattern: outboundClusterStatName."""

    scope: Scope
    node: Node
    stat_pattern: str = ""

    def rule(self, host: str) -> DestinationRuleSpec | None:
        """The DestinationRule of a visible host."""
        if host not in self.scope.by_host:
            return None
        found = self.scope.destination_rule(self.node, host)
        return found.spec if found is not None else None

    def stat_prefix(self, svc: Service, port: ServicePort | None, listen: ListenPort, subset: str = "") -> str:
        """The name in statistics by the mesh's pattern, "" = the cluster's; port: None when the service has no such."""
        if not self.stat_pattern:
            return ""
        own = port or ServicePort(listen.name, listen.number, listen.protocol)
        return expand(self.stat_pattern, svc, own, subset)


def l4_applies(
    match: L4MatchAttributes | TLSMatchAttributes,
    port: int,
    gateways: Collection[str],
    labels: Mapping[str, str],
    namespace: str,
) -> bool:
    """Whether the conditions that are settled before any connection hold."""
    if match.port and match.port != port:
        return False
    if match.gateways and not set(match.gateways) & set(gateways):
        return False
    if match.source_namespace and match.source_namespace != namespace:
        return False
    return has_labels(labels, match.source_labels)


def routed(destinations: Sequence[RouteDestination], vs: VirtualService, port: ListenPort, tcp: TcpScope) -> TcpOptions:
    """The TCP proxy of a rule's destinations: one cluster, or several by weight; nowhere without any."""
    if not destinations:
        return TcpOptions(cluster=BLACKHOLE, protocol=port.protocol, port=port.number)
    first = destinations[0].destination
    rule = tcp.rule(first.host)
    if len(destinations) == 1:
        service = tcp.scope.by_host.get(first.host)
        cluster = destination_cluster(first, service, port.number)
        prefix = ""
        if service is not None:
            prefix = tcp.stat_prefix(service, service.port(port.number), port, first.subset)
        return with_rule(TcpOptions(cluster=cluster, stat_prefix=prefix), rule, first.subset, port)
    weighted = tuple(
        (destination_cluster(d.destination, tcp.scope.by_host.get(d.destination.host), port.number), d.weight)
        for d in destinations
        if d.weight
    )
    prefix = f"{vs.metadata.name}.{vs.metadata.namespace}"
    return with_rule(TcpOptions(weighted=weighted, stat_prefix=prefix), rule, "", port)


def service_route(svc: Service, port: ListenPort, tcp: TcpScope) -> TcpOptions:
    """The TCP proxy of a service without a rule: the cluster of the port, or of the service's only port."""
    own: ServicePort | None = svc.ports[0] if len(svc.ports) == 1 else svc.port(port.number)
    number = own.number if own is not None else port.number
    prefix = tcp.stat_prefix(svc, own, port)
    options = TcpOptions(cluster=cluster_name(number, "", svc.host), stat_prefix=prefix)
    return with_rule(options, tcp.rule(svc.host), "", port)


def with_rule(options: TcpOptions, rule: DestinationRuleSpec | None, subset: str, port: ListenPort) -> TcpOptions:
    """The options with what a DestinationRule says of connections."""
    options = msgspec.structs.replace(options, protocol=port.protocol, port=port.number)
    if rule is None:
        return options
    policy = rule.traffic_policy
    pool = policy.connection_pool.tcp if policy is not None and policy.connection_pool is not None else None
    return msgspec.structs.replace(
        options,
        idle_timeout=pool.idle_timeout if pool is not None else None,
        max_connection_duration=pool.max_connection_duration if pool is not None else None,
        source_ip_hash=_hashes_source_ip(rule, subset),
        tunnel=tunneling(rule, subset),
    )


def _hashes_source_ip(rule: DestinationRuleSpec, subset: str) -> bool:
    """Whether connections of one client address stay together; a subset with its own balancer decides for itself."""
    balancer = rule.traffic_policy.load_balancer if rule.traffic_policy is not None else None
    for one in rule.subsets:
        if one.name == subset and one.traffic_policy is not None and one.traffic_policy.load_balancer is not None:
            balancer = one.traffic_policy.load_balancer
            break
    return bool(
        balancer is not None and balancer.consistent_hash is not None and balancer.consistent_hash.use_source_ip
    )


def tunneling(rule: DestinationRuleSpec, subset: str) -> tcp_proxy_pb2.TcpProxy.TunnelingConfig | None:
    """The HTTP tunnel that connections are wrapped in; a subset's own settings come before the rule's."""
    settings: TunnelSettings | None = rule.traffic_policy.tunnel if rule.traffic_policy is not None else None
    for one in rule.subsets:
        if one.name == subset and one.traffic_policy is not None and one.traffic_policy.tunnel is not None:
            settings = one.traffic_policy.tunnel
            break
    if settings is None:
        return None
    host = f"[{settings.target_host}]" if ":" in settings.target_host else settings.target_host
    return tcp_proxy_pb2.TcpProxy.TunnelingConfig(
        hostname=f"{host}:{settings.target_port}", use_post=settings.protocol == "POST"
    )
