"""The scheduler: takes pods without a node, one by one, and binds each to the node that decide.py names.

A pod that fits nowhere waits until something changes that may help, or UNSCHEDULABLE_RETRY_S. Events and the PodScheduled
condition say why. Source: KEP-624 (queueing), core/v1 Binding. Not here: profiles and extenders (one profile, "default-scheduler").
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from datetime import UTC, datetime
from typing import Any

from mizzen.kube.client import Client
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.informer import Change, Informers
from mizzen.kube.resource import EVENTS, NAMESPACES, NODES, PODS, Key, Resource, key_of
from mizzen.runtime.scheduler.decide import Decision, decide, priority_of
from mizzen.runtime.scheduler.filters import Cluster
from mizzen.runtime.scheduler.nodes import NodeInfo

log = logging.getLogger(__name__)
Object = dict[str, Any]
NAME = "default-scheduler"
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", True, "PodDisruptionBudget")
UNSCHEDULABLE_RETRY_S = 30.0
GATED = "Scheduling is blocked due to non-empty scheduling gates"


class Scheduler:
    """`run` until cancelled. informers: shared ones that the caller runs."""

    def __init__(self, client: Client, informers: Informers, name: str = NAME) -> None:
        self._client, self._informers, self._name = client, informers, name
        self._nodes: dict[str, NodeInfo] = {}
        self._elsewhere: dict[str, dict[str, Object]] = {}  # pods on nodes that are not (yet) known, by node and uid
        self._heap: list[tuple[int, int, Key]] = []  # (-priority, arrival, key)
        self._queued: set[Key] = set()
        self._waiting: dict[Key, float] = {}  # unschedulable pods, and when to look again at the latest
        self._nominated: dict[Key, str] = {}  # pods that wait for their victims to go, and the node
        self._arrivals = itertools.count()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        for resource, handler in ((NODES, self._node_changed), (PODS, self._pod_changed)):
            self._informers.of(resource).add_handler(handler)
        self._informers.of(NAMESPACES)
        self._informers.of(BUDGETS)
        for resource in (NODES, PODS, NAMESPACES, BUDGETS):
            await self._informers.of(resource).synced.wait()
        while True:
            key = await self._next()
            pod = self._informers.get(PODS, key)
            if pod is None or not self._is_mine(pod):
                continue
            try:
                await self._schedule(pod)
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("scheduling %s: %s", key, error)
                self._waiting[key] = time.monotonic() + 1.0

    # The view of the cluster

    def _node_changed(self, change: Change) -> None:
        name = change.object["metadata"]["name"]
        if change.new is None:
            if (info := self._nodes.pop(name, None)) is not None:
                self._elsewhere[name] = info.pods
            return
        old = self._nodes.get(name)
        pods = old.pods if old is not None else self._elsewhere.pop(name, {})
        self._nodes[name] = NodeInfo(change.new, dict(pods))
        if old is None or _matters(change.old, change.new):
            self._retry_waiting()

    def _pod_changed(self, change: Change) -> None:
        pod = change.new
        if pod is not None and self._is_mine(pod) and (nominated := pod.get("status", {}).get("nominatedNodeName")):
            self._nominated[change.key] = nominated
        else:
            self._nominated.pop(change.key, None)
        if pod is None or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            self._forget(change.object)
            self._waiting.pop(change.key, None)
            self._retry_waiting()
            return
        if node := pod["spec"].get("nodeName"):
            self._count(node, pod)
            self._waiting.pop(change.key, None)
        elif self._is_mine(pod):
            same = change.old is not None and change.old["spec"] == pod["spec"]
            if not (same and change.key in self._waiting):
                self._add(pod)

    def _count(self, node: str, pod: Object) -> None:
        if (info := self._nodes.get(node)) is not None:
            info.add(pod)
        else:
            self._elsewhere.setdefault(node, {})[pod["metadata"]["uid"]] = pod

    def _forget(self, pod: Object) -> None:
        node = pod["spec"].get("nodeName", "")
        if (info := self._nodes.get(node)) is not None:
            info.remove(pod)
        self._elsewhere.get(node, {}).pop(pod["metadata"]["uid"], None)

    def _is_mine(self, pod: Object) -> bool:
        spec = pod["spec"]
        mine = spec.get("schedulerName", NAME) == self._name and not spec.get("nodeName")
        return mine and "deletionTimestamp" not in pod["metadata"]

    # The queue

    def _add(self, pod: Object) -> None:
        key = key_of(pod)
        self._waiting.pop(key, None)
        if key not in self._queued:
            self._queued.add(key)
            heapq.heappush(self._heap, (-priority_of(pod), next(self._arrivals), key))
            self._wake.set()

    def _retry_waiting(self, all_of_them: bool = True) -> None:
        now = time.monotonic()
        for key in [key for key, at in self._waiting.items() if all_of_them or at <= now]:
            del self._waiting[key]
            if (pod := self._informers.get(PODS, key)) is not None:
                self._add(pod)

    async def _next(self) -> Key:
        while not self._heap:
            self._wake.clear()
            pause = min(self._waiting.values(), default=None)
            timeout = None if pause is None else max(0.0, pause - time.monotonic())
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                self._retry_waiting(all_of_them=False)
        key = heapq.heappop(self._heap)[2]
        self._queued.discard(key)
        return key

    # One pod

    def _view(self, pod: Object) -> list[NodeInfo]:
        """The nodes, with those pods counted in that wait for room made for them there and are no less important."""
        waiting: dict[str, list[Object]] = {}
        for key, node in self._nominated.items():
            other = self._informers.get(PODS, key)
            if other is not None and key != key_of(pod) and priority_of(other) >= priority_of(pod):
                waiting.setdefault(node, []).append(other)
        return [info.with_pods(waiting[info.name]) if info.name in waiting else info for info in self._nodes.values()]

    async def _schedule(self, pod: Object) -> None:
        if pod["spec"].get("schedulingGates"):
            await self._unscheduled(pod, "SchedulingGated", GATED)
            return
        namespaces = {ns["metadata"]["name"]: ns for ns in self._informers.of(NAMESPACES).all()}
        decision = decide(pod, Cluster(self._view(pod), namespaces, self._informers.of(BUDGETS).all()))
        if decision.node is None:
            await self._reject(pod, decision)
            return
        self._count(decision.node, pod)  # assumed until the watch says so
        try:
            await self._bind(pod, decision.node)
        except BaseException:
            if (info := self._nodes.get(decision.node)) is not None:
                info.remove(pod)
            raise
        metadata = pod["metadata"]
        text = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {decision.node}"
        await self._event(pod, "Normal", "Scheduled", text, "Binding")

    async def _bind(self, pod: Object, node: str) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self._client.create(PODS, binding, subresource="binding")

    async def _reject(self, pod: Object, decision: Decision) -> None:
        key = key_of(pod)
        self._waiting[key] = time.monotonic() + UNSCHEDULABLE_RETRY_S
        if decision.nominated:
            self._nominated[key] = decision.nominated
        for victim in decision.victims:
            if "deletionTimestamp" not in victim["metadata"]:
                await self._evict(pod, victim)
        await self._unscheduled(pod, "Unschedulable", decision.message, decision.nominated)
        await self._event(pod, "Warning", "FailedScheduling", decision.message, "Scheduling")

    async def _evict(self, pod: Object, victim: Object) -> None:
        name, namespace = victim["metadata"]["name"], victim["metadata"]["namespace"]
        message = f"{NAME}: preempting to accommodate a higher priority pod"
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": message,
                     "lastTransitionTime": _now()}  # fmt: skip
        await self._client.patch(
            PODS, name, {"status": {"conditions": [condition]}}, namespace, type="strategic", subresource="status"
        )
        await self._client.delete(PODS, name, namespace, uid=victim["metadata"]["uid"])
        text = f"Preempted by pod {pod['metadata']['uid']} on node {victim['spec'].get('nodeName')}"
        await self._event(victim, "Normal", "Preempted", text, "Preempting")

    async def _unscheduled(self, pod: Object, reason: str, message: str, nominated: str = "") -> None:
        fresh = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        old = next((c for c in pod.get("status", {}).get("conditions") or () if c["type"] == "PodScheduled"), None)
        named = pod.get("status", {}).get("nominatedNodeName", "")
        if old is not None and all(old.get(k) == v for k, v in fresh.items()) and named == nominated:
            return
        since = old["lastTransitionTime"] if old is not None and old["status"] == "False" else _now()
        status: Object = {"conditions": [{**fresh, "lastProbeTime": None, "lastTransitionTime": since}]}
        if nominated or named:
            status["nominatedNodeName"] = nominated or None
        metadata = pod["metadata"]
        patch = {"status": status}
        await self._client.patch(
            PODS, metadata["name"], patch, metadata["namespace"], type="strategic", subresource="status"
        )

    async def _event(self, pod: Object, kind: str, reason: str, note: str, action: str) -> None:
        metadata = pod["metadata"]
        now = datetime.now(UTC)
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "reason": reason,
            "message": note[:1024],
            "type": kind,
            "action": action,
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "firstTimestamp": None,
            "lastTimestamp": None,
            "source": {},
            "reportingComponent": NAME,
            "reportingInstance": NAME,
        }
        try:
            await self._client.create(EVENTS, event, metadata["namespace"])
        except ApiError as error:
            log.debug("event %s of %s: %s", reason, metadata["name"], error)


def _matters(old: Object | None, new: Object) -> bool:
    """A change of a node that may let a waiting pod in: not a heartbeat."""
    if old is None:
        return True

    def shape(node: Object) -> tuple[Any, ...]:
        return (node["spec"], node["metadata"].get("labels"), node.get("status", {}).get("allocatable"))

    return shape(old) != shape(new)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
