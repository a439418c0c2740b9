"""PodDisruptionBudgets: how many pods may be taken away now.

Source: policy/v1 PodDisruptionBudgetSpec and Status. Not here: the eviction subresource, which spends the budget (apiserver).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from mizzen.api.labels import from_message
from mizzen.kube.controller import After, itself
from mizzen.kube.resource import DEPLOYMENTS, PODS, REPLICA_SETS, STATEFUL_SETS, Key, Resource, key_of
from mizzen.runtime.controllers.deployment_plan import share
from mizzen.runtime.controllers.events import timestamp
from mizzen.runtime.controllers.owners import controller_of
from mizzen.runtime.controllers.pods import is_ready, moment
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", True, "PodDisruptionBudget")
FORGET_S = 120.0  # an eviction that is not seen as a deletion after this did not happen
SCALES = {"ReplicaSet": REPLICA_SETS, "StatefulSet": STATEFUL_SETS, "Deployment": DEPLOYMENTS}


class Counts(NamedTuple):
    """expected: pods that there should be; desired: healthy ones that must stay."""

    expected: int
    desired: int
    healthy: int

    @property
    def allowed(self) -> int:
        return max(0, self.healthy - self.desired) if self.expected else 0


def counts(budget: Object, pods: list[Object], scale: int) -> Counts:
    """scale: what the pods' controllers want together (used with maxUnavailable and percentages)."""
    spec = budget["spec"]
    healthy = sum(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods)
    if (most := spec.get("maxUnavailable")) is not None:
        return Counts(scale, max(0, scale - share(most, scale, round_up=True)), healthy)
    least = spec.get("minAvailable", 1)
    if isinstance(least, int):
        return Counts(len(pods), least, healthy)
    return Counts(scale, share(least, scale, round_up=True), healthy)


class DisruptionController:
    """A key is a budget's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {BUDGETS: itself, PODS: self._of_pod}

    def _of_pod(self, pod: Object) -> Iterable[Key]:
        labels = pod["metadata"].get("labels") or {}
        for budget in self._writer.in_namespace(BUDGETS, pod["metadata"]["namespace"]):
            if from_message(budget["spec"].get("selector"))(labels):
                yield key_of(budget)

    async def reconcile(self, key: Key) -> After | None:
        budget = self._writer.get(BUDGETS, key)
        if budget is None or "deletionTimestamp" in budget["metadata"]:
            return None
        selected = from_message(budget["spec"].get("selector"))
        pods = [
            pod
            for pod in self._writer.in_namespace(PODS, key.namespace)
            if selected(pod["metadata"].get("labels") or {})
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]
        found = counts(budget, pods, self._scale(key.namespace, pods))
        now = time.time()
        names = {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}
        disrupted = {
            name: since
            for name, since in (budget.get("status", {}).get("disruptedPods") or {}).items()
            if name in names and now - moment(since) < FORGET_S
        }
        status: Object = {
            "currentHealthy": found.healthy,
            "desiredHealthy": found.desired,
            "disruptionsAllowed": max(0, found.allowed - len(disrupted)),
            "expectedPods": found.expected,
            "observedGeneration": budget["metadata"].get("generation", 0),
            "conditions": [_condition(budget, found.allowed - len(disrupted) > 0, now)],
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        await self._writer.update_status(BUDGETS, budget, status)
        return After(FORGET_S) if disrupted else None

    def _scale(self, namespace: str, pods: list[Object]) -> int:
        total, seen = 0, set()
        for pod in pods:
            reference = controller_of(pod)
            if reference is None or reference["uid"] in seen:
                continue
            seen.add(reference["uid"])
            resource = SCALES.get(reference["kind"])
            if resource is not None and (parent := self._writer.get(resource, Key(namespace, reference["name"]))):
                total += parent["spec"].get("replicas", 1)
        return total


def _condition(budget: Object, allowed: bool, now: float) -> Object:
    status, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    before = next(
        (c for c in budget.get("status", {}).get("conditions") or () if c["type"] == "DisruptionAllowed"), None
    )
    same = before is not None and before["status"] == status
    since = before["lastTransitionTime"] if same and before is not None else timestamp(now)
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": budget["metadata"].get("generation", 0),
        "lastTransitionTime": since,
        "reason": reason,
        "message": "",
    }
