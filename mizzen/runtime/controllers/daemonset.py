"""DaemonSets: one pod on every node that will have it.

Source: apps/v1 DaemonSet; the tolerations that daemon pods get; updates one by one within maxUnavailable, or with maxSurge.
The scheduler binds the pods: each names its node by affinity.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from mizzen.kube.controller import After, itself, owner
from mizzen.kube.resource import DAEMON_SETS, NODES, PODS, Key, key_of
from mizzen.runtime.controllers.deployment_plan import share
from mizzen.runtime.controllers.events import Recorder
from mizzen.runtime.controllers.owners import is_controlled_by, reference_to
from mizzen.runtime.controllers.pods import available_in, is_ready
from mizzen.runtime.controllers.revisions import CONTROLLER_REVISIONS, HASH, RevisionKeeper
from mizzen.runtime.controllers.writes import Writer
from mizzen.runtime.scheduler.affinity import node_matches, tolerates

Object = dict[str, Any]
KIND = "DaemonSet"
PREFIX = "node.kubernetes.io/"
TOLERATIONS = (
    *({"key": PREFIX + key, "operator": "Exists", "effect": "NoExecute"} for key in ("not-ready", "unreachable")),
    *(
        {"key": PREFIX + key, "operator": "Exists", "effect": "NoSchedule"}
        for key in ("disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
    ),
)
HOST_NETWORK_TOLERATION = {"key": PREFIX + "network-unavailable", "operator": "Exists", "effect": "NoSchedule"}


class Fit(NamedTuple):
    """Whether a daemon pod should be started on a node, and whether one that runs there may stay."""

    start: bool
    stay: bool


def tolerations(template: Object) -> list[Object]:
    """The template's tolerations with those of every daemon pod."""
    spec = template.get("spec") or {}
    extra = [*TOLERATIONS, *([HOST_NETWORK_TOLERATION] if spec.get("hostNetwork") else [])]
    own = list(spec.get("tolerations") or ())
    return own + [toleration for toleration in extra if toleration not in own]


def fit(daemon_set: Object, node: Object) -> Fit:
    """How the set and a node get on."""
    template = daemon_set["spec"]["template"]
    spec = template.get("spec") or {}
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]) or not node_matches({"spec": spec}, node):
        return Fit(False, False)
    accepted = tolerations(template)
    refused = [
        t for t in node["spec"].get("taints") or () if t["effect"] != "PreferNoSchedule" and not tolerates(accepted, t)
    ]
    return Fit(not refused, not any(t["effect"] == "NoExecute" for t in refused))


def new_pod(daemon_set: Object, node: str, revision_hash: str) -> Object:
    """The pod of one node: bound to it by a node affinity on its name."""
    template = copy.deepcopy(daemon_set["spec"]["template"])
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    spec["tolerations"] = tolerations(template)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
    }
    generation = str(daemon_set["metadata"].get("generation", 1))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{daemon_set['metadata']['name']}-",
            "namespace": daemon_set["metadata"]["namespace"],
            "labels": {**(metadata.get("labels") or {}), HASH: revision_hash, "pod-template-generation": generation},
            **({"annotations": metadata["annotations"]} if metadata.get("annotations") else {}),
            "ownerReferences": [reference_to(daemon_set, "apps/v1", KIND)],
        },
        "spec": spec,
    }


def node_of(pod: Object) -> str:
    """The node a daemon pod is on or is meant for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            if entry["key"] == "metadata.name" and entry.get("values"):
                return str(entry["values"][0])
    return ""


class DaemonSetController:
    """A key is a DaemonSet's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self._revisions = RevisionKeeper(writer, KIND)
        self.watches = {
            DAEMON_SETS: itself,
            PODS: owner(KIND),
            NODES: self._all,
            CONTROLLER_REVISIONS: owner(KIND),
        }

    def _all(self, _: Object) -> Iterable[Key]:
        return [key_of(daemon_set) for daemon_set in self._writer.informers.of(DAEMON_SETS).all()]

    async def reconcile(self, key: Key) -> After | None:
        daemon_set = self._writer.get(DAEMON_SETS, key)
        if daemon_set is None or "deletionTimestamp" in daemon_set["metadata"]:
            return None
        history = await self._revisions.sync(daemon_set)
        revision = history.current["metadata"]["labels"][HASH]
        nodes = {node["metadata"]["name"]: node for node in self._writer.informers.of(NODES).all()}
        await self._place(daemon_set, nodes, revision)
        await self._update(daemon_set, nodes, revision)
        by_node = self._pods(daemon_set)
        live = {(p["metadata"].get("labels") or {}).get(HASH, "") for pods in by_node.values() for p in pods}
        await self._revisions.truncate(daemon_set, history, live)
        return await self._status(daemon_set, nodes, by_node, revision)

    def _pods(self, daemon_set: Object) -> dict[str, list[Object]]:
        found: dict[str, list[Object]] = {}
        for pod in self._writer.in_namespace(PODS, daemon_set["metadata"]["namespace"]):
            if is_controlled_by(pod, daemon_set):
                found.setdefault(node_of(pod), []).append(pod)
        return found

    async def _place(self, daemon_set: Object, nodes: dict[str, Object], revision: str) -> None:
        by_node = self._pods(daemon_set)
        for name, node in nodes.items():
            should, pods = fit(daemon_set, node), by_node.get(name, [])
            living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
            failed = [pod for pod in living if pod.get("status", {}).get("phase") in ("Failed", "Succeeded")]
            for pod in failed if should.stay else living:
                await self._delete(daemon_set, pod)
            healthy = [pod for pod in living if pod not in failed]
            if should.start and not healthy and len(pods) == len(failed):
                pod = await self._writer.create(PODS, new_pod(daemon_set, name, revision))
                text = f"Created pod: {pod['metadata']['name']}"
                await self._recorder.event(daemon_set, "Normal", "SuccessfulCreate", text)
            elif should.stay and len(healthy) > 1:
                for pod in sorted(healthy, key=lambda p: p["metadata"].get("creationTimestamp") or "")[1:]:
                    if (pod["metadata"].get("labels") or {}).get(HASH) == revision and _surge(daemon_set, 1):
                        continue
                    await self._delete(daemon_set, pod)
        for name, pods in by_node.items():
            if name and name not in nodes:
                for pod in pods:
                    await self._delete(daemon_set, pod)

    async def _delete(self, daemon_set: Object, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            return
        await self._writer.delete(PODS, pod)
        text = f"Deleted pod: {pod['metadata']['name']}"
        await self._recorder.event(daemon_set, "Normal", "SuccessfulDelete", text)

    async def _update(self, daemon_set: Object, nodes: dict[str, Object], revision: str) -> None:
        """Replaces pods of older revisions: those that serve nobody at once, the others within maxUnavailable."""
        strategy = daemon_set["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        wanted = [name for name, node in nodes.items() if fit(daemon_set, node).start]
        rolling = strategy.get("rollingUpdate") or {}
        may_miss = share(rolling.get("maxUnavailable", 1), len(wanted), round_up=True)
        surge = _surge(daemon_set, len(wanted))
        by_node, now = self._pods(daemon_set), time.time()
        least_s = daemon_set["spec"].get("minReadySeconds", 0)
        missing, old_ones = 0, []
        for name in wanted:
            pods = [pod for pod in by_node.get(name, []) if "deletionTimestamp" not in pod["metadata"]]
            up = [pod for pod in pods if available_in(pod, least_s, now) == 0.0]
            missing += not up
            outdated = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(HASH) != revision]
            fresh = [pod for pod in pods if pod not in outdated]
            for pod in outdated:
                if surge and any(available_in(p, least_s, now) == 0.0 for p in fresh):
                    await self._delete(daemon_set, pod)
                elif surge and not fresh:
                    if surge > 0:
                        surge -= 1
                        await self._writer.create(PODS, new_pod(daemon_set, name, revision))
                elif not surge and pod not in up:
                    await self._delete(daemon_set, pod)
                elif not surge:
                    old_ones.append(pod)
        for pod in old_ones[: max(0, may_miss - missing)]:
            await self._delete(daemon_set, pod)

    async def _status(
        self, daemon_set: Object, nodes: dict[str, Object], by_node: dict[str, list[Object]], revision: str
    ) -> After | None:
        now, least_s = time.time(), daemon_set["spec"].get("minReadySeconds", 0)
        counts = dict.fromkeys(("desired", "current", "misscheduled", "ready", "available", "updated"), 0)
        again: float | None = None
        for name, node in nodes.items():
            pods = by_node.get(name, [])
            if not fit(daemon_set, node).start:
                counts["misscheduled"] += bool(pods)
                continue
            counts["desired"] += 1
            if not pods:
                continue
            counts["current"] += 1
            newest = max(pods, key=lambda p: (is_ready(p), p["metadata"].get("creationTimestamp") or ""))
            wait = available_in(newest, least_s, now)
            counts["ready"] += wait is not None
            counts["available"] += wait == 0.0
            if wait:
                again = min(again or wait, wait)
            counts["updated"] += any((p["metadata"].get("labels") or {}).get(HASH) == revision for p in pods)
        status: Object = {
            "currentNumberScheduled": counts["current"],
            "numberMisscheduled": counts["misscheduled"],
            "desiredNumberScheduled": counts["desired"],
            "numberReady": counts["ready"],
            "observedGeneration": daemon_set["metadata"].get("generation", 0),
        }
        optional = {
            "updatedNumberScheduled": counts["updated"],
            "numberAvailable": counts["available"],
            "numberUnavailable": counts["desired"] - counts["available"],
        }
        status |= {name: count for name, count in optional.items() if count}
        if (collisions := daemon_set.get("status", {}).get("collisionCount")) is not None:
            status["collisionCount"] = collisions
        await self._writer.update_status(DAEMON_SETS, daemon_set, status)
        return After(again) if again else None


def _surge(daemon_set: Object, total: int) -> int:
    rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return share(rolling.get("maxSurge", 0), total, round_up=True)
