"""The conditions of a Deployment: Available, Progressing, ReplicaFailure. Pure.

Source: apps/v1 DeploymentCondition and the documented reasons. Times change only where Kubernetes changes them:
lastTransitionTime with the status, lastUpdateTime with status, reason or progress.
"""

from __future__ import annotations

from typing import Any

from mizzen.runtime.controllers import deployment_plan as rules
from mizzen.runtime.controllers.events import timestamp
from mizzen.runtime.controllers.pods import condition

Object = dict[str, Any]


def conditions(deployment: Object, status: Object, new: Object | None, mine: list[Object], now: float) -> list[Object]:
    """All conditions of the new status, in Kubernetes' order: what is new goes last."""
    result = list(deployment.get("status", {}).get("conditions") or ())
    wanted = rules.replicas_of(deployment)
    enough = status.get("availableReplicas", 0) >= wanted - rules.limits(deployment).unavailable
    if enough:
        available = _new("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        message = "Deployment does not have minimum availability."
        available = _new("Available", "False", "MinimumReplicasUnavailable", message)
    progressing = _progressing(deployment, status, new, now)
    if progressing is None:
        result = [c for c in result if c["type"] != "Progressing"]
    else:
        result = _put(result, progressing, now, touch=progressing["reason"] in ("ReplicaSetUpdated",) and rules.has_progressed(
            deployment.get("status", {}), status
        ))  # fmt: skip
    result = _put(result, available, now)
    failure = next((c for rs in ([new] if new else mine) if (c := condition(rs, "ReplicaFailure")) is not None), None)
    if failure is not None:
        return _put(result, _new("ReplicaFailure", failure["status"], failure["reason"], failure["message"]), now)
    return [c for c in result if c["type"] != "ReplicaFailure"]


def _progressing(deployment: Object, status: Object, new: Object | None, now: float) -> Object | None:
    spec, before = deployment["spec"], condition(deployment, "Progressing")
    if spec.get("progressDeadlineSeconds", 600) >= 2**31 - 1:
        return None
    name = new["metadata"]["name"] if new is not None else ""
    if spec.get("paused"):
        return _new("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
    if before is not None and before["reason"] == "DeploymentPaused":
        return _new("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed")
    total = status.get("replicas", 0)
    settled = (
        before is not None
        and before["reason"] == "NewReplicaSetAvailable"
        and total == status.get("updatedReplicas", 0)
    )
    if settled:
        return before
    what = f'ReplicaSet "{name}"' if name else f'Deployment "{deployment["metadata"]["name"]}"'
    if rules.is_complete(deployment, status):
        return _new("Progressing", "True", "NewReplicaSetAvailable", f"{what} has successfully progressed.")
    if before is None:
        return _new("Progressing", "True", "NewReplicaSetCreated", f'Created new replica set "{name}"')
    if rules.has_progressed(deployment.get("status", {}), status):
        return _new("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.")
    if rules.deadline_passed(deployment, now):
        return _new("Progressing", "False", "ProgressDeadlineExceeded", f"{what} has timed out progressing.")
    if before["reason"] == "NewReplicaSetAvailable":
        return _new("Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.")
    return before


def _new(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _put(existing: list[Object], fresh: Object, now: float, touch: bool = False) -> list[Object]:
    """existing with fresh in the place of its type, times kept where nothing changed."""
    old = next((c for c in existing if c["type"] == fresh["type"]), None)
    stamp = timestamp(now)
    if old is not None and not touch and (old["status"], old["reason"]) == (fresh["status"], fresh["reason"]):
        return existing
    kept = old["lastTransitionTime"] if old is not None and old["status"] == fresh["status"] else stamp
    entry = {
        "type": fresh["type"],
        "status": fresh["status"],
        "lastUpdateTime": stamp,
        "lastTransitionTime": kept,
        "reason": fresh["reason"],
        "message": fresh["message"],
    }
    return [c for c in existing if c["type"] != fresh["type"]] + [entry]
