"""Nodes: taints by their conditions, Ready=Unknown when heartbeats stop, pods off nodes with NoExecute taints or that are gone.

Source: the well-known taints of node conditions; Lease heartbeats (KEP-589); tolerationSeconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from mizzen.kube.controller import After, itself
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import LEASES, NODES, PODS, Key, key_of
from mizzen.runtime.controllers.events import timestamp
from mizzen.runtime.controllers.pods import condition, moment
from mizzen.runtime.controllers.writes import Writer
from mizzen.runtime.scheduler.affinity import tolerates

Object = dict[str, Any]
PREFIX = "node.kubernetes.io/"
GRACE_S = 50.0  # without a heartbeat for this long a node is Unknown
ORPHAN_S = 40.0  # pods of a node that does not exist are taken away after this
PRESSURES = {"MemoryPressure": "memory-pressure", "DiskPressure": "disk-pressure", "PIDPressure": "pid-pressure",
             "NetworkUnavailable": "network-unavailable"}  # fmt: skip
OURS = {PREFIX + name for name in (*PRESSURES.values(), "not-ready", "unreachable", "unschedulable")}

TTL = "node.alpha.kubernetes.io/ttl"


class Ttl(NamedTuple):
    """Between so many nodes (the ranges overlap, so that one node more or less changes nothing) it is so many seconds."""

    least: int
    most: int
    seconds: int


TTLS = (Ttl(0, 100, 0), Ttl(90, 500, 15), Ttl(450, 1000, 30), Ttl(900, 2000, 60), Ttl(1800, 2**31, 300))


def ttl_step(step: int, nodes: int) -> int:
    """The place in TTLS after the number of nodes changed."""
    while nodes > TTLS[step].most:
        step += 1
    while nodes < TTLS[step].least:
        step -= 1
    return step


def wanted_taints(node: Object, all_unready: bool) -> list[tuple[str, str]]:
    """(key, effect) of the taints that a node's conditions mean. all_unready: no node is ready, so none is emptied."""
    result = []
    ready = condition(node, "Ready")
    if ready is not None and ready["status"] != "True":
        key = PREFIX + ("unreachable" if ready["status"] == "Unknown" else "not-ready")
        result.append((key, "NoSchedule"))
        if not all_unready:
            result.append((key, "NoExecute"))
    elif ready is None:
        result.append((PREFIX + "not-ready", "NoSchedule"))
    for kind, name in PRESSURES.items():
        entry = condition(node, kind)
        if entry is not None and entry["status"] == "True":
            result.append((PREFIX + name, "NoSchedule"))
    if node["spec"].get("unschedulable"):
        result.append((PREFIX + "unschedulable", "NoSchedule"))
    return result


def retainted(node: Object, wanted: list[tuple[str, str]], stamp: str) -> list[Object] | None:
    """The node's taints with ours as wanted, or None when they are so already."""
    taints = node["spec"].get("taints") or []
    have = [(t["key"], t["effect"]) for t in taints if t["key"] in OURS]
    if sorted(have) == sorted(wanted):
        return None
    kept = [t for t in taints if t["key"] not in OURS or (t["key"], t["effect"]) in wanted]
    present = {(t["key"], t["effect"]) for t in kept}
    added: list[Object] = [
        {"key": key, "effect": effect, "timeAdded": stamp} for key, effect in wanted if (key, effect) not in present
    ]
    return kept + added


def leaves_in(pod: Object, taints: list[Object], now: float) -> float | None:
    """Seconds until NoExecute taints drive a pod off its node (0.0: now); None: it stays."""
    tolerations = pod["spec"].get("tolerations") or []
    soonest: float | None = None
    for taint in taints:
        if taint["effect"] != "NoExecute":
            continue
        matching = [t for t in tolerations if tolerates([t], taint)]
        if not matching:
            return 0.0
        limits = [t["tolerationSeconds"] for t in matching if t.get("tolerationSeconds") is not None]
        if limits:
            since = moment(taint.get("timeAdded")) or now
            left = max(0.0, since + min(limits) - now)
            soonest = left if soonest is None else min(soonest, left)
    return soonest


class NodeController:
    """A key is a Node's name: its taints, and the pods that its NoExecute taints drive off."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {NODES: self._all_when_it_matters, PODS: self._of_pod}

    def _all_when_it_matters(self, node: Object) -> Iterable[Key]:
        return [key_of(other) for other in self._writer.informers.of(NODES).all()] + [key_of(node)]

    def _of_pod(self, pod: Object) -> Iterable[Key]:
        name = pod["spec"].get("nodeName")
        return [Key("", name)] if name else []

    async def reconcile(self, key: Key) -> After | None:
        node = self._writer.get(NODES, key)
        if node is None:
            return None
        now = time.time()
        everyone = self._writer.informers.of(NODES).all()
        all_unready = not any((c := condition(n, "Ready")) is not None and c["status"] == "True" for n in everyone)
        taints = retainted(node, wanted_taints(node, all_unready), timestamp(now))
        if taints is not None:
            node = await self._writer.update(NODES, {**node, "spec": _spec(node, taints)})
        pauses = []
        for pod in self._writer.informers.of(PODS).all():
            if pod["spec"].get("nodeName") != key.name or "deletionTimestamp" in pod["metadata"]:
                continue
            left = leaves_in(pod, node["spec"].get("taints") or [], now)
            if left == 0.0:
                await self._evict(pod, now)
            elif left is not None:
                pauses.append(left)
        return After(min(pauses)) if pauses else None

    async def _evict(self, pod: Object, now: float) -> None:
        entry = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                 "message": "Taint manager: deleting due to NoExecute taint", "lastTransitionTime": timestamp(now)}  # fmt: skip
        try:
            await self._writer.patch(PODS, pod, {"status": {"conditions": [entry]}}, subresource="status")
        except ApiError as error:
            if not error.not_found:
                raise
        await self._writer.delete(PODS, pod)


def _spec(node: Object, taints: list[Object]) -> Object:
    spec = {k: v for k, v in node["spec"].items() if k != "taints"}
    return {**spec, "taints": taints} if taints else spec


class TtlController:
    """A key is a Node's name: says on it for how long kubelets may keep Secrets and ConfigMaps, by the number of nodes."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._step = writer, 0
        self.watches = {NODES: itself}

    async def reconcile(self, key: Key) -> After | None:
        node = self._writer.get(NODES, key)
        if node is None:
            return None
        self._step = ttl_step(self._step, len(self._writer.informers.of(NODES).all()))
        wanted = str(TTLS[self._step].seconds)
        if (node["metadata"].get("annotations") or {}).get(TTL) != wanted:
            await self._writer.patch(NODES, node, {"metadata": {"annotations": {TTL: wanted}}}, type="merge")
        return None


class HeartbeatController:
    """A key is a Node's name: Ready becomes Unknown when its Lease is not renewed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._seen: dict[str, tuple[str, float]] = {}  # node → last heartbeat told, and when we saw it (monotonic)
        self.watches = {NODES: itself, LEASES: self._of_lease}

    def _of_lease(self, lease: Object) -> Iterable[Key]:
        metadata = lease["metadata"]
        return [Key("", metadata["name"])] if metadata["namespace"] == "kube-node-lease" else []

    async def reconcile(self, key: Key) -> After | None:
        node = self._writer.get(NODES, key)
        if node is None:
            self._seen.pop(key.name, None)
            return None
        ready = condition(node, "Ready")
        if ready is None:
            return None
        lease = self._writer.get(LEASES, Key("kube-node-lease", key.name)) or {}
        beat = f"{ready.get('lastHeartbeatTime')} {(lease.get('spec') or {}).get('renewTime')}"
        now = time.monotonic()
        last, since = self._seen.get(key.name, ("", 0.0))
        if beat != last:
            self._seen[key.name] = (beat, now)
            return After(GRACE_S)
        if now - since < GRACE_S or ready["status"] == "Unknown":
            return After(max(1.0, since + GRACE_S - now))
        await self._unknown(node)
        return After(GRACE_S)

    async def _unknown(self, node: Object) -> None:
        stamp = timestamp(time.time())
        text = "Kubelet stopped posting node status."
        conditions = [
            {**c, "status": "Unknown", "reason": "NodeStatusUnknown", "message": text, "lastTransitionTime": stamp}
            if c["type"] in ("Ready", *PRESSURES)
            else c
            for c in node["status"]["conditions"]
        ]
        await self._writer.update_status(NODES, node, {**node["status"], "conditions": conditions})


class PodCollector:
    """A key is a pod's: pods of nodes that do not exist are failed and removed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {PODS: itself, NODES: self._of_node}

    def _of_node(self, node: Object) -> Iterable[Key]:
        name = node["metadata"]["name"]
        return [key_of(p) for p in self._writer.informers.of(PODS).all() if p["spec"].get("nodeName") == name]

    async def reconcile(self, key: Key) -> After | None:
        pod = self._writer.get(PODS, key)
        if pod is None or not pod["spec"].get("nodeName"):
            return None
        if self._writer.get(NODES, Key("", pod["spec"]["nodeName"])) is not None:
            return None
        created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"].replace("Z", "+00:00")).timestamp()
        left = created + ORPHAN_S - time.time()
        if left > 0:
            return After(left)
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            entry = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                     "message": "PodGC: node no longer exists", "lastTransitionTime": timestamp(time.time())}  # fmt: skip
            patch = {"status": {"phase": "Failed", "conditions": [entry]}}
            pod = await self._writer.patch(PODS, pod, patch, subresource="status")
        await self._writer.client.delete(PODS, key.name, key.namespace, grace_period_s=0)
        return None
