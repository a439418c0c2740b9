"""What a ReplicaSet (or ReplicationController) needs next: pure rules, no client.

Source: apps/v1 ReplicaSetSpec and ReplicaSetStatus.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mizzen.runtime.controllers.pods import available_in, is_active, is_ready, is_terminating, worst_first

Object = dict[str, Any]
BURST = 500  # pods made or removed in one go


class Plan(NamedTuple):
    """How many pods to create, and which to delete."""

    create: int
    delete: list[Object]


def plan(replicas: int, pods: list[Object], related: list[Object]) -> Plan:
    """What brings the active pods to `replicas`. related: all pods of the Deployment, for ranking."""
    active = [pod for pod in pods if is_active(pod)]
    missing = replicas - len(active)
    if missing >= 0:
        return Plan(min(missing, BURST), [])
    return Plan(0, worst_first(active, related)[: min(-missing, BURST)])


def new_pod(owner: Object, template: Object, reference: Object) -> Object:
    """The pod that a template asks for, named by the API server after its owner."""
    metadata = template.get("metadata") or {}
    prefix = f"{owner['metadata']['name']}-"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": prefix,
            "namespace": owner["metadata"]["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            **({"annotations": dict(metadata["annotations"])} if metadata.get("annotations") else {}),
            **({"finalizers": list(metadata["finalizers"])} if metadata.get("finalizers") else {}),
            "ownerReferences": [reference],
        },
        "spec": template.get("spec") or {},
    }


class Counted(NamedTuple):
    """The status, and in how many seconds a ready pod becomes available (None: none is waiting)."""

    status: Object
    again_s: float | None


def status(replica_set: Object, pods: list[Object], failure: tuple[str, str] | None, now: float) -> Counted:
    """The status that the pods mean; failure: reason and message of the last failed creation or deletion."""
    spec = replica_set["spec"]
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    active = [pod for pod in pods if is_active(pod)]
    waits = [available_in(pod, spec.get("minReadySeconds", 0), now) for pod in active]
    pending = [wait for wait in waits if wait]
    counts = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(
            all((pod["metadata"].get("labels") or {}).get(k) == v for k, v in template_labels.items()) for pod in active
        ),
        "readyReplicas": sum(is_ready(pod) for pod in active),
        "availableReplicas": sum(wait == 0.0 for wait in waits),
        "terminatingReplicas": sum(is_terminating(pod) for pod in pods),
    }
    result: Object = {key: count for key, count in counts.items() if count or key == "replicas"}
    result["terminatingReplicas"] = counts["terminatingReplicas"]
    result["observedGeneration"] = replica_set["metadata"].get("generation", 0)
    others = [c for c in replica_set.get("status", {}).get("conditions") or () if c["type"] != "ReplicaFailure"]
    if failure is not None:
        others.append({"type": "ReplicaFailure", "status": "True", "reason": failure[0], "message": failure[1]})
    if others:
        result["conditions"] = others
    return Counted(result, min(pending) if pending else None)
