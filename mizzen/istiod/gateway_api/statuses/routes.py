"""The status of routes: for each parent that is ours whether the route is attached, and whether its references lead
somewhere.

Takes a route and the listeners, gives {"parents": […]}; counts the routes of each listener on the way. A parent that is
a Gateway of another controller, or that is not there, gets no word from us.
Source: gateway.networking.k8s.io RouteParentStatus, RouteConditionReason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mizzen.istiod.gateway_api.gateways import (
    ACCEPTED,
    CONTROLLER,
    NO_HOSTNAME,
    NO_PARENT,
    NOT_ALLOWED,
    RESOLVED_REFS,
    Attachment,
    Problem,
)
from mizzen.istiod.gateway_api.references import ISTIO_GROUP, References, Referrer, is_gateway, is_whole
from mizzen.istiod.gateway_api.statuses.conditions import from_problems, generation_of
from mizzen.istiod.objects import Key, Objects

ROUTES = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute")
UNSUPPORTED_FILTERS = ("ExtensionRef", "ExternalAuth")
NEAREST = (NO_HOSTNAME, NOT_ALLOWED, NO_PARENT)  # of the reasons of several listeners the one that came farthest speaks


class Attached:
    """The listeners that routes attach to, and what has attached: routes by listener, Gateways by backend."""

    def __init__(self, attachments: Sequence[Attachment]) -> None:
        self.by_gateway: dict[Key, list[Attachment]] = {}
        for one in attachments:
            self.by_gateway.setdefault(one.key, []).append(one)
        self.routes: Counter[tuple[Key, str]] = Counter()
        self.gateways_of: dict[Key, dict[Key, None]] = {}  # by a backend Service: the Gateways that lead to it


def route_status(kind: str, route: Any, attached: Attached, objects: Objects, references: References) -> dict[str, Any]:
    """The status of a route; takes part in the counts of `attached`."""
    generation = generation_of(route)
    own = [*_filter_problems(route), *_reference_problems(kind, route, objects, references)]
    parents = []
    counted: set[tuple[Key, str]] = set()
    for ref in route.spec.parent_refs:
        refused = _refusal(kind, route, ref, attached, objects, counted)
        if refused is None:
            continue
        problems = [*refused, *own]
        parents.append(
            {
                "parentRef": _reference(ref),
                "controllerName": CONTROLLER,
                "conditions": [
                    from_problems(ACCEPTED, problems, generation, ACCEPTED, "Route was valid"),
                    from_problems(RESOLVED_REFS, problems, generation, RESOLVED_REFS, "All references resolved"),
                ],
            }
        )
    attached.routes.update(counted)
    for gateway, _ in counted:
        for backend in _services(route):
            attached.gateways_of.setdefault(backend, {})[gateway] = None
    return {"parents": parents}


def _refusal(
    kind: str, route: Any, ref: Any, attached: Attached, objects: Objects, counted: set[tuple[Key, str]]
) -> list[Problem] | None:
    """Why a parent does not take the route, nothing when it does; None when the parent is not ours."""
    namespace = route.metadata.namespace or "default"
    key = (ref.namespace or namespace, ref.name)
    if not is_gateway(ref):
        return _mesh_refusal(ref, key, objects)
    listeners = attached.by_gateway.get(key)
    if listeners is None:
        return None
    hostnames = tuple(getattr(route.spec, "hostnames", ()))
    refusals = []
    for listener in listeners:
        refused = listener.refusal(ref, kind, namespace, hostnames)
        if refused is None:
            counted.add((key, listener.name))
        refusals.append(refused)
    if None in refusals:
        return []
    reason, message = min((one for one in refusals if one is not None), key=lambda one: NEAREST.index(one[0]))
    return [Problem(ACCEPTED, reason, message)]


def _mesh_refusal(ref: Any, key: Key, objects: Objects) -> list[Problem] | None:
    """The same for a parent in the mesh: a Service or ServiceEntry."""
    if (ref.group, ref.kind) not in (("", "Service"), (ISTIO_GROUP, "ServiceEntry")):
        return None
    found = objects.table(ref.kind).get(key)
    if found is None:
        return [Problem(ACCEPTED, NO_PARENT, f'{ref.kind} "{"/".join(key)}" not found')]
    numbers = [port.port if ref.kind == "Service" else port.number for port in found.spec.ports or ()]
    if ref.port is not None and ref.port not in numbers:
        return [Problem(ACCEPTED, NO_PARENT, f"port {ref.port} not found")]
    return []


def _reference(ref: Any) -> dict[str, Any]:
    """A parent reference as the route has it."""
    out = {"group": ref.group, "kind": ref.kind, "name": ref.name}
    optional = {"namespace": ref.namespace, "sectionName": ref.section_name, "port": ref.port}
    return {**out, **{name: value for name, value in optional.items() if value is not None}}


def _filter_problems(route: Any) -> Iterator[Problem]:
    for rule in route.spec.rules:
        for one in _filters(rule):
            if one.type in UNSUPPORTED_FILTERS:
                yield Problem(ACCEPTED, "UnsupportedValue", f'unsupported filter type "{one.type}"')
            elif not is_whole(one):
                yield Problem(ACCEPTED, "UnsupportedValue", f"the filter of type {one.type} does not say what to do")


def _filters(rule: Any) -> Iterable[Any]:
    yield from getattr(rule, "filters", ())
    for backend in rule.backend_refs:
        yield from getattr(backend, "filters", ())


def _backends(rule: Any) -> Iterator[Any]:
    """Every backend that a rule refers to, mirrors included."""
    yield from rule.backend_refs
    for one in _filters(rule):
        if one.type == "RequestMirror" and is_whole(one):
            yield one.request_mirror.backend_ref


def _services(route: Any) -> Iterator[Key]:
    namespace = route.metadata.namespace or "default"
    for rule in route.spec.rules:
        for ref in _backends(rule):
            if (ref.group, ref.kind) == ("", "Service"):
                yield ref.namespace or namespace, ref.name


def _reference_problems(kind: str, route: Any, objects: Objects, references: References) -> Iterator[Problem]:
    referrer = Referrer(kind, route.metadata.namespace or "default")
    for rule in route.spec.rules:
        for ref in _backends(rule):
            problem = _reference_problem(ref, referrer, objects, references)
            if problem is not None:
                yield problem


def _reference_problem(ref: Any, referrer: Referrer, objects: Objects, references: References) -> Problem | None:
    if (ref.group, ref.kind) == (ISTIO_GROUP, "Hostname"):
        return None
    if (ref.group, ref.kind) != ("", "Service"):
        message = f'referencing unsupported backendRef: group "{ref.group}" kind "{ref.kind}"'
        return Problem(RESOLVED_REFS, "InvalidKind", message)
    owner = ref.namespace or referrer.namespace
    if not references.allowed(referrer, ref.group, ref.kind, owner, ref.name):
        message = f"backendRef {ref.name}/{owner} not accessible to a {referrer.kind} in namespace"
        message += f' "{referrer.namespace}" (missing a ReferenceGrant?)'
        return Problem(RESOLVED_REFS, "RefNotPermitted", message)
    if (owner, ref.name) not in objects.table("Service"):
        message = f"backend({references.service_host(ref.name, owner)}) not found"
        return Problem(RESOLVED_REFS, "BackendNotFound", message)
    if ref.port is None:
        return Problem(RESOLVED_REFS, "UnsupportedValue", "port is required in backendRef")
    return None
