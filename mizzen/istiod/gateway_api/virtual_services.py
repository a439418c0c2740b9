"""Routes of the Gateway API attached to their parents: one VirtualService for each listener (or service) and host.

Takes the table of objects and the listeners, gives VirtualServices whose names are fully qualified. Routes that share a
listener and host are merged, the most specific match first. Not here: what a rule becomes (http_rules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

from mizzen.api.istio.virtual_service import (
    HTTPMatchRequest,
    HTTPRoute,
    L4MatchAttributes,
    RouteDestination,
    TCPRoute,
    TLSMatchAttributes,
    TLSRoute,
    VirtualService,
    VirtualServiceSpec,
)
from mizzen.istiod.gateway_api.gateways import Listener
from mizzen.istiod.gateway_api.http_rules import grpc_rules, http_rules
from mizzen.istiod.gateway_api.references import References, Referrer, is_gateway, weighted
from mizzen.istiod.internal_names import MESH_GATEWAY, ROUTE_SEMANTICS
from mizzen.istiod.objects import Objects, by_age

HTTP_KINDS = (("HTTPRoute", http_rules), ("GRPCRoute", grpc_rules))


class Bundle(msgspec.Struct):
    """The rules for one parent and host. owner: the metadata of the oldest route among them."""

    name: str
    host: str
    gateway: str
    owner: ObjectMeta
    export_to: tuple[str, ...] = ()
    http: list[HTTPRoute] = []


def virtual_services(objects: Objects, listeners: Sequence[Listener], references: References) -> list[VirtualService]:
    """The VirtualServices of all routes."""
    return [
        *_http(objects, listeners, references),
        *_layer4(objects, listeners, references),
    ]


def _http(objects: Objects, listeners: Sequence[Listener], references: References) -> list[VirtualService]:
    bundles: dict[str, Bundle] = {}
    for kind, convert in HTTP_KINDS:
        for route in by_age(objects.table(kind).values()):
            rules = list(convert(route, references))
            for ref in route.spec.parent_refs:
                for bundle in _parents(route, kind, ref, listeners, references):
                    known = bundles.setdefault(bundle.name, bundle)
                    known.http += _at_port(rules, ref.port) if bundle.gateway == MESH_GATEWAY else rules
    return [_virtual_service(b, VirtualServiceSpec(http=tuple(by_precedence(b.http)))) for b in bundles.values()]


def _parents(
    route: Any, kind: str, ref: Any, listeners: Sequence[Listener], references: References
) -> Iterable[Bundle]:
    """An empty bundle for each listener or service that a parent reference means, and each host."""
    namespace = route.metadata.namespace or "default"
    if is_gateway(ref):
        key = (ref.namespace or namespace, ref.name)
        for listener in listeners:
            if listener.key == key and listener.takes(ref, kind, namespace, route.spec.hostnames):
                for host in route.spec.hostnames or ("*",):
                    name = f"{listener.internal_name.replace('/', '~')}~{host}"
                    yield Bundle(name, host, listener.internal_name, route.metadata, (), [])
        return
    port = f"~{ref.port}" if ref.port is not None else ""
    producer = (ref.namespace or namespace) == namespace
    for host in references.mesh_hosts(ref, namespace):
        name = f"{namespace}{port}~{host}"
        yield Bundle(name, host, MESH_GATEWAY, route.metadata, () if producer else (".",), [])


def _at_port(rules: Iterable[HTTPRoute], port: int | None) -> list[HTTPRoute]:
    """The rules for one port of a service only."""
    if port is None:
        return list(rules)
    return [
        msgspec.structs.replace(rule, match=tuple(msgspec.structs.replace(m, port=port) for m in rule.match))
        for rule in rules
    ]


def by_precedence(rules: Iterable[HTTPRoute]) -> list[HTTPRoute]:
    """Exact paths before prefixes before regular expressions, longer before shorter, then by the number of conditions."""
    return sorted(rules, key=lambda rule: _rank(rule.match[0]) if rule.match else (1,))


def _rank(match: HTTPMatchRequest) -> tuple[int, ...]:
    uri = match.uri
    values = (uri.regex, uri.prefix, uri.exact) if uri is not None else ()
    kind = next((i for i, value in enumerate(values) if value is not None), -1)
    length = len(values[kind] or "") if kind >= 0 else 0
    return 0, -kind, -length, match.method is None, -len(match.headers), -len(match.query_params)


def _virtual_service(bundle: Bundle, spec: VirtualServiceSpec) -> VirtualService:
    meta = ObjectMeta(
        name=bundle.name,
        namespace=bundle.owner.namespace or "default",
        creationTimestamp=bundle.owner.creationTimestamp,
        annotations={ROUTE_SEMANTICS: "gateway"},
    )
    spec = msgspec.structs.replace(spec, hosts=(bundle.host,), gateways=(bundle.gateway,), export_to=bundle.export_to)
    return VirtualService(api_version="networking.istio.io/v1", kind="VirtualService", metadata=meta, spec=spec)


def _layer4(objects: Objects, listeners: Sequence[Listener], references: References) -> list[VirtualService]:
    out: list[VirtualService] = []
    for kind in ("TLSRoute", "TCPRoute"):
        for route in by_age(objects.table(kind).values()):
            for ref in route.spec.parent_refs:
                out += _layer4_parents(route, kind, ref, listeners, references)
    return out


def _layer4_parents(
    route: Any, kind: str, ref: Any, listeners: Sequence[Listener], references: References
) -> Iterable[VirtualService]:
    namespace = route.metadata.namespace or "default"
    hostnames: tuple[str, ...] = tuple(getattr(route.spec, "hostnames", ()))
    destinations = [_destinations(rule, Referrer(kind, namespace), references) for rule in route.spec.rules]
    destinations = [found for found in destinations if found]
    if not destinations:
        return
    base = f"{route.metadata.name}-{kind.removesuffix('Route').lower()}"
    if is_gateway(ref):
        key = (ref.namespace or namespace, ref.name)
        for listener in listeners:
            if listener.key == key and listener.takes(ref, kind, namespace, hostnames):
                passed = kind == "TLSRoute" and listener.gateway.spec.servers[0].tls is not None
                hosts = hostnames or ("*",)
                sni = hosts if passed and listener.gateway.spec.servers[0].tls.mode == "PASSTHROUGH" else ()  # type: ignore[union-attr]
                bundle = Bundle(f"{base}-{listener.name}", "*", listener.internal_name, route.metadata)
                yield _layer4_service(bundle, hosts, sni, destinations, None)
        return
    for host in references.mesh_hosts(ref, namespace):
        sni = (hostnames or (host,)) if kind == "TLSRoute" else ()
        bundle = Bundle(f"{base}-mesh", host, MESH_GATEWAY, route.metadata)
        yield _layer4_service(bundle, (host,), sni, destinations, ref.port)


def _destinations(rule: Any, referrer: Referrer, references: References) -> tuple[RouteDestination, ...]:
    return tuple(
        RouteDestination(destination=references.destination(ref, referrer), weight=weight)
        for ref, weight in weighted(rule.backend_refs)
    )


def _layer4_service(
    bundle: Bundle,
    hosts: tuple[str, ...],
    sni: tuple[str, ...],
    destinations: Sequence[tuple[RouteDestination, ...]],
    port: int | None,
) -> VirtualService:
    """sni: route by these names without ending TLS; empty = route what arrives."""
    if sni:
        match = TLSMatchAttributes(sni_hosts=sni, port=port or 0)
        spec = VirtualServiceSpec(tls=tuple(TLSRoute(match=(match,), route=found) for found in destinations))
    else:
        l4 = (L4MatchAttributes(port=port),) if port else ()
        spec = VirtualServiceSpec(tcp=tuple(TCPRoute(match=l4, route=found) for found in destinations))
    made = _virtual_service(bundle, spec)
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, hosts=hosts))
