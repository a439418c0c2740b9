"""What controllers ask of a pod, as pure functions over its JSON.

Source: Kubernetes pod lifecycle; pkg/api/pod and controller_utils' ranking of pods to delete (facts, in our own words).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

Object = dict[str, Any]


def moment(text: str | None) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0.0 for None or an empty text."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of a type, or None."""
    for entry in obj.get("status", {}).get("conditions") or ():
        if entry["type"] == kind:
            return entry  # type: ignore[no-any-return]
    return None


def is_ready(pod: Object) -> bool:
    """The pod's Ready condition is True."""
    ready = condition(pod, "Ready")
    return ready is not None and ready["status"] == "True"


def available_in(pod: Object, min_ready_s: int, now: float) -> float | None:
    """Seconds until a ready pod counts as available (0.0 = it does); None while it is not ready."""
    ready = condition(pod, "Ready")
    if ready is None or ready["status"] != "True":
        return None
    if min_ready_s == 0:
        return 0.0
    return max(0.0, moment(ready.get("lastTransitionTime")) + min_ready_s - now)


def is_active(pod: Object) -> bool:
    """Neither finished nor being deleted."""
    return (
        pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and "deletionTimestamp" not in pod["metadata"]
    )


def is_terminating(pod: Object) -> bool:
    """Being deleted, and not yet finished."""
    return "deletionTimestamp" in pod["metadata"] and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def restarts(pod: Object) -> int:
    """The most restarts of any container."""
    return max(
        (status.get("restartCount", 0) for status in pod.get("status", {}).get("containerStatuses") or ()), default=0
    )


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_rank(pod: Object, neighbours: int) -> tuple[Any, ...]:
    """Orders pods by how little is lost when they go: the first of the sorted list is deleted first.

    neighbours: how many pods of the same owner share the pod's node. Order: unassigned, pending, not ready, lower
    pod-deletion-cost, more neighbours, ready for a shorter time, more restarts, younger.
    """
    status, metadata = pod.get("status", {}), pod["metadata"]
    ready = condition(pod, "Ready")
    ready_since = moment(ready.get("lastTransitionTime")) if ready is not None and ready["status"] == "True" else 0.0
    cost = (metadata.get("annotations") or {}).get("controller.kubernetes.io/pod-deletion-cost", "0")
    return (
        bool(pod["spec"].get("nodeName")),
        _PHASES.get(status.get("phase", "Pending"), 0),
        is_ready(pod),
        int(cost) if cost.lstrip("-").isdigit() else 0,
        -neighbours,
        -ready_since,
        -restarts(pod),
        -moment(metadata.get("creationTimestamp")),
    )


def worst_first(pods: list[Object], related: list[Object]) -> list[Object]:
    """Pods in the order in which a shrinking owner deletes them; related: all its active pods."""
    per_node: dict[str, int] = {}
    for pod in related:
        if is_active(pod) and (node := pod["spec"].get("nodeName")):
            per_node[node] = per_node.get(node, 0) + 1
    return sorted(pods, key=lambda pod: deletion_rank(pod, per_node.get(pod["spec"].get("nodeName", ""), 0)))
