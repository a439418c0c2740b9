"""Which namespaces make a difference to the proxies in them: those that configuration is in, or that it names.

Proxies of all other namespaces see the mesh alike, so that they can share what they are served. Takes a
snapshot's objects, gives a set of names; kinds whose objects are the same as last time are not read again. Not
here: what a difference is (translate).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mizzen.api import kinds
from mizzen.istiod.objects import Objects

ISTIO_KINDS = tuple(kind.kind for kind in kinds.ISTIO_KINDS)
KINDS = (*ISTIO_KINDS, "Service", "K8sGateway", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")


class NamedNamespaces:
    """`update` with each snapshot's objects; `names` are the namespaces that matter."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self._known: dict[str, tuple[Any, frozenset[str]]] = {}

    def update(self, objects: Objects) -> frozenset[str]:
        """The namespaces that have begun or ceased to matter."""
        changed = False
        for kind in KINDS:
            table = objects.table(kind)
            known = self._known.get(kind)
            if known is not None and (known[0] is table or (not table and not known[1])):
                continue
            found = frozenset(_of_kind(kind, table.values(), table))
            changed = changed or known is None or known[1] != found
            self._known[kind] = (table, found)
        if not changed:
            return frozenset()
        before, self.names = self.names, frozenset().union(*(found for _, found in self._known.values()))
        return before ^ self.names


def _of_kind(kind: str, objects: Iterable[Any], keys: Iterable[tuple[str, str]]) -> Iterator[str]:
    for namespace, _ in keys:
        yield namespace
    mentions = MENTIONS.get(kind)
    if mentions is not None:
        for obj in objects:
            yield from mentions(obj)


def _service(obj: Any) -> Iterator[str]:
    exported = (obj.metadata.annotations or {}).get("networking.istio.io/exportTo", "")
    yield from (name.strip() for name in exported.split(","))


def _exported(obj: Any) -> Iterator[str]:
    yield from obj.spec.export_to


def _service_entry(obj: Any) -> Iterator[str]:
    yield from obj.spec.export_to
    for host in obj.spec.hosts:  # a host within a namespace's domain has a short name there
        yield _namespace_in(host)


def _virtual_service(obj: Any) -> Iterator[str]:
    yield from obj.spec.export_to
    for host in obj.spec.hosts:
        yield _namespace_in(host)
    for routes in (obj.spec.http, obj.spec.tcp, obj.spec.tls):
        for route in routes:
            for match in route.match:
                yield match.source_namespace


def _namespace_in(host: str) -> str:
    return host.partition(".svc.")[0].rpartition(".")[2] if ".svc." in host else ""


MENTIONS: dict[str, Callable[[Any], Iterator[str]]] = {
    "Service": _service,
    "ServiceEntry": _service_entry,
    "VirtualService": _virtual_service,
    "DestinationRule": _exported,
}
