"""Sidecars, Telemetries and policies, and the workloads they are for.

IST0002, IST0101, IST0110, IST0111, IST0127, IST0157, IST0159, IST0160, IST0166, IST0167.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mizzen.istiod.analysis.analyzers.gateways import selector_path, selector_text
from mizzen.istiod.analysis.analyzers.workloads import in_mesh, namespace_in_ambient, pod_in_ambient, selects
from mizzen.istiod.analysis.model import EXTENSIONS, NETWORKING, SECURITY, TELEMETRY, Mesh, Resource

GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"


def sidecars(mesh: Mesh) -> None:
    """IST0101, IST0110, IST0111, IST0167: which workloads have which Sidecar."""
    found = mesh.typed("Sidecar", NETWORKING)
    labels = {
        resource: dict(sidecar.spec.workload_selector.labels) if sidecar.spec.workload_selector is not None else {}
        for resource, sidecar in found
    }
    ineffective = _ambient_sidecars(mesh, labels)
    for resource in ineffective:
        mesh.report(resource, "IST0167", "the workloads are in ambient mode and have no sidecar")
    _overlaps(mesh, labels, "spec.workloadSelector.labels", "IST0110", "IST0111", lambda pod: not pod_in_ambient(pod))


def _ambient_sidecars(mesh: Mesh, labels: Mapping[Resource, Mapping[str, str]]) -> list[Resource]:
    result = []
    for resource, selector in labels.items():
        pods = [pod for pod in mesh.all("Pod") if pod.namespace == resource.namespace]
        by_pod = bool(selector) and any(selects(selector, pod.labels) and pod_in_ambient(pod) for pod in pods)
        by_namespace = not selector and namespace_in_ambient(mesh.find("Namespace", "", resource.namespace))
        if by_pod or by_namespace:
            result.append(resource)
    return result


def telemetries(mesh: Mesh) -> None:
    """IST0101, IST0159, IST0160: which workloads have which Telemetry."""
    labels = {}
    for resource, telemetry in mesh.typed("Telemetry", TELEMETRY):
        spec = telemetry.spec
        if spec.target_ref is None and not spec.target_refs:
            labels[resource] = dict(spec.selector.match_labels) if spec.selector is not None else {}
    _overlaps(mesh, labels, "spec.selector.matchLabels", "IST0159", "IST0160", lambda pod: True)


def _overlaps(
    mesh: Mesh,
    labels: Mapping[Resource, Mapping[str, str]],
    path: str,
    same_pod: str,
    no_selector: str,
    counts: Callable[[Resource], bool],
) -> None:
    """Reports selectors without pods, several objects for one pod, and several for a whole namespace."""
    by_pod: dict[Resource, list[Resource]] = {}
    by_namespace: dict[str, list[Resource]] = {}
    for resource, selector in labels.items():
        if not selector:
            by_namespace.setdefault(resource.namespace, []).append(resource)
            continue
        pods = [p for p in mesh.all("Pod") if p.namespace == resource.namespace and selects(selector, p.labels)]
        if not pods:
            at = selector_path(path, selector)
            mesh.report(resource, "IST0101", "selector", selector_text(selector), at=at)
        for pod in pods:
            by_pod.setdefault(pod, []).append(resource)
    for pod, resources in by_pod.items():
        names = [resource.name for resource in resources]
        for resource in resources if len(resources) > 1 and counts(pod) else ():
            mesh.report(resource, same_pod, names, pod.namespace, pod.name, at="metadata.name")
    for namespace, resources in by_namespace.items():
        names = [resource.name for resource in resources]
        for resource in resources if len(resources) > 1 else ():
            mesh.report(resource, no_selector, names, namespace)


def telemetry_providers(mesh: Mesh) -> None:
    """IST0002, IST0157: access logs without a provider, and providers that are deprecated."""
    defaults = mesh.config.default_providers
    lightstep = {provider.name for provider in mesh.config.extension_providers if provider.lightstep is not None}
    for resource, telemetry in mesh.typed("Telemetry", TELEMETRY):
        for logging in telemetry.spec.access_logging:
            if not logging.providers and (defaults is None or not defaults.access_logging):
                mesh.report(resource, "IST0157", resource.name, resource.namespace)
        for tracing in telemetry.spec.tracing:
            for provider in tracing.providers:
                if provider.name in lightstep:
                    mesh.report(resource, "IST0002", f"the Lightstep provider {provider.name}; use OpenTelemetry")


def named_providers(mesh: Mesh) -> None:
    """IST0101: extension providers that are there, when the MeshConfig is known. istioctl does not look at them."""
    if not mesh.config_is_known:
        return
    there = {provider.name for provider in mesh.config.extension_providers}
    for resource, telemetry in mesh.typed("Telemetry", TELEMETRY):
        spec = telemetry.spec
        for field, parts in (
            ("tracing", spec.tracing),
            ("metrics", spec.metrics),
            ("accessLogging", spec.access_logging),
        ):
            for at, part in enumerate(parts):
                for number, provider in enumerate(part.providers):
                    if provider.name not in there:
                        path = f"spec.{field}[{at}].providers[{number}].name"
                        mesh.report(resource, "IST0101", "extension provider", provider.name, at=path)
    for resource, policy in mesh.typed("AuthorizationPolicy", SECURITY):
        provider = policy.spec.provider
        if provider is not None and provider.name not in there:
            mesh.report(resource, "IST0101", "extension provider", provider.name, at="spec.provider.name")


def authorization_policies(mesh: Mesh) -> None:
    """IST0101, IST0127: policies for nobody, and namespaces that are not there."""
    pods: dict[str, list[Mapping[str, str]]] = {}
    for pod in mesh.all("Pod"):
        own = pods.setdefault(pod.namespace, [])
        if in_mesh(mesh, pod) or pod_in_ambient(pod):
            own.append(pod.labels)
    for resource, policy in mesh.typed("AuthorizationPolicy", SECURITY):
        _workloads(mesh, resource, policy.spec, pods)
        for at, rule in enumerate(policy.spec.rules):
            for number, origin in enumerate(rule.from_):
                _namespaces(mesh, resource, origin.source, f"spec.rules[{at}].from[{number}].source")


def _workloads(mesh: Mesh, resource: Resource, spec: Any, pods: Mapping[str, list[Mapping[str, str]]]) -> None:
    if spec.target_ref is not None or spec.target_refs:
        return
    mesh_wide = resource.namespace == mesh.config.root_namespace
    if spec.selector is None:
        if not mesh_wide and not pods.get(resource.namespace):
            mesh.report(resource, "IST0127", "")
        return
    labels = spec.selector.match_labels
    namespaces = list(pods) if mesh_wide else [resource.namespace]
    if not any(selects(labels, own) for namespace in namespaces for own in pods.get(namespace, ())):
        mesh.report(resource, "IST0127", selector_text(labels))


def _namespaces(mesh: Mesh, resource: Resource, source: Any, path: str) -> None:
    for field in ("namespaces", "not_namespaces") if source is not None else ():
        for at, name in enumerate(getattr(source, field)):
            if not any(_names(name, namespace.name) for namespace in mesh.all("Namespace")):
                mesh.report(resource, "IST0101", "namespace", name, at=f"{path}.namespaces[{at}]")


def _names(pattern: str, namespace: str) -> bool:
    if pattern == "*":
        return True
    if pattern.startswith("*"):
        return namespace.endswith(pattern[1:])
    return namespace.startswith(pattern[:-1]) if pattern.endswith("*") else namespace.lower() == pattern.lower()


def gateway_selectors(mesh: Mesh) -> None:
    """IST0166: selectors that hit pods of Kubernetes Gateways, which only take references."""
    pods = [pod for pod in mesh.all("Pod") if GATEWAY_NAME in pod.labels]
    kinds = (
        ("AuthorizationPolicy", SECURITY),
        ("RequestAuthentication", SECURITY),
        ("Telemetry", TELEMETRY),
        ("WasmPlugin", EXTENSIONS),
    )
    for kind, group in kinds:
        for resource, policy in mesh.typed(kind, group):
            spec = policy.spec
            if spec.selector is None or spec.target_ref is not None or spec.target_refs:
                continue
            for pod in pods:
                if pod.namespace == resource.namespace and selects(spec.selector.match_labels, pod.labels):
                    mesh.report(resource, "IST0166", pod.labels[GATEWAY_NAME])
