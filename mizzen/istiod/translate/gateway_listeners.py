"""LDS of a gateway: a listener per port and bind address of the Gateways that select it.

Takes a snapshot and a proxy, gives Listener messages. Not here: which servers share a port (gateways.py), TLS settings
(gateway_tls.py), routes (gateway_routes.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2 as core
from envoy.config.listener.v3 import listener_pb2
from google.protobuf.wrappers_pb2 import UInt32Value
from msgspec.structs import replace

from mizzen.api.istio.virtual_service import VirtualService
from mizzen.istiod.hostname import overlaps, subset_of
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Service, ServicePort
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.addresses import wildcards
from mizzen.istiod.translate.chains import (
    MTLS_ALPNS,
    Chain,
    additional_addresses,
    bind_address,
    filter_chain,
    inspects_tls,
)
from mizzen.istiod.translate.filters import (
    ChainContext,
    HttpOptions,
    ListenerClass,
    TcpOptions,
    http_filter_chain,
    tcp_filter_chain,
)
from mizzen.istiod.translate.gateway_tls import downstream_tls
from mizzen.istiod.translate.gateways import BoundServer, PortServers, merged_gateway
from mizzen.istiod.translate.listener_filters import proxy_protocol, tls_inspector
from mizzen.istiod.translate.tcp_routes import ListenPort, TcpScope, l4_applies, routed, with_rule
from mizzen.istiod.translate.telemetry.access_log import access_logs

ISTIO_MUTUAL = "ISTIO_MUTUAL"


def gateway_listeners(snap: Snapshot, node: Node) -> list[listener_pb2.Listener]:
    """The listeners of a gateway, in the order that its ports were opened."""
    builder = GatewayListeners(snap, node)
    found: dict[str, tuple[tuple[str, ...], int, list[Chain]]] = {}
    for port in merged_gateway(snap, node).ports:
        if node.flag("UNPRIVILEGED_POD") and port.number < 1024:
            continue
        binds = (port.bind,) if port.bind else wildcards(node)
        entry = found.setdefault(f"{binds[0]}_{port.number}", (binds, port.number, []))
        entry[2].extend(builder.chains(port, binds[0]))
    return [builder.listener(name, *entry) for name, entry in found.items() if entry[2]]


class GatewayListeners:
    """Builds the chains and listeners of one gateway."""

    def __init__(self, snap: Snapshot, node: Node) -> None:
        self.snap = snap
        self.node = node
        self.ctx = ChainContext(snap, node, ListenerClass.GATEWAY)
        self.scope = snap.scope(node)
        self.tcp = TcpScope(self.scope, node, snap.mesh.outbound_cluster_stat_name)
        self.sni_taken: dict[tuple[int, str], set[str]] = {}

    def chains(self, port: PortServers, bind: str) -> list[Chain]:
        """The chains of the servers of one port."""
        if port.protocol.is_http:
            return [Chain(self._http(port.protocol, port.number, port.route_name, f"outbound_{bind}_{port.number};"))]
        return [chain for bound in port.servers for chain in self._server(bound, port, bind)]

    def listener(self, name: str, binds: Sequence[str], port: int, chains: Sequence[Chain]) -> listener_pb2.Listener:
        """The message."""
        out = listener_pb2.Listener(
            name=name,
            address=bind_address(binds[0], port),
            additional_addresses=additional_addresses(binds[1:], port),
            traffic_direction=core.OUTBOUND,
            max_connections_to_accept_per_socket_event=UInt32Value(value=1),
            listener_filters=self._listener_filters(chains),
            filter_chains=[filter_chain(chain) for chain in chains],
            access_log=access_logs(self.snap, self.ctx.telemetry.logs, "listener"),
        )
        connection = self.ctx.connection
        if connection is not None and connection.listener_per_connection_buffer_limit_bytes is not None:
            out.per_connection_buffer_limit_bytes.value = connection.listener_per_connection_buffer_limit_bytes
        if self.node.flag("OUTBOUND_LISTENER_EXACT_BALANCE"):
            out.connection_balance_config.exact_balance.SetInParent()
        return out

    def _listener_filters(self, chains: Sequence[Chain]) -> list[Any]:
        topology = self.ctx.proxy_config.gateway_topology
        out: list[Any] = []
        if topology is not None and topology.proxy_protocol is not None:
            out.append(proxy_protocol())
        return [*out, tls_inspector()] if inspects_tls(chains) else out

    def _http(self, protocol: Protocol, number: int, rds: str, stat_prefix: str) -> list[Any]:
        return http_filter_chain(
            self.ctx, HttpOptions(stat_prefix=stat_prefix, rds=rds, protocol=protocol, port=number)
        )

    def _server(self, bound: BoundServer, port: PortServers, bind: str) -> list[Chain]:
        tls = bound.server.tls
        if bound.ends_https:
            prefix = bound.server.name or f"outbound_{bind}_{port.number};"
            filters = self._http(bound.protocol, bound.server.port.number, bound.route_name, prefix)
            return [self._terminated(bound, filters)]
        if bound.passes_tls:
            auto = tls is not None and tls.mode == "AUTO_PASSTHROUGH"
            return self._auto_passthrough(bound) if auto else self._passthrough(bound, port.number)
        filters = self._tcp_routes(bound)
        if not filters:
            return []
        return [Chain(filters) if tls is None else self._terminated(bound, filters)]

    def _terminated(self, bound: BoundServer, filters: Sequence[Any]) -> Chain:
        """A chain whose TLS ends here, chosen by SNI."""
        socket = downstream_tls(self.snap.mesh, bound.server, self.node)
        return Chain(filters, bound.sni_hosts, transport_socket=socket, offers_alpn=True)

    def _virtual_services(self, bound: BoundServer) -> list[VirtualService]:
        """Those bound to the server's gateway that name one of its hosts."""
        return [
            vs
            for vs in self.snap.virtual_services.for_gateway(bound.gateway, self.node.namespace)
            if names_host(bound.hosts, vs)
        ]

    def _tcp_routes(self, bound: BoundServer) -> list[Any]:
        """The filters of the first TCP rule for the server; none when there is no such rule."""
        number = bound.server.port.number
        port = ListenPort(number, bound.protocol, bound.server.port.name)
        for vs in self._virtual_services(bound):
            for route in vs.spec.tcp:
                if not route.match or any(self._applies(match, number, bound) for match in route.match):
                    options = routed(route.route, vs, port, self.tcp)
                    exchange = bound.server.tls is not None and bound.server.tls.mode == ISTIO_MUTUAL
                    return tcp_filter_chain(self.ctx, replace(options, exchange=exchange))
        return []

    def _applies(self, match: Any, number: int, bound: BoundServer) -> bool:
        """Port and gateways of a match; where the client is does not count on a gateway."""
        return l4_applies(replace(match, source_labels={}, source_namespace=""), number, (bound.gateway,), {}, "")

    def _passthrough(self, bound: BoundServer, listen: int) -> list[Chain]:
        """A chain for each TLS match whose SNI hosts are still free on the port."""
        number = bound.server.port.number
        port = ListenPort(number, bound.protocol, bound.server.port.name)
        out: list[Chain] = []
        for vs in self._virtual_services(bound):
            for route in vs.spec.tls:
                for match in route.match:
                    if not self._applies(match, number, bound):
                        continue
                    taken = self.sni_taken.setdefault((listen, bound.server.bind), set())
                    twice = not taken.isdisjoint(match.sni_hosts)
                    taken.update(match.sni_hosts)
                    if not twice:
                        filters = tcp_filter_chain(self.ctx, routed(route.route, vs, port, self.tcp))
                        out.append(Chain(filters, match.sni_hosts))
        return out

    def _auto_passthrough(self, bound: BoundServer) -> list[Chain]:
        """A chain for each port and subset of the mesh's services whose host the server covers."""
        out: list[Chain] = []
        for svc in self.scope.services:
            if svc.mesh_external or not any(subset_of(svc.host, host) for host in bound.sni_hosts):
                continue
            rule = self.tcp.rule(svc.host)
            subsets = [subset.name for subset in rule.subsets] if rule is not None else []
            for port in svc.ports:
                if port.protocol is not Protocol.UDP:
                    out += [self._sni_dnat(svc, port, subset) for subset in ("", *subsets)]
        return out

    def _sni_dnat(self, svc: Service, port: ServicePort, subset: str) -> Chain:
        cluster = f"outbound_.{port.number}_.{subset}_.{svc.host}"
        listen = ListenPort(port.number, port.protocol, port.name)
        prefix = self.tcp.stat_prefix(svc, port, listen, subset)
        options = with_rule(TcpOptions(cluster=cluster, stat_prefix=prefix), self.tcp.rule(svc.host), subset, listen)
        ctx = ChainContext(self.snap, self.node, ListenerClass.OUTBOUND)  # no policies: what passes is encrypted
        return Chain(tcp_filter_chain(ctx, options), (cluster,), application_protocols=MTLS_ALPNS)


def names_host(hosts: Sequence[str], vs: VirtualService) -> bool:
    """Whether a VirtualService's host overlaps one of a server's, whose namespace, if it has one, is its own."""
    for host in hosts:
        namespace, slash, name = host.rpartition("/")
        if slash and namespace != vs.metadata.namespace:
            continue
        if any(overlaps(name, own) for own in vs.spec.hosts):
            return True
    return False
