"""A VirtualService's HTTP rules → envoy routes for one listener of one proxy.

Takes a VirtualService and a RouteScope, gives the routes in order. Not here: which VirtualServices and hosts
(virtual_hosts.py, gateway_routes.py), delegates (already merged in, delegates.py).
Source: envoy.config.route.v3.Route.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from envoy.config.route.v3 import route_components_pb2 as routes

from mizzen.api.istio.virtual_service import HTTPMatchRequest, HTTPRoute, VirtualService
from mizzen.istiod.generations import Generations
from mizzen.istiod.internal_names import ROUTE_SEMANTICS
from mizzen.istiod.registry.model import Service
from mizzen.istiod.translate.messages import pack
from mizzen.istiod.translate.route_actions import set_clusters, set_direct_response, set_redirect
from mizzen.istiod.translate.route_headers import apply_headers, header_changes
from mizzen.istiod.translate.route_match import is_catch_all, route_match
from mizzen.istiod.translate.route_policies import cors, fault
from mizzen.istiod.translate.route_scope import RouteScope

FAULT_FILTER = "envoy.filters.http.fault"
CORS_FILTER = "envoy.filters.http.cors"


def http_routes(virtual_service: VirtualService, scope: RouteScope) -> list[routes.Route]:
    """The routes of all rules that apply to the scope, one for each match; none after the first catch-all."""
    out: list[routes.Route] = []
    for rule in virtual_service.spec.http:
        if not rule.match:
            out.append(_route(virtual_service, rule, None, scope))
            return out
        for match in rule.match:
            if not applies(match, scope):
                continue
            route = _route(virtual_service, rule, match, scope)
            out.append(route)
            if is_catch_all(route):
                return out
    return out


class _Known(msgspec.Struct, frozen=True):
    """Routes with what they were made from, kept alive so that identities stay unique."""

    inputs: tuple[object, ...]
    routes: list[routes.Route]


_made: Generations[_Known] = Generations(4096)


def shared_routes(virtual_service: VirtualService, scope: RouteScope) -> list[routes.Route]:
    """As http_routes; the same list again when nothing that it depends on differs. Never write to it.

    Proxies of all namespaces and later snapshots share it: objects are compared by identity, labels only where they count.
    """
    inputs: list[object] = [virtual_service, scope.retries]
    selects = False
    for rule in virtual_service.spec.http:
        for entry in rule.route:
            inputs += (scope.service(entry.destination.host), scope.hash_of(entry.destination))
        mirrors = [mirror.destination for mirror in rule.mirrors]
        inputs += [scope.service(m.host) for m in ((*mirrors, rule.mirror) if rule.mirror is not None else mirrors)]
        selects |= any(match.source_labels or match.source_namespace for match in rule.match)
    client = (scope.namespace, tuple(sorted(scope.labels.items()))) if selects else None
    key = (scope.port, scope.gateways, scope.is_tls, scope.forwarded_host, client, *map(_identity, inputs))
    known = _made.get(key)
    if known is None:
        known = _made.put(key, _Known(tuple(inputs), http_routes(virtual_service, scope)))
    return known.routes


def _identity(value: object) -> object:
    """What tells whether an input is the same. A service counts by the part that routes depend on."""
    if isinstance(value, Service):
        return value.external_name, value.ports[0].number if len(value.ports) == 1 else 0
    return id(value)


def applies(match: HTTPMatchRequest, scope: RouteScope) -> bool:
    """Whether the conditions that are settled before any request hold: port, gateways, source labels and namespace."""
    if match.port and match.port != scope.port:
        return False
    if match.gateways:
        return not scope.gateways.isdisjoint(match.gateways)
    if match.source_namespace and match.source_namespace != scope.namespace:
        return False
    return has_labels(scope.labels, match.source_labels)


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether labels hold all wanted ones."""
    return all(labels.get(key) == value for key, value in wanted.items())


def semantics(virtual_service: VirtualService) -> str:
    """`gateway` or `ingress` for routes made of the Gateway API's or an Ingress's objects, else ""."""
    annotations = virtual_service.metadata.annotations or {}
    return str(annotations.get(ROUTE_SEMANTICS, ""))


def config_path(virtual_service: VirtualService) -> str:
    """The path that names a VirtualService in metadata."""
    meta = virtual_service.metadata
    return f"/apis/networking.istio.io/v1/namespaces/{meta.namespace}/virtual-service/{meta.name}"


def _route(
    virtual_service: VirtualService, rule: HTTPRoute, match: HTTPMatchRequest | None, scope: RouteScope
) -> routes.Route:
    kind = semantics(virtual_service)
    out = routes.Route(name=rule.name, match=route_match(match, path_separated=bool(kind)))
    if match is not None:
        out.name = f"{rule.name}.{match.name}" if match.name else rule.name
        out.stat_prefix = match.stat_prefix
    out.metadata.filter_metadata["istio"]["config"] = config_path(virtual_service)
    changes = header_changes(rule.headers)
    apply_headers(changes, out)
    if rule.redirect is not None:
        set_redirect(out, rule.redirect, scope.port, scope.is_tls, kind == "gateway")
    elif rule.direct_response is not None:
        set_direct_response(out, rule.direct_response)
    else:
        set_clusters(out, rule, scope, changes.authority, kind == "gateway")
    out.decorator.operation = operation(out, virtual_service.metadata.name or "", scope.port)
    _set_filters(out, rule)
    return out


def _set_filters(out: routes.Route, rule: HTTPRoute) -> None:
    injected = fault(rule.fault) if rule.fault is not None else None
    if injected is not None:
        out.typed_per_filter_config[FAULT_FILTER].CopyFrom(pack(injected))
    if rule.cors_policy is not None:
        out.typed_per_filter_config[CORS_FILTER].CopyFrom(pack(cors(rule.cors_policy)))


def operation(route: routes.Route, name: str, port: int) -> str:
    """The trace operation: the single cluster's host and port, else the VirtualService's name, and the path."""
    match = route.match
    kind = match.WhichOneof("path_specifier")
    if kind == "prefix":
        path = match.prefix + "*"
    elif kind == "path":
        path = match.path
    elif kind == "safe_regex":
        path = match.safe_regex.regex
    else:
        path = "/*"
    parts = route.route.cluster.split("|") if route.HasField("route") else []
    if len(parts) == 4:
        return f"{parts[3]}:{parts[1]}{path}"
    return f"{name}:{port}{path}"
