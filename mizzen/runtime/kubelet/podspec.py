"""Readings of a pod that several parts of the kubelet share: kinds of containers, quality of service, who runs as whom.

Pure; pods are JSON objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mizzen.api.quantities import parse_quantity
from mizzen.kube.resource import Object

Container = dict[str, Any]


def is_sidecar(container: Container) -> bool:
    """An init container that keeps running (restartPolicy Always)."""
    return bool(container.get("restartPolicy") == "Always")


def init_containers(pod: Object) -> list[Container]:
    """Init containers in order, native sidecars among them."""
    return pod["spec"].get("initContainers") or []


def all_containers(pod: Object) -> Iterator[Container]:
    """Init containers, then the others."""
    yield from init_containers(pod)
    yield from pod["spec"]["containers"]


def ephemeral_containers(pod: Object) -> list[Container]:
    """Containers added to a running pod to look into it; they count for nothing and are never started again."""
    return pod["spec"].get("ephemeralContainers") or []


def sidecars(pod: Object) -> list[Container]:
    """Native sidecars in their order."""
    return [container for container in init_containers(pod) if is_sidecar(container)]


def restart_policy(pod: Object, container: Container | None = None) -> str:
    """`Always`, `OnFailure` or `Never` for a container: its own, else the pod's; plain init containers never `Always`."""
    if container is not None and any(container is item for item in ephemeral_containers(pod)):
        return "Never"
    policy: str = pod["spec"].get("restartPolicy") or "Always"
    if container is not None and any(container is item for item in init_containers(pod)):
        if is_sidecar(container):
            return "Always"
        return container.get("restartPolicy") or ("OnFailure" if policy == "Always" else policy)
    return str((container or {}).get("restartPolicy") or policy)


def rule_restarts(container: Container, exit_code: int) -> bool:
    """Whether a restartPolicyRule of the container says to start it again after this exit code; the first match counts."""
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (exit_code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return bool(rule.get("action") == "Restart")
    return False


def grace_seconds(pod: Object) -> int:
    """How long a pod may take to end: what the deletion says, else the pod."""
    meta, spec = pod["metadata"], pod["spec"]
    value = meta.get("deletionGracePeriodSeconds")
    if value is None:
        value = spec.get("terminationGracePeriodSeconds")
    return 30 if value is None else int(value)


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort. Source: Kubernetes' quality of service rules for cpu and memory."""
    guaranteed, any_set = True, False
    for container in all_containers(pod):
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        for name in ("cpu", "memory"):
            limit = parse_quantity(limits[name]) if name in limits else None
            request = parse_quantity(requests[name]) if name in requests else limit
            any_set = any_set or bool(limit) or bool(request)
            guaranteed = guaranteed and bool(limit) and limit == request
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def security(pod: Object, container: Container, field: str) -> Any:
    """A securityContext field: the container's, else the pod's, else None."""
    for holder in (container, pod["spec"]):
        value = (holder.get("securityContext") or {}).get(field)
        if value is not None:
            return value
    return None


def named_port(container: Container, port: int | str) -> int:
    """A port by number or by the name of a containerPort. Raises ValueError."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for item in container.get("ports") or ():
        if item.get("name") == port:
            return int(item["containerPort"])
    raise ValueError(f"no port named {port!r}")


def pod_name(pod: Object) -> str:
    """`namespace/name` for messages."""
    return f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}"


def full_name(pod: Object) -> str:
    """`name_namespace(uid)`, as the kubelet's messages have it."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta.get('namespace')}({meta['uid']})"
