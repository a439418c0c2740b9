"""Which ports a sidecar takes inbound traffic on: those of the services that its workload implements, or those that a
Sidecar resource declares.

Takes a snapshot and a proxy, gives InboundPort values, for clusters and listeners alike.
Not here: what they become.
"""

from __future__ import annotations

import msgspec

from mizzen.api.istio.networking import ConnectionPoolSettings, IstioIngressListener, Sidecar
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Service, ServicePort
from mizzen.istiod.registry.protocol import Protocol, parse_protocol
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.stat_names import expand, expand_host


class InboundPort(msgspec.Struct, frozen=True):
    """One port.

    number: that the workload listens on; host, service_port: what routes are named after; services: all that lead here,
    the one that counts first; bind: of its listener; endpoint: where to send to, "" = as addressed; declared: by a
    Sidecar resource; own_listener: it is bound for itself instead of being reached through the virtual listener.
    """

    number: int
    protocol: Protocol
    host: str
    service_port: int
    port_name: str = ""
    services: tuple[Service, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    bind: str = "0.0.0.0"
    endpoint: str = ""
    declared: bool = False
    own_listener: bool = False
    connection_pool: ConnectionPoolSettings | None = None


def inbound_stat(pattern: str, port: InboundPort) -> str:
    """The port's name in statistics by the mesh's pattern; "" without one."""
    if not pattern:
        return ""
    if port.declared:
        return expand_host(
            pattern, port.host, ServicePort(number=port.number, name=port.port_name, protocol=port.protocol)
        )
    return expand(pattern, port.services[0], port.ports[0], target_port=port.number) if port.services else ""


def inbound_ports(snap: Snapshot, node: Node) -> list[InboundPort]:
    """The inbound ports of a sidecar, by number."""
    sidecar = snap.sidecar_of(node)
    if sidecar is not None and sidecar.spec.ingress:
        return [declared_port(snap, node, sidecar, listener) for listener in sidecar.spec.ingress]
    if node.interception_mode == "NONE":
        return []
    return service_ports(snap, node)


def service_ports(snap: Snapshot, node: Node) -> list[InboundPort]:
    """Ports of the workload's services; of services that share a port the oldest counts."""
    found: dict[int, InboundPort] = {}
    for target in snap.targets(node):
        if target.port.protocol is Protocol.UDP:
            continue
        known = found.get(target.target_port)
        if known is None:
            found[target.target_port] = InboundPort(
                number=target.target_port,
                protocol=target.port.protocol,
                host=target.service.host,
                service_port=target.port.number,
                port_name=target.port.name,
                services=(target.service,),
                ports=(target.port,),
                bind="0.0.0.0" if node.supports_ipv4 else "::",
            )
        elif target.service not in known.services:
            found[target.target_port] = msgspec.structs.replace(
                known, services=(*known.services, target.service), ports=(*known.ports, target.port)
            )
    return [found[number] for number in sorted(found)]


def declared_port(snap: Snapshot, node: Node, sidecar: Sidecar, listener: IstioIngressListener) -> InboundPort:
    """The port that an ingress listener of a Sidecar resource declares."""
    port = listener.port
    behind = [target for target in snap.targets(node) if target.target_port == port.number]
    captured = node.interception_mode != "NONE" and listener.capture_mode != "NONE"
    return InboundPort(
        number=port.number,
        protocol=parse_protocol(port.protocol),
        host=f"{sidecar.metadata.name}.{node.namespace}",
        service_port=port.number,
        port_name=port.name,
        services=tuple(target.service for target in behind),
        ports=tuple(target.port for target in behind),
        bind=listener.bind or node.ips[0],
        endpoint=listener.default_endpoint,
        declared=True,
        own_listener=not captured,
        connection_pool=listener.connection_pool or sidecar.spec.inbound_connection_pool,
    )
