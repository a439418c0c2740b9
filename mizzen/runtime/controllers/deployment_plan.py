"""How a Deployment moves from its old ReplicaSets to the new one: pure rules, no client.

Takes the Deployment and its ReplicaSets as JSON, gives sizes and status. Source: apps/v1 DeploymentSpec
(maxSurge rounds up, maxUnavailable down, never both zero), the documented proportional scaling and revision rules.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from mizzen.runtime.controllers.pods import condition, moment

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"
# Not handed from a Deployment to its ReplicaSets.
PRIVATE = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED, MAX,
           "deprecated.deployment.rollback.to"}  # fmt: skip


class Limits(NamedTuple):
    """Pods allowed above the wanted number, and pods that may be missing."""

    surge: int
    unavailable: int


def share(value: int | str, total: int, round_up: bool) -> int:
    """An absolute number, or a percentage ("25%") of total."""
    if isinstance(value, int):
        return value
    exact = int(value.rstrip("%")) * total / 100
    return math.ceil(exact) if round_up else math.floor(exact)


def limits(deployment: Object) -> Limits:
    """maxSurge and maxUnavailable in pods; a Deployment that could not move at all may miss one pod."""
    strategy, replicas = deployment["spec"].get("strategy") or {}, replicas_of(deployment)
    if strategy.get("type") == "Recreate" or replicas == 0:
        return Limits(0, 0)
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = share(rolling.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(surge, min(unavailable, replicas))


def replicas_of(obj: Object) -> int:
    """spec.replicas, 1 when unset."""
    return int(obj["spec"].get("replicas", 1))


def revision_of(obj: Object) -> int:
    """The revision annotation as a number, 0 without one."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def bare_template(template: Object) -> Object:
    """A pod template without the hash label that ReplicaSets carry, empty parts left out: what two revisions compare."""
    metadata = dict(template.get("metadata") or {})
    metadata.pop("creationTimestamp", None)
    labels = {key: value for key, value in (metadata.pop("labels", None) or {}).items() if key != HASH}
    if labels:
        metadata["labels"] = labels
    return {"metadata": {k: v for k, v in metadata.items() if v}, "spec": template.get("spec") or {}}


def oldest_first(replica_sets: list[Object]) -> list[Object]:
    return sorted(
        replica_sets, key=lambda rs: (moment(rs["metadata"].get("creationTimestamp")), rs["metadata"]["name"])
    )


def find_new(deployment: Object, replica_sets: list[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's present template: the oldest with an equal one."""
    wanted = bare_template(deployment["spec"]["template"])
    return next((rs for rs in oldest_first(replica_sets) if bare_template(rs["spec"]["template"]) == wanted), None)


def status_count(replica_sets: list[Object], field: str) -> int:
    """The sum of a status count over ReplicaSets."""
    return sum(rs.get("status", {}).get(field, 0) for rs in replica_sets)


def spec_count(replica_sets: list[Object]) -> int:
    """The sum of the wanted replicas over ReplicaSets."""
    return sum(replicas_of(rs) for rs in replica_sets)


def new_size(deployment: Object, new: Object, every: list[Object]) -> int:
    """How large the new ReplicaSet should be now."""
    wanted, current = replicas_of(deployment), replicas_of(new)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        return wanted
    if current >= wanted:
        return wanted
    room = wanted + limits(deployment).surge - spec_count(every)
    return current if room <= 0 else current + min(room, wanted - current)


def scale_down_old(deployment: Object, new: Object, old: list[Object]) -> dict[str, int]:
    """New sizes, by name, of old ReplicaSets in a rolling update: unhealthy pods first, then as availability allows."""
    every = [*old, new]
    least = replicas_of(deployment) - limits(deployment).unavailable
    new_unavailable = replicas_of(new) - new.get("status", {}).get("availableReplicas", 0)
    may_go = spec_count(every) - least - new_unavailable
    if may_go <= 0:
        return {}
    sizes = {rs["metadata"]["name"]: replicas_of(rs) for rs in oldest_first(old)}
    left = dict(sizes)
    for rs in oldest_first(old):  # pods that are not available serve nobody
        name = rs["metadata"]["name"]
        unhealthy = min(may_go, left[name] - rs.get("status", {}).get("availableReplicas", 0))
        if unhealthy > 0:
            left[name] -= unhealthy
            may_go -= unhealthy
    spare = status_count(every, "availableReplicas") - least
    for name in left:
        gone = min(left[name], max(0, spare))
        left[name] -= gone
        spare -= gone
    return {name: size for name, size in left.items() if size != sizes[name]}


def proportional(deployment: Object, active: list[Object]) -> dict[str, int]:
    """New sizes, by name, when spec.replicas changed in the middle of a rollout: each in its share, largest first."""
    wanted, surge = replicas_of(deployment), limits(deployment).surge
    allowed = wanted + surge if wanted > 0 else 0
    to_add = allowed - spec_count(active)
    newest_first = list(reversed(oldest_first(active)))
    ordered = sorted(newest_first, key=replicas_of, reverse=True)
    if to_add < 0:
        ordered = sorted(oldest_first(active), key=replicas_of, reverse=True)
    sizes, added = {}, 0
    for rs in ordered:
        name, current = rs["metadata"]["name"], replicas_of(rs)
        annotated = (rs["metadata"].get("annotations") or {}).get(MAX, "")
        before = int(annotated) if annotated.isdigit() else replicas_of(deployment)
        fraction = round_half_away(current * allowed / before) - current if before else 0
        room = to_add - added
        change = min(fraction, room) if to_add > 0 else max(fraction, room)
        sizes[name] = current + (change if to_add != 0 else 0)
        added += sizes[name] - current
    if ordered and added != to_add:  # what rounding left over goes to the largest
        first = ordered[0]["metadata"]["name"]
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def round_half_away(value: float) -> int:
    """Rounds halves away from zero."""
    return math.floor(abs(value) + 0.5) * (1 if value >= 0 else -1)


def is_scaling(deployment: Object, replica_sets: list[Object]) -> bool:
    """spec.replicas changed since the active ReplicaSets were last sized."""
    for rs in replica_sets:
        if replicas_of(rs) > 0:
            desired = (rs["metadata"].get("annotations") or {}).get(DESIRED, "")
            if desired.isdigit() and int(desired) != replicas_of(deployment):
                return True
    return False


def is_complete(deployment: Object, status: Object) -> bool:
    """All pods are of the new template and available, and no old one is left."""
    wanted = replicas_of(deployment)
    return bool(
        status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def counts(deployment: Object, new: Object | None, every: list[Object]) -> Object:
    """The numbers of a Deployment's status, zeros left out."""
    available = status_count(every, "availableReplicas")
    total = spec_count(every)
    numbers = {
        "replicas": status_count(every, "replicas"),
        "updatedReplicas": status_count([new], "replicas") if new else 0,
        "readyReplicas": status_count(every, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, total - available),
    }
    result: Object = {key: number for key, number in numbers.items() if number}
    result["observedGeneration"] = deployment["metadata"].get("generation", 0)
    result["terminatingReplicas"] = status_count(every, "terminatingReplicas")
    return result


def has_progressed(before: Object, after: Object) -> bool:
    """More new pods, more ready or available ones, or fewer old ones than the last status told."""

    def old(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    return bool(
        after.get("updatedReplicas", 0) > before.get("updatedReplicas", 0)
        or old(after) < old(before)
        or after.get("readyReplicas", 0) > before.get("readyReplicas", 0)
        or after.get("availableReplicas", 0) > before.get("availableReplicas", 0)
    )


def deadline_passed(deployment: Object, now: float) -> bool:
    """The progress deadline is over, counted from the Progressing condition's last update."""
    progressing = condition(deployment, "Progressing")
    deadline_s = deployment["spec"].get("progressDeadlineSeconds", 600)
    if progressing is None or deadline_s >= 2**31 - 1:
        return False
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return True
    if progressing.get("reason") == "NewReplicaSetAvailable":
        return False
    return bool(moment(progressing.get("lastUpdateTime")) + deadline_s < now)


def to_clean_up(deployment: Object, old: list[Object]) -> list[Object]:
    """Old, empty ReplicaSets beyond revisionHistoryLimit, lowest revision first."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    if limit >= 2**31 - 1:
        return []
    idle = [
        rs
        for rs in old
        if replicas_of(rs) == 0
        and rs.get("status", {}).get("replicas", 0) == 0
        and rs["metadata"].get("generation", 0) <= rs.get("status", {}).get("observedGeneration", 0)
        and "deletionTimestamp" not in rs["metadata"]
    ]
    surplus = len([rs for rs in old if "deletionTimestamp" not in rs["metadata"]]) - limit
    return sorted(idle, key=lambda rs: (revision_of(rs), moment(rs["metadata"].get("creationTimestamp"))))[
        : max(0, surplus)
    ]


def handed_down(deployment: Object) -> dict[str, str]:
    """The annotations that a Deployment gives its ReplicaSets."""
    return {k: v for k, v in (deployment["metadata"].get("annotations") or {}).items() if k not in PRIVATE}


def size_notes(deployment: Object) -> dict[str, str]:
    """The annotations by which a later change of spec.replicas is noticed."""
    wanted = replicas_of(deployment)
    return {DESIRED: str(wanted), MAX: str(wanted + limits(deployment).surge)}


def revised(rs: Object, revision: str, annotations: dict[str, str]) -> dict[str, str] | None:
    """The new ReplicaSet's annotations with its revision (never lowered; earlier ones remembered); None if unchanged."""
    before = dict(rs["metadata"].get("annotations") or {})
    after = {**before, **annotations}
    if int(revision) > revision_of(rs):
        after[REVISION] = revision
        if REVISION in before:
            history = before.get(REVISION_HISTORY, "")
            after[REVISION_HISTORY] = f"{history},{before[REVISION]}" if history else before[REVISION]
    return None if after == before else after


def revision_text(rs: Object) -> str:
    return str((rs["metadata"].get("annotations") or {}).get(REVISION, ""))


def labelled(template: Object, template_hash: str) -> Object:
    """The template with its hash among the labels."""
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH: template_hash}
    return {**template, "metadata": metadata}


def saturated(deployment: Object, new: Object) -> bool:
    """The new ReplicaSet alone is as large as wanted, and available."""
    wanted = replicas_of(deployment)
    desired = (new["metadata"].get("annotations") or {}).get(DESIRED, "")
    return bool(
        replicas_of(new) == wanted
        and desired == str(wanted)
        and new.get("status", {}).get("availableReplicas", 0) == wanted
    )
