"""LDS of a sidecar, outbound: a listener per port or virtual IP, the HTTP proxy, and the one that takes the rest.

Takes a snapshot and a proxy, gives Listener messages. Not here: inbound (listeners_inbound.py), chains of TCP and TLS
ports (tcp_chains.py), the network filters (filters/).
Services that share a bind and port share the listener: HTTP joins HTTP, TCP and HTTP are told apart by looking at the
first bytes, and a chain whose match is taken is left out. What a Sidecar resource declares for a port is closed to others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2 as core
from envoy.config.listener.v3 import listener_pb2
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value
from msgspec.structs import replace

from mizzen.api.istio.virtual_service import VirtualService
from mizzen.istiod.hostname import is_wildcard
from mizzen.istiod.node import Node, is_ip
from mizzen.istiod.registry.model import UNSPECIFIED, Health, Resolution, Service
from mizzen.istiod.registry.protocol import Protocol, parse_protocol
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.scope import EgressListener
from mizzen.istiod.translate.addresses import address_for, localhosts, wildcards
from mizzen.istiod.translate.chains import (
    HTTP_ALPNS,
    RAW,
    Chain,
    additional_addresses,
    bind_address,
    filter_chain,
    inspects_http,
    inspects_tls,
)
from mizzen.istiod.translate.cluster_outbound import dns_cache
from mizzen.istiod.translate.filters import ChainContext, HttpOptions, ListenerClass, http_filter_chain
from mizzen.istiod.translate.listener_filters import http_inspector, tls_inspector
from mizzen.istiod.translate.messages import duration
from mizzen.istiod.translate.tcp_chains import TcpChains
from mizzen.istiod.translate.tcp_routes import ListenPort, TcpScope
from mizzen.istiod.translate.virtual_outbound import unknown_destination_filters

OUTBOUND = core.OUTBOUND
Binds = tuple[str, ...]


class Entry:
    """One listener under construction. closed: no service of a later egress listener may join it."""

    def __init__(self, binds: Binds, port: ListenPort, protocol: Protocol, chains: list[Chain], bound: bool) -> None:
        self.binds, self.port, self.protocol, self.chains, self.bound = binds, port, protocol, chains, bound
        self.closed = False


def outbound_listeners(snap: Snapshot, node: Node) -> list[listener_pb2.Listener]:
    """The listeners of a sidecar for its services, in the order that these were declared in."""
    builder = OutboundListeners(snap, node)
    for egress in snap.scope(node).egress:
        builder.add(egress)
    return builder.listeners()


class OutboundListeners:
    """Collects entries by bind and port."""

    def __init__(self, snap: Snapshot, node: Node) -> None:
        self.snap = snap
        self.node = node
        self.ctx = ChainContext(snap, node, ListenerClass.OUTBOUND)
        tcp = TcpScope(snap.scope(node), node, snap.mesh.outbound_cluster_stat_name)
        self.tcp_chains = TcpChains(self.ctx, tcp)
        self.wildcards = wildcards(node)
        self.reserved = reserved_ports(snap, node)
        self.unprivileged = node.flag("UNPRIVILEGED_POD")
        self.entries: dict[tuple[Binds, int], Entry] = {}

    def add(self, egress: EgressListener) -> None:
        """The listeners of one egress listener: of its own port, or of every port of its services."""
        declared = egress.declared
        bound = self._binds_port(egress)
        if declared is not None and declared.port is not None:
            port = ListenPort(declared.port.number, parse_protocol(declared.port.protocol), declared.port.name)
            binds: Binds = (declared.bind,) if declared.bind else localhosts(self.node) if bound else ()
            if self._can_listen(binds, port, bound):
                for svc in egress.services:
                    self._add_service(svc, port, binds, bound, egress.virtual_services)
            return
        for entry in self.entries.values():
            entry.closed = True
        given = (
            (declared.bind,) if declared is not None and declared.bind else localhosts(self.node)[:1] if bound else ()
        )
        for svc in egress.services:
            for service_port in svc.ports:
                port = ListenPort(service_port.number, service_port.protocol, service_port.name)
                if self._can_listen(given, port, bound):
                    for binds in self._binds_of(svc, port, given):
                        self._add_service(svc, port, binds, bound, egress.virtual_services)

    def _binds_port(self, egress: EgressListener) -> bool:
        """Whether real sockets are opened, because no traffic is redirected to this proxy or listener."""
        if self.node.interception_mode == "NONE":
            return True
        declared = egress.declared
        return declared is not None and (declared.capture_mode == "NONE" or declared.bind.startswith("unix://"))

    def _can_listen(self, binds: Binds, port: ListenPort, bound: bool) -> bool:
        if bound and self.unprivileged and 0 < port.number < 1024:
            return False
        if port.number not in self.reserved:
            return True
        return binds[0] not in self.wildcards if binds else not port.protocol.is_http

    def _binds_of(self, svc: Service, port: ListenPort, given: Binds) -> Iterator[Binds]:
        """Where a service's port is listened on; () = decided by its address. Headless TCP: at each of its endpoints."""
        if svc.resolution is not Resolution.PASSTHROUGH:
            yield given
            return
        detached = address_for(svc, self.node) == UNSPECIFIED
        if given or not detached or not (port.protocol.is_tcp or port.protocol.is_unsupported):
            yield given
            return
        endpoints = [
            e for e in self.snap.endpoints(svc) if e.port_name == port.name and e.health is not Health.TERMINATING
        ]
        if not endpoints and not svc.is_kubernetes and not svc.selector:
            yield ()
            return
        for endpoint in endpoints:
            if is_ip(endpoint.address) and endpoint.address != self.node.ips[0]:
                yield (endpoint.address,)

    def _add_service(
        self, svc: Service, port: ListenPort, binds: Binds, bound: bool, rules: Sequence[VirtualService]
    ) -> None:
        if svc.resolution is Resolution.ALIAS or port.protocol in (Protocol.UDP, Protocol.HBONE):
            return
        cidrs: tuple[str, ...] = ()
        if not binds and not port.protocol.is_http:
            address = address_for(svc, self.node)
            if "/" in address:
                cidrs = (address,)
            elif address not in (UNSPECIFIED, "::"):
                binds = (address,)
        binds = binds or self.wildcards
        key = (binds, port.number)
        current = self.entries.get(key)
        if current is not None and (current.closed or not _joins(port.protocol, current.protocol)):
            return
        made = self._chains(svc, port, binds, cidrs, rules)
        protocol = port.protocol
        if protocol.is_http and protocol is not Protocol.HTTP_PROXY and binds[0] in self.wildcards:
            protocol = Protocol.UNSUPPORTED
        if current is None or (port.protocol.is_unsupported and current.protocol.is_http):
            self.entries[key] = Entry(binds, port, protocol, made, bound)
        else:
            _merge(current, made, port.protocol)

    def _chains(
        self, svc: Service, port: ListenPort, binds: Binds, cidrs: tuple[str, ...], rules: Sequence[VirtualService]
    ) -> list[Chain]:
        if port.protocol is Protocol.HTTP_PROXY:
            return [self._http(svc, port, binds)]
        if port.protocol.is_http:
            chain = self._http(svc, port, binds)
            return [_inspected(chain) if binds[0] in self.wildcards else chain]
        chains = self.tcp_chains.chains(svc, port, binds[0], cidrs, rules)
        return [*chains, _inspected(self._http(svc, port, binds))] if port.protocol.is_unsupported else chains

    def _http(self, svc: Service, port: ListenPort, binds: Binds) -> Chain:
        if port.number == 0:
            rds = binds[0]
        elif port.protocol.is_unsupported and binds[0] not in self.wildcards:
            rds = f"{svc.host}:{port.number}"
        else:
            rds = str(port.number)
        dynamic = svc.resolution is Resolution.DYNAMIC_DNS and is_wildcard(svc.host)
        options = HttpOptions(
            stat_prefix=f"outbound_{binds[0]}_{port.number};",
            rds=rds,
            protocol=port.protocol,
            port=port.number,
            dns_cache=dns_cache(svc, self.tcp_chains.family) if dynamic else None,
        )
        return Chain(http_filter_chain(self.ctx, options))

    def listeners(self) -> list[listener_pb2.Listener]:
        """The messages."""
        return [self._listener(entry) for entry in self.entries.values()]

    def _listener(self, entry: Entry) -> listener_pb2.Listener:
        out = outbound_listener(self.snap, self.node, entry.binds, entry.port.number, entry.chains, entry.bound)
        if not any(chain.matches_all for chain in entry.chains):
            rest = out.default_filter_chain
            rest.name = "PassthroughFilterChain"
            rest.filter_chain_match.SetInParent()
            rest.filters.extend(unknown_destination_filters(self.ctx))
        return out


def outbound_listener(
    snap: Snapshot, node: Node, binds: Binds, port: int, chains: Sequence[Chain], bound: bool
) -> listener_pb2.Listener:
    """A listener of a sidecar with these chains; one that takes everything stands last, as the default."""
    inspected = inspects_http(chains)
    out = listener_pb2.Listener(
        name=f"{binds[0]}_{port}",
        address=bind_address(binds[0], port),
        additional_addresses=additional_addresses(binds[1:], port),
        traffic_direction=OUTBOUND,
        continue_on_listener_filters_timeout=True,
        listener_filters_timeout=duration(snap.mesh.protocol_detection_timeout if inspected else None) or duration(0.0),
        listener_filters=_listener_filters(chains, inspected),
    )
    accept_options(out, node, bound)
    for chain in chains:
        message = filter_chain(chain)
        if chain.matches_all and len(chains) > 1:
            out.default_filter_chain.CopyFrom(message)
        else:
            out.filter_chains.append(message)
    return out


def accept_options(out: listener_pb2.Listener, node: Node, bound: bool) -> None:
    """How connections are accepted: on a real socket, or handed over by the listener that traffic is redirected to."""
    if bound:
        out.max_connections_to_accept_per_socket_event.CopyFrom(UInt32Value(value=1))
    else:
        out.bind_to_port.CopyFrom(BoolValue(value=False))
    if node.flag("OUTBOUND_LISTENER_EXACT_BALANCE"):
        out.connection_balance_config.exact_balance.SetInParent()


def _listener_filters(chains: Iterable[Chain], inspected: bool) -> list[Any]:
    tls = [tls_inspector()] if inspects_tls(chains) else []
    return [*tls, http_inspector()] if inspected else tls


def _inspected(chain: Chain) -> Chain:
    """The chain for connections in which HTTP in the clear was found."""
    return replace(chain, application_protocols=HTTP_ALPNS, transport_protocol=RAW)


def _joins(new: Protocol, current: Protocol) -> bool:
    """Whether a port of one protocol adds to a listener of another. Server-first protocols are never inspected."""
    if (new in _SERVER_FIRST or current in _SERVER_FIRST) and new is not current:
        return False
    if new.is_http:
        return current.is_tcp
    return not (new.is_unsupported and current.is_unsupported)


_SERVER_FIRST = frozenset({Protocol.MONGO, Protocol.MYSQL})


def _merge(entry: Entry, new: list[Chain], protocol: Protocol) -> None:
    """Add chains of another service to a listener; HTTP beside TCP has to be told apart by inspection."""
    if protocol.is_tcp and entry.protocol.is_http:
        entry.chains = [_inspected(chain) for chain in entry.chains]
    if entry.protocol.is_tcp and protocol.is_http:
        new = [_inspected(chain) for chain in new]
    if entry.protocol.is_http is not protocol.is_http or protocol.is_unsupported:
        entry.protocol = Protocol.UNSUPPORTED
    taken = {chain.match for chain in entry.chains}
    for chain in new:
        if chain.match not in taken:
            taken.add(chain.match)
            entry.chains.append(chain)


def reserved_ports(snap: Snapshot, node: Node) -> set[Any]:
    """Ports of wildcard listeners that the proxy has already."""
    own = (node.text(name) for name in ("ENVOY_STATUS_PORT", "ENVOY_PROMETHEUS_PORT"))
    return {int(text) for text in own if text.isdigit()} | {
        snap.mesh.proxy_listen_port or 15001,
        snap.mesh.proxy_inbound_listen_port or 15006,
    }
