"""All Gateways that select one proxy, merged: which ports it listens on, with which servers, under which route names.

Takes Gateways (oldest first) and the services that the proxy implements, gives a MergedGateway. Not here: listeners
(gateway_listeners.py) and routes (gateway_routes.py) of the result.
Servers of one port and bind address share a listener when all are HTTP in the clear, or all are told apart by SNI; of
servers that cannot share one the older Gateway's counts and the other is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mizzen.api.istio.gateway import Gateway, Server
from mizzen.istiod.internal_names import GATEWAY_SERVICES
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import ServiceTarget
from mizzen.istiod.registry.protocol import Protocol, parse_protocol
from mizzen.istiod.snapshot import Snapshot

NO_TRANSLATION = "experimental.istio.io/disable-gateway-port-translation"
PASSTHROUGH_MODES = ("PASSTHROUGH", "AUTO_PASSTHROUGH")


class BoundServer(msgspec.Struct, frozen=True, eq=False):
    """One server of one Gateway on one port of the proxy.

    gateway: "namespace/name"; hosts: with a namespace only where one was asked for ("ns/host", never "./" or "*/");
    route_name: of its own route configuration, "" for TCP and TLS that is passed on.
    """

    server: Server
    gateway: str
    hosts: tuple[str, ...]
    route_name: str

    @property
    def protocol(self) -> Protocol:
        return parse_protocol(self.server.port.protocol)

    @property
    def sni_hosts(self) -> tuple[str, ...]:
        """Hosts without namespaces, each once."""
        return tuple(dict.fromkeys(host.rpartition("/")[2] for host in self.hosts))

    @property
    def passes_tls(self) -> bool:
        return self.server.tls is not None and self.server.tls.mode in PASSTHROUGH_MODES

    @property
    def is_http(self) -> bool:
        """Requests are routed: HTTP in the clear, or HTTPS that ends here."""
        return self.protocol.is_http or self.ends_https

    @property
    def ends_https(self) -> bool:
        return self.protocol is Protocol.HTTPS and self.server.tls is not None and not self.passes_tls

    @property
    def is_tls(self) -> bool:
        return self.server.tls is not None and not self.protocol.is_http


class PortServers:
    """The servers of one listener. protocol and bind: of the first of them; route_name: of HTTP in the clear."""

    def __init__(self, number: int, protocol: Protocol, bind: str, route_name: str) -> None:
        self.number, self.protocol, self.bind, self.route_name = number, protocol, bind, route_name
        self.servers: list[BoundServer] = []


class Rejected(msgspec.Struct, frozen=True):
    """A server that is not served, and why."""

    gateway: str
    server: Server
    reason: str


class MergedGateway:
    """ports: in the order they were opened; by_route_name: the servers of each route configuration."""

    def __init__(self) -> None:
        self.ports: list[PortServers] = []
        self.by_route_name: dict[str, list[BoundServer]] = {}
        self.rejected: list[Rejected] = []
        self._open: dict[tuple[int, Protocol, str], PortServers] = {}
        self._numbers: set[int] = set()
        self._plaintext: dict[int, PortServers] = {}
        self._tls_binds: dict[int, set[str]] = {}
        self._tls_hosts: dict[tuple[int, str], set[str]] = {}

    def add(self, bound: BoundServer, number: int) -> None:
        """Give a server its place on a port, or reject it."""
        reason = self._duplicate_hosts(bound, number) or (
            self._join(bound, number) if number in self._numbers else self._open_number(bound, number)
        )
        if reason:
            self.rejected.append(Rejected(bound.gateway, bound.server, reason))

    def _duplicate_hosts(self, bound: BoundServer, number: int) -> str:
        if bound.server.tls is None:
            return ""
        known = self._tls_hosts.setdefault((number, bound.server.bind), set())
        twice = [host for host in bound.hosts if host in known]
        known.update(bound.hosts)
        return f"hosts {', '.join(twice)} are served on port {number} already" if twice else ""

    def _open_number(self, bound: BoundServer, number: int) -> str:
        self._numbers.add(number)
        port = self._port(bound, number)
        port.route_name = bound.route_name
        port.servers.append(bound)
        if not bound.is_tls:
            self._plaintext[number] = port
        if bound.is_http:
            self.by_route_name[bound.route_name] = [bound]
        return ""

    def _join(self, bound: BoundServer, number: int) -> str:
        plain = self._plaintext.get(number)
        return self._join_tls(bound, number) if plain is None else self._join_plaintext(bound, number, plain)

    def _join_plaintext(self, bound: BoundServer, number: int, plain: PortServers) -> str:
        same_bind = plain.bind == bound.server.bind
        if same_bind and not (plain.protocol.is_http and bound.protocol.is_http):
            return f"{bound.protocol} cannot share port {number} with {plain.protocol}"
        if same_bind and not bound.route_name:
            return f"port {number} is taken"
        if same_bind:
            plain.servers.append(bound)
        else:
            port = self._port(bound, number)
            port.route_name = bound.route_name
            port.servers.append(bound)
        self.by_route_name.setdefault(bound.route_name, []).append(bound)
        return ""

    def _join_tls(self, bound: BoundServer, number: int) -> str:
        if bound.is_http:
            if bound.route_name in self.by_route_name:
                return f"route name {bound.route_name} is taken"
            self.by_route_name[bound.route_name] = [bound]
        binds = self._tls_binds.setdefault(number, set())
        new_bind = bound.server.bind not in binds
        binds.add(bound.server.bind)
        if bound.server.tls is None and not new_bind:
            return f"port {number} is shared by servers with TLS settings, and this one has none"
        port = self._port(bound, number)
        if not port.servers:
            port.route_name = bound.route_name
        port.servers.append(bound)
        return ""

    def _port(self, bound: BoundServer, number: int) -> PortServers:
        key = (number, bound.protocol, bound.server.bind)
        port = self._open.get(key)
        if port is None:
            port = self._open[key] = PortServers(number, bound.protocol, bound.server.bind, "")
            self.ports.append(port)
        return port


def merged_gateway(snap: Snapshot, node: Node) -> MergedGateway:
    """The Gateways that select a proxy, merged; worked out once per snapshot and proxy."""
    key = ("merged gateway", node.id)
    return snap.local.get(key, snap, lambda: merge(snap.gateways.for_workload(node.labels), snap.targets(node)))


def merge(gateways: Iterable[Gateway], targets: Sequence[ServiceTarget]) -> MergedGateway:
    """gateways: oldest first; targets: the service ports that the proxy implements."""
    out = MergedGateway()
    for gateway in gateways:
        namespace, name = gateway.metadata.namespace or "default", gateway.metadata.name or ""
        for server in gateway.spec.servers:
            hosts = tuple(qualified(host, namespace) for host in server.hosts)
            for number in listen_ports(server.port.number, targets, gateway):
                route = route_name(server, number, name, namespace)
                out.add(BoundServer(server, f"{namespace}/{name}", hosts, route), number)
    return out


def qualified(host: str, namespace: str) -> str:
    """A server's host with its namespace written out, or without one when any will do."""
    if host.startswith("./"):
        return f"{namespace}/{host[2:]}"
    return host.removeprefix("*/")


def listen_ports(number: int, targets: Sequence[ServiceTarget], gateway: Gateway) -> list[int]:
    """Where the proxy listens for a Gateway's port: the target port of the service that exposes it, else the
    port itself.

    A Gateway that names its services listens on their target ports only.
    """
    named = (gateway.metadata.annotations or {}).get(GATEWAY_SERVICES)
    if named is None:
        plain = [t for t in targets if t.port.number == number and NO_TRANSLATION not in t.service.labels]
        return [plain[0].target_port] if plain else [number]
    hosts = named.split(",")
    return sorted({t.target_port for t in targets if t.port.number == number and t.service.host in hosts})


def route_name(server: Server, number: int, gateway: str, namespace: str) -> str:
    """The name of a server's route configuration: shared by all HTTP servers of a port, its own for HTTPS."""
    protocol = parse_protocol(server.port.protocol)
    bind = f".{server.bind}" if server.bind else ""
    if protocol.is_http:
        return f"http.{number}{bind}"
    if protocol is Protocol.HTTPS and server.tls is not None and server.tls.mode not in PASSTHROUGH_MODES:
        return f"https.{server.port.number}.{server.port.name}.{gateway}.{namespace}{bind}"
    return ""
