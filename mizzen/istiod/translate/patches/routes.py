"""Patches of route configurations, virtual hosts and routes.

Takes a route configuration, gives a new one; the one given is not written to.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2, route_pb2

from mizzen.api.istio.networking import RouteConfigurationMatch
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.cluster_names import parse_cluster_name
from mizzen.istiod.translate.patches.lists import placed
from mizzen.istiod.translate.patches.merge import merge
from mizzen.istiod.translate.patches.select import GATEWAY, OUTBOUND, Patch, Patches, patches_for

KINDS = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
VirtualHost, Route = route_components_pb2.VirtualHost, route_components_pb2.Route
ACTIONS = {"ROUTE": "route", "REDIRECT": "redirect", "DIRECT_RESPONSE": "direct_response"}


def patch_route_configuration(snap: Snapshot, node: Node, config: Any) -> Any:
    """An RDS route configuration after all patches."""
    patches = patches_for(snap, node)
    context = GATEWAY if node.is_router else OUTBOUND
    return patched(config, patches, context, gateway_ports(snap, node) if node.is_router else {})


def gateway_ports(snap: Snapshot, node: Node) -> dict[int, set[int]]:
    """Port that a gateway listens on → service ports that lead to it."""
    out: dict[int, set[int]] = {}
    for target in snap.targets(node):
        out.setdefault(target.target_port, set()).add(target.port.number)
    return out


def patched(config: Any, patches: Patches, context: str, ports: dict[int, set[int]]) -> Any:
    """A route configuration after the patches of one context."""
    chosen = {
        kind: [
            p for p in patches.get(kind, ()) if p.in_context(context) and _means_config(p, config.name, context, ports)
        ]
        for kind in KINDS
    }
    if not any(chosen.values()):
        return config
    out = route_pb2.RouteConfiguration()
    out.CopyFrom(config)
    for patch in chosen["ROUTE_CONFIGURATION"]:
        if patch.merges:
            merge(out, patch.value, patch.replaces_lists)
    hosts = [host for one in out.virtual_hosts if (host := _host(one, chosen)) is not None]
    hosts += [patch.value for patch in chosen["VIRTUAL_HOST"] if patch.adds]
    del out.virtual_hosts[:]
    out.virtual_hosts.extend(hosts)
    return out


def _means_config(patch: Patch, name: str, context: str, ports: dict[int, set[int]]) -> bool:
    match = patch.match.route_configuration
    if match is None:
        return True
    if match.name and match.name != name:
        return False
    if context != GATEWAY:
        return not match.port_number or match.port_number == _port(name)
    number, port_name, gateway = gateway_route_name(name)
    if match.port_number and match.port_number != number and match.port_number not in ports.get(number, ()):
        return False
    if match.port_name and match.port_name != port_name:
        return False
    return not match.gateway or match.gateway == gateway


def _port(name: str) -> int:
    if name.startswith("inbound"):
        parsed = parse_cluster_name(name)
        return parsed.port if parsed is not None else 0
    return int(name) if name.isdigit() else 0


def gateway_route_name(name: str) -> tuple[int, str, str]:
    """Port, port name and `namespace/name` of the Gateway that `http.80` or `https.443.https.gw.ns` is for."""
    parts = name.split(".")
    if name.startswith("http.") and len(parts) > 1 and parts[1].isdigit():
        return int(parts[1]), "", ""
    if name.startswith("https.") and len(parts) >= 5 and parts[1].isdigit():
        return int(parts[1]), parts[2], f"{parts[4]}/{parts[3]}"
    return 0, "", ""


def _host(host: Any, chosen: Patches) -> Any:
    """A virtual host after patches; None when one removes it."""
    for patch in chosen["VIRTUAL_HOST"]:
        if patch.adds or not _means_host(patch.match.route_configuration, host):
            continue
        if patch.operation == "REMOVE":
            return None
        if patch.operation == "REPLACE":
            host = VirtualHost()
            host.CopyFrom(patch.value)
        elif patch.merges:
            merge(host, patch.value, patch.replaces_lists)
    routes = _routes(list(host.routes), host, chosen["HTTP_ROUTE"])
    if routes is not None:
        del host.routes[:]
        host.routes.extend(routes)
    return host


def _means_host(match: RouteConfigurationMatch | None, host: Any) -> bool:
    vhost = match.vhost if match is not None else None
    if vhost is None:
        return True
    if vhost.name and vhost.name != host.name:
        return False
    return not vhost.domain_name or vhost.domain_name in host.domains


def _routes(routes: list[Any], host: Any, patches: list[Patch]) -> list[Any] | None:
    """The routes of a host after patches; None when nothing changes."""
    chosen = [patch for patch in patches if _means_host(patch.match.route_configuration, host)]
    if not chosen:
        return None
    copies = []
    for route in routes:
        copy = Route()
        copy.CopyFrom(route)
        copies.append(copy)
    out = [route for route in copies if not _changed(route, chosen)]
    for patch in chosen:
        if patch.merges or patch.operation == "REMOVE":
            continue
        match = patch.match.route_configuration
        named = match is not None and match.vhost is not None and match.vhost.route is not None
        means = (lambda route, match=match: _means_route(match, route)) if named else None
        out = placed(out, patch.operation, patch.value, means)
    return out


def _changed(route: Any, patches: list[Patch]) -> bool:
    """Merge what is to be merged into a route; whether it is to be removed instead."""
    for patch in patches:
        if not _means_route(patch.match.route_configuration, route):
            continue
        if patch.operation == "REMOVE":
            return True
        if patch.merges:
            merge(route, patch.value, patch.replaces_lists)
    return False


def _means_route(match: RouteConfigurationMatch | None, route: Any) -> bool:
    wanted = match.vhost.route if match is not None and match.vhost is not None else None
    if wanted is None:
        return True
    if wanted.action != "ANY" and route.WhichOneof("action") != ACTIONS[wanted.action]:
        return False
    return not wanted.name or wanted.name == route.name
