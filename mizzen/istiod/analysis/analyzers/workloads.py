"""Pods and Deployments: which are in the mesh, how they are injected, what runs in them.

IST0102, IST0103, IST0116, IST0123, IST0137, IST0144, IST0146, IST0147, IST0148, IST0158, IST0175.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mizzen.api.labels import from_message
from mizzen.istiod.analysis.model import SECURITY, Mesh, Resource

PROXY = "istio-proxy"
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
INJECTION, REVISION, DATA_PLANE = "istio-injection", "istio.io/rev", "istio.io/dataplane-mode"
INJECT = "sidecar.istio.io/inject"


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels have everything that a selector asks for; an empty one asks for nothing."""
    return all(labels.get(key) == value for key, value in selector.items())


def pod_spec(resource: Resource) -> Mapping[str, Any]:
    """The pod's own spec, or that of a Deployment's template."""
    if resource.kind == "Pod":
        return resource.spec
    spec = template(resource).get("spec")
    return spec if isinstance(spec, Mapping) else {}


def template(resource: Resource) -> Mapping[str, Any]:
    """A Deployment's pod template."""
    found = resource.spec.get("template")
    return found if isinstance(found, Mapping) else {}


def template_labels(resource: Resource) -> Mapping[str, str]:
    """The labels of a Deployment's pods."""
    return (template(resource).get("metadata") or {}).get("labels") or {}


def containers(spec: Mapping[str, Any], *, init: bool = False) -> list[Mapping[str, Any]]:
    """The containers of a pod, with init containers if asked for."""
    found = list(spec.get("containers") or ())
    return found + list(spec.get("initContainers") or ()) if init else found


def has_proxy(spec: Mapping[str, Any]) -> bool:
    """Whether a pod has a sidecar (also a native one)."""
    return any(c.get("name") == PROXY and c.get("image") for c in containers(spec, init=True))


def in_mesh(mesh: Mesh, resource: Resource) -> bool:
    """Whether a Pod or Deployment has a sidecar, or would get one."""
    if has_proxy(pod_spec(resource)):
        return True
    if resource.kind == "Pod":
        labels, annotations = resource.labels, resource.annotations
    else:
        labels = template_labels(resource)
        annotations = (template(resource).get("metadata") or {}).get("annotations") or {}
    for values in (labels, annotations):
        if INJECT in values:
            return values[INJECT] == "true"
    namespace = mesh.find("Namespace", "", resource.namespace)
    return namespace is not None and namespace.labels.get(INJECTION) == "enabled"


def pod_in_ambient(pod: Resource) -> bool:
    """Whether a pod's traffic goes through ztunnel."""
    return pod.annotations.get("ambient.istio.io/redirection") == "enabled"


def namespace_in_ambient(namespace: Resource | None) -> bool:
    """Whether a namespace's pods are in ambient mode, and get no sidecar."""
    if namespace is None or namespace.labels.get(INJECTION) == "enabled" or namespace.labels.get(REVISION):
        return False
    return namespace.labels.get(DATA_PLANE) == "ambient"


def is_control_plane(resource: Resource) -> bool:
    """Whether an object belongs to Istio itself."""
    return "istio" in resource.labels or resource.labels.get("release") == "istio"


def injector_values(mesh: Mesh, revision: str) -> dict[str, Any] | None:
    """The values of the injector's ConfigMap of a revision; None without one."""
    name = "istio-sidecar-injector" + ("" if revision in ("", "default") else f"-{revision}")
    for config_map in mesh.all("ConfigMap"):
        if config_map.name == name:
            try:
                values = json.loads((config_map.object.get("data") or {}).get("values") or "{}")
            except ValueError:
                return {}
            return values if isinstance(values, dict) else {}
    return None


def injection(mesh: Mesh) -> None:
    """IST0102, IST0103, IST0123, IST0148: how namespaces are injected, and pods that were not."""
    injected = {namespace.name for namespace in mesh.all("Namespace") if _injected(mesh, namespace)}
    for pod in mesh.all("Pod"):
        wish = pod.labels.get(INJECT, pod.annotations.get(INJECT, ""))
        if pod.namespace not in injected or wish.lower() == "false" or pod.spec.get("hostNetwork"):
            continue
        if not has_proxy(pod.spec):
            mesh.report(pod, "IST0103", pod.full_name)


def _injected(mesh: Mesh, namespace: Resource) -> bool:
    """Reports what is odd about a namespace's labels; answers whether its pods get sidecars."""
    if namespace.name == "istio-system" or namespace.name in SYSTEM_NAMESPACES:
        return False
    labels = namespace.labels
    injection_label, revision = labels.get(INJECTION), labels.get(REVISION)
    given = [f"{INJECTION}={injection_label}"] if injection_label is not None else []
    if injection_label in (None, "enabled"):
        given += [f"{name}={labels[name]}" for name in (REVISION, DATA_PLANE) if name in labels]
    if len(given) > 1:
        mesh.report(namespace, "IST0123", given)
    if labels.get(DATA_PLANE) == "ambient":
        return False
    if not injection_label and revision is None:
        webhook = (injector_values(mesh, "") or {}).get("sidecarInjectorWebhook") or {}
        if webhook.get("enableNamespacesByDefault") is True:
            mesh.report(namespace, "IST0148")
        else:
            mesh.report(namespace, "IST0102", namespace.name, at="metadata.name")
        return False
    if revision is not None:
        return not injection_label
    return injection_label == "enabled"


def proxy_images(mesh: Mesh) -> None:
    """IST0158: pods whose proxy is another one than the injector would give them."""
    mismatched: dict[str, list[str]] = {}
    revisions = {
        namespace.name: namespace.labels.get(REVISION, "default")
        for namespace in mesh.all("Namespace")
        if namespace.labels.get(INJECTION) == "enabled" or REVISION in namespace.labels
    }
    for pod in mesh.all("Pod"):
        if pod.namespace not in revisions or pod.annotations.get("sidecar.istio.io/proxyImage"):
            continue
        values = injector_values(mesh, revisions[pod.namespace])
        if values is None:
            continue
        image = _proxy_image(values)
        for container in containers(pod.spec, init=True):
            if container.get("name") == PROXY and container.get("image") != image:
                mismatched.setdefault(pod.namespace, []).append(pod.name)
    for name, pods in mismatched.items():
        namespace = mesh.find("Namespace", "", name)
        if namespace is not None:
            mesh.report(namespace, "IST0158", pods)


def _proxy_image(values: Mapping[str, Any]) -> str:
    settings = values.get("global") or {}
    image = str((settings.get("proxy") or {}).get("image", ""))
    return image if "/" in image else f"{settings.get('hub', '')}/{image}:{settings.get('tag', '')}"


def image_auto(mesh: Mesh) -> None:
    """IST0146, IST0147: the image "auto" where no webhook fills it in."""
    webhooks = [
        webhook
        for configuration in mesh.all("MutatingWebhookConfiguration", "admissionregistration.k8s.io")
        for webhook in configuration.object.get("webhooks") or ()
        if str(webhook.get("name", "")).endswith("istio.io")
    ]
    for pod in mesh.all("Pod"):
        if _auto(pod.spec):
            mesh.report(pod, "IST0147", "Pod", pod.name)
    for deployment in mesh.all("Deployment", "apps"):
        namespace = mesh.find("Namespace", "", deployment.namespace)
        labels = namespace.labels if namespace is not None else {}
        matched = any(
            _matches(webhook.get("namespaceSelector"), labels)
            and _matches(webhook.get("objectSelector"), template_labels(deployment))
            for webhook in webhooks
        )
        if _auto(pod_spec(deployment)) and not matched:
            mesh.report(deployment, "IST0146", "Deployment", deployment.name)


def _auto(spec: Mapping[str, Any]) -> bool:
    return any(c.get("name") == PROXY and c.get("image") == "auto" for c in containers(spec))


def _matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    return selector is None or from_message(selector)(labels)


def application_uid(mesh: Mesh) -> None:
    """IST0144: applications that run as the sidecar's user."""
    for resource in (*mesh.all("Pod"), *mesh.all("Deployment", "apps")):
        spec = pod_spec(resource)
        own = [c for c in containers(spec) if c.get("name") not in (PROXY, "istio-operator")]
        if any(_user(part) == 1337 for part in (spec, *own)) and not is_control_plane(resource):
            mesh.report(resource, "IST0144")


def _user(part: Mapping[str, Any]) -> Any:
    return (part.get("securityContext") or {}).get("runAsUser")


def shared_deployments(mesh: Mesh) -> None:
    """IST0116, IST0137: Services that lead to one Deployment and disagree."""
    for deployment in mesh.all("Deployment", "apps"):
        waypoint = deployment.labels.get("gateway.istio.io/managed") == "istio.io-mesh-controller"
        if waypoint or not in_mesh(mesh, deployment):
            continue
        protocols: dict[int, dict[str, list[str]]] = {}
        targets: dict[str, dict[int, str]] = {}
        for service in mesh.all("Service"):
            selector = service.spec.get("selector") or {}
            matched = selector and selects(selector, template_labels(deployment))
            if service.namespace != deployment.namespace or not matched:
                continue
            for port in service.spec.get("ports") or ():
                number = int(port.get("port", 0))
                by_protocol = protocols.setdefault(number, {})
                by_protocol.setdefault(port.get("protocol") or "TCP", []).append(service.full_name)
                targets.setdefault(str(port.get("targetPort") or number), {})[number] = service.full_name
        _report_shared(mesh, deployment, protocols, targets)


def _report_shared(
    mesh: Mesh,
    deployment: Resource,
    protocols: Mapping[int, Mapping[str, list[str]]],
    targets: Mapping[str, Mapping[int, str]],
) -> None:
    for number, names in protocols.items():
        if len(names) > 1:
            services = sorted(name for group in names.values() for name in group)
            mesh.report(deployment, "IST0116", deployment.name, number, services, at="metadata.name")
    for target, ports in targets.items():
        if len(ports) > 1:
            services = sorted(ports.values())
            mesh.report(deployment, "IST0137", deployment.name, services, target, sorted(ports), at="metadata.name")


def blocked_cidrs(mesh: Mesh) -> None:
    """IST0175: an istiod that may be sent to fetch keys from anywhere."""
    policies = [policy.full_name for policy in mesh.all("RequestAuthentication", SECURITY)]
    names = ", ".join(policies[:5]) + (f", and {len(policies) - 5} more" if len(policies) > 5 else "")
    for deployment in mesh.all("Deployment", "apps") if policies else ():
        blocked = any(
            variable.get("name") == "BLOCKED_CIDRS_IN_JWKS_URIS" and variable.get("value")
            for container in containers(pod_spec(deployment))
            for variable in container.get("env") or ()
        )
        if deployment.labels.get("app") == "istiod" and not blocked:
            mesh.report(deployment, "IST0175", len(policies), names)
