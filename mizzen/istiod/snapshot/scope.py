"""What one kind of proxy may see: the services, VirtualServices and DestinationRules of its egress scope.

Takes the indexes of a snapshot, a namespace and the Sidecar resource that holds there (None = see all that is exported),
gives a Scope. Not here: choosing the Sidecar resource (sidecars.py), ingress listeners (translate).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from mizzen.api.istio.networking import (
    Destination,
    IstioEgressListener,
    Sidecar,
    SidecarSpec,
    VirtualService,
)
from mizzen.istiod.hostname import overlaps, subset_of
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Service
from mizzen.istiod.registry.protocol import Protocol, parse_protocol
from mizzen.istiod.registry.workloads import selects
from mizzen.istiod.snapshot.destination_rules import Consolidated, DestinationRules

Hosts = dict[str, list[str]]
"""Imported host patterns by the namespace they are imported from; "*" = from any."""


class EgressListener(msgspec.Struct, frozen=True):
    """One egress listener: what it declares (None = the implicit one) and what it imports."""

    declared: IstioEgressListener | None
    services: tuple[Service, ...]
    virtual_services: tuple[VirtualService, ...]


class Scope:
    """All that proxies of one namespace with one Sidecar resource see.

    services: oldest first, ports merged over the listeners; by_host: the one service that a host means here.
    """

    def __init__(
        self,
        namespace: str,
        sidecar: Sidecar | None,
        egress: tuple[EgressListener, ...],
        services: tuple[Service, ...],
        rules: DestinationRules,
    ) -> None:
        self.namespace = namespace
        self.sidecar = sidecar
        self.egress = egress
        self.services = services
        self.by_host = _by_host(services)
        self._rules = rules
        self._found: dict[str, tuple[Consolidated, ...]] = {}

    @property
    def spec(self) -> SidecarSpec | None:
        return self.sidecar.spec if self.sidecar is not None else None

    def rules_for(self, host: str) -> tuple[Consolidated, ...]:
        """DestinationRules for a host as seen from here; several only when they differ in workloadSelector."""
        found = self._found.get(host)
        if found is None:
            service = self.by_host.get(host)
            found = self._rules.find(self.namespace, host, service.namespace if service else "")
            self._found[host] = found
        return found

    def destination_rule(self, node: Node, host: str, inbound: bool = False) -> Consolidated | None:
        """The DestinationRule for a host that holds for one proxy: one whose workloadSelector chooses it, else a general one.

        inbound: rules with a workloadSelector are for clients only and do not count.
        """
        general = None
        for rule in self.rules_for(host):
            selector = rule.spec.workload_selector
            if selector is None:
                general = rule
            elif not inbound and rule.namespace == self.namespace and selects(selector.match_labels, node.labels):
                return rule
        return general


def _by_host(services: Iterable[Service]) -> dict[str, Service]:
    """The first service of a host; a Kubernetes one beats others."""
    out: dict[str, Service] = {}
    for svc in services:
        known = out.get(svc.host)
        if known is None or (svc.is_kubernetes and not known.is_kubernetes):
            out[svc.host] = svc
    return out


def sidecar_scope(
    namespace: str,
    sidecar: Sidecar | None,
    exported: list[Service],
    virtual_services: list[VirtualService],
    every: Mapping[str, tuple[Service, ...]],
    rules: DestinationRules,
) -> Scope:
    """The scope of sidecars of a namespace.

    exported: services exported to the namespace; virtual_services: those of the mesh gateway seen there;
    every: all services by host, for what imported VirtualServices lead to.
    """
    declared = sidecar.spec.egress if sidecar is not None else ()
    egress = tuple(_listener(one, namespace, exported, virtual_services) for one in declared or (None,))
    services: dict[tuple[str, str, str], Service] = {}
    for listener in egress:
        for svc in listener.services:
            _add(services, svc)
    seen = {svc.host for svc in services.values()}
    visible = {id(svc) for svc in exported}
    for listener in egress:
        for host, ports in _destinations(listener.virtual_services).items():
            if host in seen:
                continue
            pick = _pick(every.get(host, ()), namespace, visible)
            if pick is not None:
                kept = pick if not ports else _with_ports(pick, ports)
                if kept is not None:
                    _add(services, kept)
    return Scope(namespace, sidecar, egress, tuple(services.values()), rules)


def router_scope(namespace: str, exported: list[Service], rules: DestinationRules) -> Scope:
    """The scope of gateways of a namespace: all that is exported to it; Sidecar resources do not count."""
    return Scope(namespace, None, (), tuple(exported), rules)


def _add(services: dict[tuple[str, str, str], Service], svc: Service) -> None:
    key = (svc.host, svc.namespace, svc.address)
    known = services.get(key)
    if known is None:
        services[key] = svc
    elif known is not svc:
        numbers = {port.number for port in known.ports}
        extra = tuple(port for port in svc.ports if port.number not in numbers)
        if extra:
            services[key] = msgspec.structs.replace(known, ports=(*known.ports, *extra))


def _with_ports(svc: Service, numbers: set[int]) -> Service | None:
    ports = tuple(port for port in svc.ports if port.number in numbers)
    if not ports:
        return svc
    return svc if len(ports) == len(svc.ports) else msgspec.structs.replace(svc, ports=ports)


def _pick(found: tuple[Service, ...], namespace: str, visible: set[int]) -> Service | None:
    """The service that a VirtualService's destination means: of the own namespace, of Kubernetes, or the oldest seen."""
    seen = [svc for svc in found if id(svc) in visible]
    own = [svc for svc in seen if svc.namespace == namespace]
    kubernetes = [svc for svc in seen if svc.is_kubernetes]
    return next(iter(own or kubernetes or seen), None)


def _listener(
    declared: IstioEgressListener | None,
    namespace: str,
    exported: list[Service],
    virtual_services: list[VirtualService],
) -> EgressListener:
    if declared is None:
        return EgressListener(None, tuple(_one_namespace_each(exported, namespace)), tuple(virtual_services))
    imported, excluded = _hosts(declared.hosts, namespace)
    number = _port_to_match(declared)
    chosen = []
    for svc in exported:
        if _imports(excluded, svc.namespace, svc.host) or not _imports(imported, svc.namespace, svc.host):
            continue
        if number:
            ports = tuple(port for port in svc.ports if port.number == number)
            if not ports:
                continue
            svc = svc if len(ports) == len(svc.ports) else msgspec.structs.replace(svc, ports=ports)
        chosen.append(svc)
    return EgressListener(
        declared,
        tuple(_one_namespace_each(chosen, namespace)),
        tuple(vs for vs in virtual_services if _imports_rule(imported, excluded, vs)),
    )


def _hosts(entries: Iterable[str], namespace: str) -> tuple[Hosts, Hosts]:
    """Imported and excluded host patterns of an egress listener."""
    imported: Hosts = {}
    excluded: Hosts = {}
    for entry in entries:
        owner, _, host = entry.partition("/")
        table = imported
        if owner == "~":
            continue
        if owner.startswith("~"):
            table, owner = excluded, owner[1:]
        table.setdefault(namespace if owner == "." else owner, []).append(host)
    return imported, excluded


def _port_to_match(declared: IstioEgressListener | None) -> int:
    port = declared.port if declared is not None else None
    if port is None or parse_protocol(port.protocol) is Protocol.HTTP_PROXY:
        return 0
    return port.number


def _imports(hosts: Hosts, namespace: str, host: str) -> bool:
    return any(subset_of(host, pattern) for owner in (namespace, "*") for pattern in hosts.get(owner, ()))


def _imports_rule(imported: Hosts, excluded: Hosts, vs: VirtualService) -> bool:
    namespace = vs.metadata.namespace or "default"
    patterns = [pattern for owner in (namespace, "*") for pattern in imported.get(owner, ())]
    wanted = [host for host in vs.spec.hosts if any(overlaps(host, pattern) for pattern in patterns)]
    return any(not _imports(excluded, namespace, host) for host in wanted)


def _one_namespace_each(services: list[Service], namespace: str) -> list[Service]:
    """Of services with one host only those of one namespace: the own, else that of Kubernetes, else of the oldest."""
    owners: dict[str, Service] = {}
    for svc in services:
        known = owners.get(svc.host)
        if known is None or (known.namespace != namespace and (svc.namespace == namespace or _squatted(known, svc))):
            owners[svc.host] = svc
    return [svc for svc in services if owners[svc.host].namespace == svc.namespace]


def _squatted(known: Service, svc: Service) -> bool:
    return svc.is_kubernetes and not known.is_kubernetes


def _destinations(virtual_services: Iterable[VirtualService]) -> dict[str, set[int]]:
    """Hosts that routes lead to, with the ports they name; an empty set = any port."""
    out: dict[str, set[int]] = {}
    any_port: set[str] = set()
    for vs in virtual_services:
        for destination in destinations(vs):
            ports = out.setdefault(destination.host, set())
            if destination.port is not None and destination.port.number:
                ports.add(destination.port.number)
            else:
                any_port.add(destination.host)
    return {host: set() if host in any_port else ports for host, ports in out.items()}


def destinations(vs: VirtualService) -> list[Destination]:
    """Every destination that a VirtualService names, mirrors included."""
    out = []
    for http in vs.spec.http:
        out += [route.destination for route in http.route if route.destination is not None]
        out += [http.mirror] if http.mirror is not None else []
        out += [mirror.destination for mirror in http.mirrors if mirror.destination is not None]
    for tls in vs.spec.tls:
        out += [route.destination for route in tls.route if route.destination is not None]
    for tcp in vs.spec.tcp:
        out += [route.destination for route in tcp.route if route.destination is not None]
    return out
