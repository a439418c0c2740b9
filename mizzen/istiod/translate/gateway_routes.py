"""Virtual hosts of a gateway's route configuration: VirtualServices bound to it, merged by host.

Takes a snapshot, a proxy and a route name, gives virtual hosts. Not here: which servers there are (gateways.py).
Several VirtualServices may serve one host: their routes follow each other, catch-alls last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from envoy.config.route.v3 import route_components_pb2 as routes

from mizzen.istiod.hostname import most_specific_first, subset_of
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.consistent_hash import hash_of_destination
from mizzen.istiod.translate.gateways import BoundServer, merged_gateway
from mizzen.istiod.translate.proxy_headers import appends_forwarded_host, attempt_count
from mizzen.istiod.translate.route_match import is_catch_all
from mizzen.istiod.translate.route_scope import RouteScope
from mizzen.istiod.translate.route_virtual_service import shared_routes

Routes = list[routes.Route]


class GatewayHost(msgspec.Struct):
    """One host under construction. sources: which VirtualService and gateway each part of its routes is from."""

    port: int
    routes: Routes = []
    sources: list[tuple[str, int, int]] = []
    require_tls: bool = False


def gateway_routes(snap: Snapshot, node: Node, name: str) -> list[routes.VirtualHost]:
    """The virtual hosts of a route name, sorted by name; none when no server has it."""
    servers = merged_gateway(snap, node).by_route_name.get(name)
    if not servers:
        return []
    hosts = _merge_hosts(snap, node, servers)
    attempts = attempt_count(snap, node)
    if not hosts:
        return [routes.VirtualHost(name=f"blackhole:{servers[0].server.port.number}", domains=["*"])]
    out = [_virtual_host(names, hosts[names[0]], attempts) for names in collapse(hosts)]
    return sorted(out, key=lambda host: host.name)


def _merge_hosts(snap: Snapshot, node: Node, servers: Iterable[BoundServer]) -> dict[str, GatewayHost]:
    """Hosts of all servers that have routes, or that are to be redirected to HTTPS."""
    hosts: dict[str, GatewayHost] = {}
    made: dict[tuple[str, int, int], Routes] = {}
    for bound in servers:
        port = bound.server.port.number
        redirect = bound.server.tls is not None and bound.server.tls.https_redirect
        for vs in snap.virtual_services.for_gateway(bound.gateway, node.namespace):
            shared = intersection(hosts_for(bound.hosts, vs.metadata.namespace or "default"), vs.spec.hosts)
            if not shared:
                continue
            source = (bound.gateway, id(vs), port)
            if source not in made:
                made[source] = shared_routes(vs, _scope(snap, node, bound))
            if not made[source]:
                continue
            for host in shared:
                entry = hosts.setdefault(host, GatewayHost(port, [], []))
                entry.routes += made[source]
                entry.sources.append(source)
                entry.require_tls |= redirect
        if redirect:
            # A host keeps its namespace prefix here, as in Istio: "ns/host" matches no authority.
            for host in bound.hosts:
                hosts.setdefault(host, GatewayHost(port, [], [])).require_tls = True
    return hosts


def hosts_for(hosts: Iterable[str], namespace: str) -> list[str]:
    """A server's hosts that VirtualServices of a namespace may bind to, without namespaces."""
    out = []
    for host in hosts:
        owner, slash, name = host.rpartition("/")
        if not slash or owner in (namespace, "*"):
            out.append(name)
    return out


def intersection(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """The more specific host of each pair that overlaps, each once."""
    out: dict[str, None] = {}
    for a in ours:
        for b in theirs:
            if subset_of(a, b):
                out[a] = None
            elif subset_of(b, a):
                out[b] = None
    return list(out)


def collapse(hosts: dict[str, GatewayHost]) -> list[list[str]]:
    """Hosts with the same routes together, the most specific name first."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name in most_specific_first(hosts):
        host = hosts[name]
        groups.setdefault((host.require_tls, *host.sources), []).append(name)
    return list(groups.values())


def _virtual_host(names: list[str], host: GatewayHost, attempts: bool) -> routes.VirtualHost:
    out = routes.VirtualHost(
        name=f"{names[0]}:{host.port}",
        domains=names,
        include_request_attempt_count=attempts,
        routes=catch_alls_last(host.routes),
    )
    if host.require_tls:
        out.require_tls = routes.VirtualHost.ALL
    return out


def catch_alls_last(given: Routes) -> Routes:
    """The routes in order, those that take every request at the end."""
    return sorted(given, key=is_catch_all)


def _scope(snap: Snapshot, node: Node, bound: BoundServer) -> RouteScope:
    scope = snap.scope(node)
    return RouteScope(
        port=bound.server.port.number,
        gateways=frozenset({bound.gateway}),
        labels=node.labels,
        namespace=node.namespace,
        service=scope.by_host.get,
        hash_of=lambda destination: hash_of_destination(scope, node, destination),
        is_tls=bound.server.tls is not None,
        retries=snap.mesh.default_http_retry_policy,
        forwarded_host=appends_forwarded_host(snap, node),
    )
