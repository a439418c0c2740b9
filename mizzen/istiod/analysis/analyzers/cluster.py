"""The installation: webhooks, CRDs, networks, conditions. IST0126, IST0139, IST0163, IST0164, IST0171, IST0176."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from mizzen.api.labels import from_message
from mizzen.api.text import is_address
from mizzen.istiod.analysis.analyzers.workloads import INJECT, INJECTION, REVISION
from mizzen.istiod.analysis.model import GATEWAY_API, NETWORKING, SECURITY, Mesh, Resource

ADMISSION = "admissionregistration.k8s.io"
MINIMUM_CRDS = {
    "grpcroutes.gateway.networking.k8s.io": (1, 1, 0),
    "backendtlspolicies.gateway.networking.k8s.io": (1, 4, 0),
    "tlsroutes.gateway.networking.k8s.io": (1, 5, 0),
}
GATEWAY_CONDITIONS = frozenset({"Accepted", "Programmed", "ResolvedRefs"})
# Conditions whose status False is worth a message, by kind.
NEGATIVE: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("Service", "", frozenset({"istio.io/WaypointBound"})),
    ("ServiceEntry", NETWORKING, frozenset({"istio.io/WaypointBound"})),
    ("AuthorizationPolicy", SECURITY, frozenset({"ZtunnelAccepted", "WaypointAccepted"})),
    ("Gateway", GATEWAY_API, GATEWAY_CONDITIONS),
    ("HTTPRoute", GATEWAY_API, GATEWAY_CONDITIONS),
    ("GRPCRoute", GATEWAY_API, GATEWAY_CONDITIONS),
)


def webhooks(mesh: Mesh) -> None:
    """IST0139: webhooks that would inject a pod twice, and those whose Service is missing."""
    found: list[tuple[Resource, Mapping[str, Any]]] = []
    revisions = set[str]()
    for configuration in mesh.all("MutatingWebhookConfiguration", ADMISSION):
        hooks = configuration.object.get("webhooks") or ()
        own = _revisions(configuration)
        if own or any(str(hook.get("name", "")).endswith("istio.io") for hook in hooks):
            found += [(configuration, hook) for hook in hooks]
            revisions |= own
    for namespace, pod in product(_labels(INJECTION, revisions), _labels(INJECT, revisions)):
        values = (("namespaceSelector", namespace), ("objectSelector", pod))
        matched = [
            (owner, hook)
            for owner, hook in found
            if all(hook.get(field) is None or from_message(hook[field])(labels) for field, labels in values)
        ]
        for owner, hook in matched if len(matched) > 1 else ():
            others = sorted(f"{o.full_name}/{h.get('name')}" for o, h in matched if h is not hook)
            mesh.report(owner, "IST0139", f"Injects the same pods as {', '.join(others)}")
    for owner, hook in found:
        service = (hook.get("clientConfig") or {}).get("service")
        if service and mesh.find("Service", service.get("namespace", ""), service.get("name", "")) is None:
            name = f"{service.get('namespace')}/{service.get('name')}"
            mesh.report(owner, "IST0139", f"Refers to a Service that is not there: {name}")


def _labels(name: str, revisions: set[str]) -> Iterator[Mapping[str, str]]:
    """The labels that decide on injection, in every combination."""
    on, off = ("enabled", "disabled") if name == INJECTION else ("true", "false")
    for revision in (None, *sorted(revisions)):
        base = {} if revision is None else {REVISION: revision}
        yield base
        yield {**base, name: on}
        yield {**base, name: off}


def _revisions(configuration: Resource) -> set[str]:
    result = {configuration.labels[REVISION]} if REVISION in configuration.labels else set()
    for hook in configuration.object.get("webhooks") or ():
        for field in ("namespaceSelector", "objectSelector"):
            selector = hook.get(field) or {}
            if REVISION in (selector.get("matchLabels") or {}):
                result.add(selector["matchLabels"][REVISION])
            for expression in selector.get("matchExpressions") or ():
                if expression.get("key") == REVISION:
                    result |= set(expression.get("values") or ())
    return result


def external_control_plane(mesh: Mesh) -> None:
    """IST0163, IST0164: the address of a control plane outside the cluster."""
    prefixes = {
        "ValidatingWebhookConfiguration": "istio-validator",
        "MutatingWebhookConfiguration": "istio-sidecar-injector",
    }
    for kind, prefix in prefixes.items():
        for configuration in mesh.all(kind, ADMISSION):
            if not configuration.name.startswith(prefix) and configuration.name != "istiod-default-validator":
                continue
            for hook in configuration.object.get("webhooks") or ():
                client = hook.get("clientConfig") or {}
                url, name = client.get("url"), hook.get("name", "")
                if url:
                    _address(mesh, configuration, url, name)
                elif url is None and client.get("service") is None:
                    mesh.report(configuration, "IST0163", "", name, "is blank")


def _address(mesh: Mesh, configuration: Resource, url: str, name: str) -> None:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        mesh.report(configuration, "IST0163", url, name, "is not a URL")
        return
    if is_address(host):
        mesh.report(configuration, "IST0164", url, name)
        return
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        mesh.report(configuration, "IST0163", url, name, "cannot be looked up in DNS")


def crd_versions(mesh: Mesh) -> None:
    """IST0176: CRDs of the Gateway API that are too old."""
    for resource in mesh.all("CustomResourceDefinition", "apiextensions.k8s.io"):
        least = MINIMUM_CRDS.get(resource.name)
        version = resource.annotations.get("gateway.networking.k8s.io/bundle-version", "")
        numbers = re.fullmatch(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+].*)?", version)
        if least is None or numbers is None:
            continue
        if tuple(int(number or 0) for number in numbers.groups()[:3]) < least:
            mesh.report(resource, "IST0176", resource.name, version, ".".join(map(str, least)))


def networks(mesh: Mesh) -> None:
    """IST0126: registries of MeshNetworks that no cluster has."""
    if mesh.networks is None:
        return
    known = {"Mock", "Kubernetes", "External"}
    for secret in mesh.all("Secret"):
        if secret.labels.get("istio/multiCluster") == "true":
            known |= set(secret.object.get("data") or {})
    config_map = mesh.find("ConfigMap", "istio-system", "istio")
    for name, network in mesh.networks.networks.items():
        for endpoint in network.endpoints:
            if endpoint.from_registry and endpoint.from_registry not in known and config_map is not None:
                mesh.report(config_map, "IST0126", endpoint.from_registry, name)


def conditions(mesh: Mesh) -> None:
    """IST0171: conditions in a status that are not fulfilled."""
    for kind, group, types in NEGATIVE:
        for resource in mesh.all(kind, group):
            for condition in _conditions(resource):
                negative = condition.get("type") in types and condition.get("status") == "False"
                partly = condition.get("type") == "WaypointAccepted" and condition.get("reason") == "PartiallyInvalid"
                words = [condition.get(field, "") for field in ("type", "reason", "message")]
                if negative or (partly and kind == "AuthorizationPolicy"):
                    mesh.report(resource, "IST0171", *words)


def _conditions(resource: Resource) -> list[Mapping[str, Any]]:
    status = resource.object.get("status") or {}
    parents = status.get("parents") or () if resource.kind.endswith("Route") else ()
    found = list(status.get("conditions") or ()) if not parents else []
    return found + [condition for parent in parents for condition in parent.get("conditions") or ()]
