"""References between objects of the Gateway API: backends, grants across namespaces, hosts of services.

Takes the table of objects, gives destinations of Istio's routes. Not here: what routes do with them.
Source: gateway.networking.k8s.io ReferenceGrant, BackendObjectReference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from mizzen.api.gateway_api import GROUP
from mizzen.api.istio.meta import PortSelector
from mizzen.api.istio.virtual_service import Destination
from mizzen.istiod.objects import Objects

ISTIO_GROUP = "networking.istio.io"
NO_BACKEND = "invalid.backend.local"
"""The host of a reference that is not allowed or not understood: no cluster has it, so that requests get a 500."""


class Backend(Protocol):
    """The part of every backend reference that says what it refers to."""

    name: str
    group: str
    kind: str
    namespace: str | None
    port: int | None


class Referrer(msgspec.Struct, frozen=True):
    """Whose references they are: the group is always the Gateway API's."""

    kind: str
    namespace: str


class References:
    """Resolves references with the grants that are there."""

    def __init__(self, objects: Objects, domain: str) -> None:
        self.objects = objects
        self.domain = domain
        self._grants: set[tuple[str, str, str, str, str, str | None]] = set()
        for (namespace, _), grant in objects.table("ReferenceGrant").items():
            for source in grant.spec.from_:
                for to in grant.spec.to:
                    self._grants.add((source.kind, source.namespace, namespace, to.group, to.kind, to.name))

    def allowed(self, referrer: Referrer, group: str, kind: str, namespace: str, name: str) -> bool:
        """Whether an object of another namespace may be referred to; one's own always may."""
        if namespace == referrer.namespace:
            return True
        start = (referrer.kind, referrer.namespace, namespace, group, kind)
        return (*start, None) in self._grants or (*start, name) in self._grants

    def service_host(self, name: str, namespace: str) -> str:
        """The host name of a Kubernetes Service."""
        return f"{name}.{namespace}.svc.{self.domain}"

    def destination(self, ref: Backend, referrer: Referrer) -> Destination:
        """Where a backend reference leads: a Service, or a host name of the registry."""
        namespace = ref.namespace or referrer.namespace
        port = PortSelector(number=ref.port) if ref.port is not None else None
        if ref.group == ISTIO_GROUP and ref.kind == "Hostname":
            return Destination(host=ref.name, port=port)
        known = ref.group == "" and ref.kind == "Service" and port is not None
        if not known or not self.allowed(referrer, ref.group, ref.kind, namespace, ref.name):
            return Destination(host=NO_BACKEND, port=port)
        return Destination(host=self.service_host(ref.name, namespace), port=port)

    def mesh_hosts(self, ref: Any, namespace: str) -> tuple[str, ...]:
        """The hosts that a route's parent stands for when it is a Service or ServiceEntry; none for other parents."""
        owner = ref.namespace or namespace
        if ref.group == "" and ref.kind == "Service":
            return (self.service_host(ref.name, owner),)
        if ref.group == ISTIO_GROUP and ref.kind == "ServiceEntry":
            entry = self.objects.table("ServiceEntry").get((owner, ref.name))
            return tuple(entry.spec.hosts) if entry is not None else ()
        return ()


PARTS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestMirror": "request_mirror",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "CORS": "cors",
    "ExtensionRef": "extension_ref",
    "ExternalAuth": "external_auth",
}
"""The field of a filter that its type asks for."""


def is_whole(one: Any) -> bool:
    """Whether a filter says what its type asks for; the API's own rules see to that, where they are."""
    return getattr(one, PARTS.get(one.type, ""), None) is not None


def is_gateway(ref: Any) -> bool:
    """Whether a route's parent is a Gateway."""
    return bool(ref.group == GROUP and ref.kind == "Gateway")


def weighted(refs: Iterable[Any]) -> list[tuple[Any, int]]:
    """Backends that get traffic, with their weights; a single one needs none."""
    found = [(ref, ref.weight) for ref in refs if ref.weight]
    return [(found[0][0], 0)] if len(found) == 1 else found
