"""VirtualServices by gateway and namespace, with every short name resolved and delegates merged into their roots.

Takes the objects, gives VirtualService structs whose hosts, destinations and gateways are fully qualified.
Not here: how delegates merge (translate/delegates.py), which hosts a Sidecar imports (scope.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from mizzen.api.istio.networking import Destination, HTTPRoute, VirtualService
from mizzen.istiod.hostname import resolve_host
from mizzen.istiod.objects import Key, by_age
from mizzen.istiod.snapshot.visibility import Exports

MESH = "mesh"
R = TypeVar("R")
Delegates = Callable[[tuple[VirtualService, ...]], tuple[VirtualService, ...]]


class VirtualServices:
    """The index. `every`: all that take part, oldest first, delegates merged into their roots."""

    def __init__(self) -> None:
        self.resolved: dict[Key, tuple[Any, VirtualService]] = {}
        self.every: tuple[VirtualService, ...] = ()
        self._by_gateway: dict[str, Exports[VirtualService]] = {}

    @classmethod
    def build(
        cls,
        objects: Mapping[Key, Any],
        default_export: Iterable[str],
        config_domain: str,
        merge_delegates: Delegates,
        before: VirtualServices | None = None,
    ) -> VirtualServices:
        """before: an index of earlier objects, from which what did not change is taken over."""
        new = cls()
        old = before.resolved if before is not None else {}
        for key, obj in objects.items():
            known = old.get(key)
            new.resolved[key] = known if known is not None and known[0] is obj else (obj, resolve(obj, config_domain))
        new.every = merge_delegates(tuple(by_age(pair[1] for pair in new.resolved.values())))
        default = tuple(default_export)
        for vs in new.every:
            for gateway in dict.fromkeys(vs.spec.gateways or (MESH,)):
                exports = new._by_gateway.setdefault(gateway, Exports())
                exports.add(vs, vs.metadata.namespace or "default", vs.spec.export_to, default)
        return new

    def for_gateway(self, gateway: str, namespace: str) -> list[VirtualService]:
        """VirtualServices of a gateway (`ns/name` or `mesh`) that proxies of a namespace see."""
        exports = self._by_gateway.get(gateway)
        return exports.seen_from(namespace) if exports else []


def gateway_name(name: str, namespace: str) -> str:
    """A gateway reference as `ns/name`: `mesh` stays, `name` gets the namespace, `name.ns.svc…` is turned round."""
    if name == MESH or "/" in name:
        own = name.removeprefix("./")
        return f"{namespace}/{own}" if own != name else name
    if "." in name:
        first, second, *_ = name.split(".")
        return f"{second}/{first}"
    return f"{namespace}/{name}"


def resolve(vs: VirtualService, config_domain: str) -> VirtualService:
    """The same VirtualService with fully qualified hosts, destinations and gateways."""
    namespace = vs.metadata.namespace or "default"
    spec = vs.spec

    def host(name: str) -> str:
        return resolve_host(name, namespace, config_domain)

    def gateways(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(gateway_name(name, namespace) for name in names)

    def match(m: R) -> R:
        return msgspec.structs.replace(m, gateways=gateways(m.gateways)) if m.gateways else m  # type: ignore[type-var,attr-defined]

    def layer4(route: R) -> R:
        return msgspec.structs.replace(  # type: ignore[type-var]
            route,
            match=tuple(map(match, route.match)),  # type: ignore[attr-defined]
            route=tuple(_with_host(r, host) for r in route.route),  # type: ignore[attr-defined]
        )

    new = msgspec.structs.replace(
        spec,
        hosts=tuple(map(host, spec.hosts)),
        gateways=gateways(spec.gateways),
        http=tuple(_http(route, host, match) for route in spec.http),
        tls=tuple(map(layer4, spec.tls)),
        tcp=tuple(map(layer4, spec.tcp)),
    )
    return msgspec.structs.replace(vs, spec=new)


def _with_host(route: R, host: Callable[[str], str]) -> R:
    destination: Destination | None = route.destination  # type: ignore[attr-defined]
    if destination is None:
        return route
    return msgspec.structs.replace(route, destination=_destination(destination, host))  # type: ignore[type-var]


def _destination(destination: Destination, host: Callable[[str], str]) -> Destination:
    return msgspec.structs.replace(destination, host=host(destination.host))


def _http(route: HTTPRoute, host: Callable[[str], str], match: Callable[[Any], Any]) -> HTTPRoute:
    return msgspec.structs.replace(
        route,
        match=tuple(map(match, route.match)),
        route=tuple(_with_host(r, host) for r in route.route),
        mirror=_destination(route.mirror, host) if route.mirror is not None else None,
        mirrors=tuple(_with_host(m, host) for m in route.mirrors),
    )
