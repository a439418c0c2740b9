"""What one kind of proxy may see: the services, VirtualServices and DestinationRules of its egress scope.

Takes the indexes of a snapshot, a namespace and the Sidecar resource that holds there (None = see all that is exported),
gives a Scope. Not here: choosing the Sidecar resource (sidecars.py), ingress listeners (translate).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from mizzen.api.istio.networking import (
    Destination,
    HTTPRoute,
    IstioEgressListener,
    Sidecar,
    SidecarSpec,
    VirtualService,
)
from mizzen.istiod.hostname import overlaps, subset_of
from mizzen.istiod.internal_names import ROUTE_SEMANTICS
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
    services: dict[str, Service] = {}
    visible = {id(svc) for svc in exported}
    for listener in egress:
        for svc in listener.services:
            _add(services, svc)
        for host, ports in _destinations(listener.virtual_services, namespace):
            pick = _pick(every.get(host, ()), namespace, visible)
            kept = _with_ports(pick, _port_to_match(listener.declared), ports) if pick is not None else None
            if kept is not None:
                _add(services, kept)
    return Scope(namespace, sidecar, egress, tuple(services.values()), rules)


def router_scope(namespace: str, exported: list[Service], rules: DestinationRules) -> Scope:
    """The scope of gateways of a namespace: all that is exported to it; Sidecar resources do not count."""
    return Scope(namespace, None, (), tuple(exported), rules)


def _add(services: dict[str, Service], svc: Service) -> None:
    """Adds what one listener imports: of one host the first service stays, with the ports of those that are parts of it.

    Kubernetes' service takes the place of any other: nobody gets a host by having declared it earlier.
    """
    known = services.get(svc.host)
    if known is None or (svc.is_kubernetes and not known.is_kubernetes):
        services[svc.host] = svc
    elif known is not svc and _parts_of_one(known, svc):
        numbers = {port.number for port in known.ports}
        extra = tuple(port for port in svc.ports if port.number not in numbers)
        if extra:
            services[svc.host] = msgspec.structs.replace(known, ports=(*known.ports, *extra))


def _parts_of_one(one: Service, other: Service) -> bool:
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("namespace", "resolution", "registry", "labels", "selector", "export_to")
    )


def _with_ports(svc: Service, number: int, numbers: set[int]) -> Service | None:
    """The service with the ports that a VirtualService leads to; number: the listener's port, which then alone counts."""
    wanted = {number} if number else numbers
    if not number and 0 in wanted:
        return svc
    ports = tuple(port for port in svc.ports if port.number in wanted)
    if len(ports) == len(svc.ports):
        return svc
    return msgspec.structs.replace(svc, ports=ports) if ports else None


def _pick(found: tuple[Service, ...], namespace: str, visible: set[int]) -> Service | None:
    """The service that a VirtualService's destination means: of the own namespace, of Kubernetes, or the oldest seen."""
    own = [svc for svc in found if svc.namespace == namespace]
    seen = [svc for svc in found if id(svc) in visible]
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
    rules = [vs for vs in virtual_services if _imports_rule(imported, excluded, vs)]
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
        tuple(sorted(rules, key=lambda vs: not (_is_route(vs) and vs.metadata.namespace == namespace))),
    )


def _hosts(entries: Iterable[str], namespace: str) -> tuple[Hosts, Hosts]:
    """Imported and excluded host patterns of an egress listener."""
    imported: Hosts = {}
    excluded: Hosts = {}
    for entry in entries:
        if entry.count("/") != 1:
            continue
        owner, _, host = entry.partition("/")
        table = imported
        if owner.startswith("~"):
            table, owner = excluded, owner[1:] or "*"
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
    covers = subset_of if _is_route(vs) else overlaps
    wanted = [host for host in vs.spec.hosts if any(covers(host, pattern) for pattern in patterns)]
    return any(not _imports(excluded, namespace, host) for host in wanted)


def _is_route(vs: VirtualService) -> bool:
    """Whether it stands for a route of the Gateway API; of those the own namespace's come first."""
    return (vs.metadata.annotations or {}).get(ROUTE_SEMANTICS) == "gateway"


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


def _destinations(virtual_services: Iterable[VirtualService], namespace: str) -> Iterator[tuple[str, set[int]]]:
    """Hosts that each VirtualService leads callers of a namespace to, with the ports it names (0 = any)."""
    for vs in virtual_services:
        out: dict[str, set[int]] = {}
        for destination in destinations(vs, namespace):
            port = destination.port.number if destination.port is not None else 0
            out.setdefault(destination.host, set()).add(port)
        yield from out.items()


def destinations(vs: VirtualService, namespace: str) -> list[Destination]:
    """Every destination that a VirtualService names for callers of a namespace, mirrors included."""
    out = []
    for http in vs.spec.http:
        if not _for_callers_of(http, namespace):
            continue
        out += [route.destination for route in http.route if route.destination is not None]
        out += [http.mirror] if http.mirror is not None else []
        out += [mirror.destination for mirror in http.mirrors if mirror.destination is not None]
    for tls in vs.spec.tls:
        out += [route.destination for route in tls.route if route.destination is not None]
    for tcp in vs.spec.tcp:
        out += [route.destination for route in tcp.route if route.destination is not None]
    return out


def _for_callers_of(http: HTTPRoute, namespace: str) -> bool:
    """Whether a route can be taken from a namespace: the last match that names another one speaks for all."""
    possible = True
    for match in http.match:
        if match.source_namespace:
            possible = match.source_namespace == namespace
            if possible:
                break
    return possible
