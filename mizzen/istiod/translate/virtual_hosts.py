"""Virtual hosts of a sidecar's route configuration: VirtualServices' hosts and the services that none of them covers.

Takes an egress listener's services and VirtualServices and a RouteScope, gives virtual hosts in order of precedence.
Not here: the catch-all (routes.py), gateways (gateway_routes.py), the routes inside (route_virtual_service.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec
from envoy.config.route.v3 import route_components_pb2 as routes
from google.protobuf.duration_pb2 import Duration as PbDuration

from mizzen.api.istio.destination_rule import ConsistentHashLB
from mizzen.api.istio.virtual_service import HTTPRetry, VirtualService
from mizzen.istiod.hostname import is_wildcard, subset_of
from mizzen.istiod.registry.model import Resolution, Service, ServicePort
from mizzen.istiod.translate.addresses import in_authority
from mizzen.istiod.translate.route_policies import hash_policy, retry_policy
from mizzen.istiod.translate.route_scope import RouteScope, cluster_name
from mizzen.istiod.translate.route_virtual_service import shared_routes
from mizzen.istiod.translate.virtual_host_domains import service_domains, unclaimed

HTTP_PORT = 80


class Group(msgspec.Struct, frozen=True):
    """Hosts that share routes on one port: services of the registry, and names that are only a VirtualService's."""

    port: int
    routes: Sequence[routes.Route]
    services: tuple[Service, ...] = ()
    hosts: tuple[str, ...] = ()


class HostOptions(msgspec.Struct, frozen=True):
    """dns_domain: the proxy's; address: a service's virtual IP for it; service_hash: the hash that a service port's rule
    asks for; every_port: the listener serves all ports (an HTTP proxy, a socket)."""

    dns_domain: str
    address: Callable[[Service], str]
    service_hash: Callable[[Service, ServicePort], ConsistentHashLB | None]
    every_port: bool = False
    attempt_count: bool = True


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
    services: Mapping[str, Service],
    scope: RouteScope,
    options: HostOptions,
) -> list[routes.VirtualHost]:
    """The virtual hosts of one listener, sorted by name.

    virtual_services: in order of precedence; services: by host, with only the listener's port (all with every_port).
    """
    groups = _virtual_service_groups(virtual_services, services, scope)
    covered = {svc.host for group in groups for svc in group.services}
    for host, svc in services.items():
        if host not in covered and svc.resolution is not Resolution.ALIAS:
            groups += [_service_group(svc, port, scope, options) for port in svc.ports if carries_http(port)]
    out = _Hosts(options).build(groups)
    return sorted(out, key=lambda host: host.name)


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


def _service_group(svc: Service, port: ServicePort, scope: RouteScope, options: HostOptions) -> Group:
    return Group(
        port.number, default_routes(svc.host, port.number, options.service_hash(svc, port), scope.retries), (svc,)
    )


@lru_cache(maxsize=65536)
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
    """Builds virtual hosts group by group; a name or domain that an earlier one has is not given twice."""

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self.names: set[str] = set()
        self.claimed: set[str] = set()
        self.known: set[str] = set()

    def build(self, groups: Iterable[Group]) -> list[routes.VirtualHost]:
        groups = [group for group in groups if group.routes]
        for group in groups:
            for svc in group.services:
                self.known |= {svc.host, f"{svc.host}:{group.port}"}
        found = []
        for group in groups:
            found += [self._host(group, host, None) for host in group.hosts]
            found += [self._host(group, svc.host, svc) for svc in group.services]
        return [host for host in found if host is not None]

    def _host(self, group: Group, name: str, svc: Service | None) -> routes.VirtualHost | None:
        full_name = f"{in_authority(name)}:{group.port}"
        if full_name in self.names:
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
        if self.options.every_port and group.port != HTTP_PORT:
            domains = [domain for domain in domains if domain.endswith(f":{group.port}")]
        if not domains:
            return None
        return _virtual_host(full_name, tuple(domains), group.routes, self.options.attempt_count)


_made: dict[tuple[str, tuple[str, ...], bool, int], tuple[Sequence[routes.Route], routes.VirtualHost]] = {}
MAX_KNOWN = 65536


def _virtual_host(
    name: str, domains: tuple[str, ...], given: Sequence[routes.Route], attempts: bool
) -> routes.VirtualHost:
    """The message; the same one again for the same route list. It is shared: never write to it."""
    key = (name, domains, attempts, id(given))
    known = _made.get(key)
    if known is not None and known[0] is given:
        return known[1]
    made = routes.VirtualHost(name=name, domains=domains, routes=given, include_request_attempt_count=attempts)
    if len(_made) >= MAX_KNOWN:
        _made.clear()
    _made[key] = (given, made)
    return made
