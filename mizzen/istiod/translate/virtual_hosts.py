"""Virtual hosts of a sidecar's route configuration: VirtualServices' hosts and the services that none of them covers.

Takes an egress listener's services and VirtualServices and a RouteScope, gives virtual hosts in order of precedence.
Not here: the catch-all (routes.py), gateways (gateway_routes.py), the routes inside (route_virtual_service.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
from envoy.config.route.v3 import route_components_pb2 as routes
from google.protobuf.duration_pb2 import Duration as PbDuration

from mizzen.api.istio.destination_rule import ConsistentHashLB
from mizzen.api.istio.virtual_service import HTTPRetry, VirtualService
from mizzen.istiod.generations import Generations
from mizzen.istiod.hostname import is_wildcard, subset_of
from mizzen.istiod.registry.model import Resolution, Service, ServicePort
from mizzen.istiod.translate.addresses import in_authority
from mizzen.istiod.translate.port_services import NO_NAMESPACE, PortServices
from mizzen.istiod.translate.route_policies import hash_policy, retry_policy
from mizzen.istiod.translate.route_scope import RouteScope, cluster_name
from mizzen.istiod.translate.route_virtual_service import shared_routes
from mizzen.istiod.translate.virtual_host_domains import service_domains, unclaimed
from mizzen.istiod.translate.virtual_host_entries import HostEntry, host_entry

HTTP_PORT = 80


class Group(msgspec.Struct, frozen=True):
    """Hosts that share routes on one port: services of the registry, and names that are only a VirtualService's."""

    port: int
    routes: Sequence[routes.Route]
    services: tuple[Service, ...] = ()
    hosts: tuple[str, ...] = ()


class HostOptions(msgspec.Struct, frozen=True):
    """dns_domain: the proxy's; address: a service's virtual IP for it, which depends on `variant` alone; service_hash: the
    hash that a service port's rule asks for, only asked when `hashed`; every_port: the listener serves all ports."""

    dns_domain: str
    address: Callable[[Service], str]
    variant: Hashable
    service_hash: Callable[[Service, ServicePort], ConsistentHashLB | None]
    hashed: bool = False
    every_port: bool = False
    attempt_count: bool = True

    @property
    def dns_namespace(self) -> str:
        """The namespace whose services may be asked for by their names alone."""
        return self.dns_domain.partition(".svc.")[0] if ".svc." in self.dns_domain else NO_NAMESPACE


def carries_http(port: ServicePort) -> bool:
    """Whether requests of this port are routed: it is HTTP, or HTTP may be detected on it."""
    return port.protocol.is_http or port.protocol.is_unsupported


def for_services(virtual_services: Iterable[VirtualService], hosts: Mapping[str, Service]) -> list[VirtualService]:
    """Those that name one of the hosts, exactly or by a wildcard."""

    def names_one(pattern: str) -> bool:
        return pattern in hosts or (is_wildcard(pattern) and any(subset_of(host, pattern) for host in hosts))

    return [vs for vs in virtual_services if any(map(names_one, vs.spec.hosts))]


def virtual_hosts(
    virtual_services: Sequence[VirtualService],
    services: PortServices,
    scope: RouteScope,
    options: HostOptions,
) -> list[HostEntry]:
    """The virtual hosts of one listener, sorted by name.

    virtual_services: in order of precedence; services: with only the listener's port (all ports with every_port).
    What no VirtualService touches is built once for all proxies that it is equal for.
    """
    groups = _virtual_service_groups(virtual_services, services.by_host, scope)
    base = _base(services, scope, options)
    if not groups:
        return base.entries
    covered = {svc.host for group in groups for svc in group.services}
    builder = _Hosts(options, base.known)
    if base.owners is None:
        groups += [group for group in base.groups if group.services[0].host not in covered]
        return sorted(builder.build(groups), key=lambda entry: entry.name)
    made = builder.build(groups)
    rest = base.rest(covered, builder)
    return sorted([*made, *rest], key=lambda entry: entry.name)


def _virtual_service_groups(
    virtual_services: Sequence[VirtualService], services: Mapping[str, Service], scope: RouteScope
) -> list[Group]:
    owners = _wildcard_owners(virtual_services, services)
    groups: list[Group] = []
    for vs in virtual_services:
        found = shared_routes(vs, scope)
        if not found:
            continue
        hosts, covered = _split_hosts(vs, services, owners)
        by_port: dict[int, list[Service]] = {}
        for svc in covered:
            for port in svc.ports:
                if carries_http(port):
                    by_port.setdefault(port.number, []).append(svc)
        if not by_port and scope.port == HTTP_PORT:
            by_port[HTTP_PORT] = []
        groups += [Group(port, found, tuple(here), tuple(hosts)) for port, here in by_port.items()]
    return groups


def _wildcard_owners(
    virtual_services: Sequence[VirtualService], services: Mapping[str, Service]
) -> dict[str, VirtualService]:
    """The VirtualService with the most specific host for each service; asked only when there are wildcards."""
    exact: dict[str, VirtualService] = {}
    wild: dict[str, VirtualService] = {}
    for vs in virtual_services:
        for host in vs.spec.hosts:
            (wild if is_wildcard(host) else exact).setdefault(host, vs)
    if not wild:
        return {}
    out: dict[str, VirtualService] = {}
    longest_first = sorted(wild, key=len, reverse=True)
    for host in services:
        pattern = next((p for p in longest_first if subset_of(host, p)), None)
        owner = exact.get(host) or (wild[pattern] if pattern is not None else None)
        if owner is not None:
            out[host] = owner
    return out


def _split_hosts(
    vs: VirtualService, services: Mapping[str, Service], owners: Mapping[str, VirtualService]
) -> tuple[list[str], list[Service]]:
    """Hosts that are no service's, and the services that the others mean."""
    hosts = [h for h in vs.spec.hosts if not is_wildcard(h) and h not in services]
    covered = [services[h] for h in vs.spec.hosts if not is_wildcard(h) and h in services]
    for pattern in vs.spec.hosts:
        if not is_wildcard(pattern):
            continue
        matching = [svc for host, svc in services.items() if owners.get(host) is vs and subset_of(host, pattern)]
        covered += [svc for svc in matching if svc not in covered]
        if not matching:
            hosts.append(pattern)
    return hosts, covered


class _Base:
    """The virtual hosts of all services as if there were no VirtualService.

    owners: the group that each domain belongs to; None when services dispute domains, so that it depends on the others.
    """

    def __init__(self, groups: list[Group], options: HostOptions) -> None:
        self.groups = groups
        self.known = frozenset(
            name for group in groups for svc in group.services for name in (svc.host, f"{svc.host}:{group.port}")
        )
        builder = _Hosts(options, self.known)
        made = [(group, builder.host(group, group.services[0].host, group.services[0])) for group in groups]
        self.made = sorted(
            ((group, entry) for group, entry in made if entry is not None), key=lambda pair: pair[1].name
        )
        self.entries = [entry for _, entry in self.made]
        self.owners: dict[str, str] | None = None
        if builder.disputes == 0:
            self.owners = {domain.lower(): entry.name for entry in self.entries for domain in entry.domains}

    def rest(self, covered: set[str], builder: _Hosts) -> list[HostEntry]:
        """The hosts that remain beside those that the builder has made, less the domains that these took."""
        owners = self.owners or {}
        touched = {owners[domain] for domain in builder.claimed if domain in owners} | builder.names
        out = []
        for group, entry in self.made:
            svc = group.services[0]
            if svc.host in covered:
                continue
            if entry.name in touched:
                again = builder.host(group, svc.host, svc)
                if again is not None:
                    out.append(again)
            else:
                out.append(entry)
        return out


_bases: Generations[tuple[object, _Base]] = Generations(128)


def _base(services: PortServices, scope: RouteScope, options: HostOptions) -> _Base:
    """What services without VirtualServices get, made once for equal inputs."""
    hashes = (
        [options.service_hash(svc, port) for svc in services.by_host.values() for port in svc.ports]
        if options.hashed
        else []
    )
    near = options.dns_namespace if options.dns_namespace in services.namespaces else None
    key = (
        id(services),
        near,
        options.variant,
        options.every_port,
        options.attempt_count,
        id(scope.retries),
        *map(id, hashes),
    )
    known = _bases.get(key)
    if known is None:
        groups = [
            _service_group(svc, port, scope, options)
            for svc in services.by_host.values()
            if svc.resolution is not Resolution.ALIAS
            for port in svc.ports
            if carries_http(port)
        ]
        alive = (services, scope.retries, hashes)  # their ids are in the key
        known = _bases.put(key, (alive, _Base(groups, options)))
    return known[1]


def _service_group(svc: Service, port: ServicePort, scope: RouteScope, options: HostOptions) -> Group:
    hash_lb = options.service_hash(svc, port) if options.hashed else None
    return Group(port.number, default_routes(svc.host, port.number, hash_lb, scope.retries), (svc,))


@lru_cache(maxsize=16384)
def default_routes(
    host: str, port: int, hash_lb: ConsistentHashLB | None, retries: HTTPRetry | None
) -> tuple[routes.Route, ...]:
    """The one route of a service without VirtualService. The answer is shared: never write to it."""
    out = routes.Route(name="default", match=routes.RouteMatch(prefix="/"))
    out.decorator.operation = f"{host}:{port}/*"
    action = out.route
    action.cluster = cluster_name(port, "", host)
    action.timeout.CopyFrom(PbDuration())
    action.max_grpc_timeout.CopyFrom(PbDuration())
    policy = retry_policy(retries)
    if policy is not None:
        action.retry_policy.CopyFrom(policy)
    hashed = hash_policy(hash_lb) if hash_lb is not None else None
    if hashed is not None:
        action.hash_policy.append(hashed)
    return (out,)


class _Hosts:
    """Builds virtual hosts group by group; a name or domain that an earlier one has is not given twice.

    known: names of all services; disputes: how many domains could not be given because they were taken.
    """

    def __init__(self, options: HostOptions, known: Collection[str]) -> None:
        self.options = options
        self.names: set[str] = set()
        self.claimed: set[str] = set()
        self.known = known
        self.disputes = 0

    def build(self, groups: Iterable[Group]) -> list[HostEntry]:
        found = []
        for group in groups:
            found += [self.host(group, host, None) for host in group.hosts]
            found += [self.host(group, svc.host, svc) for svc in group.services]
        return [host for host in found if host is not None]

    def host(self, group: Group, name: str, svc: Service | None) -> HostEntry | None:
        """The virtual host of a name; None when an earlier one has its name or all of its domains."""
        full_name = f"{in_authority(name)}:{group.port}"
        if full_name in self.names:
            self.disputes += 1
            return None
        self.names.add(full_name)
        port = group.port if self.options.every_port else None
        wanted: tuple[str, ...]
        short: Collection[str] = ()
        if svc is not None:
            wanted, short = service_domains(svc, self.options.address(svc), self.options.dns_domain, port)
        else:
            plain = in_authority(name)
            wanted = (plain,) if port is None else (plain, f"{plain}:{port}")
        domains = unclaimed(wanted, self.claimed, short, self.known)
        self.disputes += len(wanted) - len(domains)
        if self.options.every_port and group.port != HTTP_PORT:
            domains = [domain for domain in domains if domain.endswith(f":{group.port}")]
        if not domains:
            return None
        return _entry(full_name, tuple(domains), group.routes, self.options.attempt_count)


_made: Generations[tuple[Sequence[routes.Route], HostEntry]] = Generations(16384)


def _entry(name: str, domains: tuple[str, ...], given: Sequence[routes.Route], attempts: bool) -> HostEntry:
    """The host; the same one again for the same route list."""
    key = (name, domains, attempts, id(given))
    known = _made.get(key)
    if known is not None and known[0] is given:
        return known[1]
    message = routes.VirtualHost(name=name, domains=domains, routes=given, include_request_attempt_count=attempts)
    return _made.put(key, (given, host_entry(message)))[1]
