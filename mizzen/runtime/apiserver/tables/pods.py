"""The cells of a Pod: readiness, what it is doing, restarts.

Source: kube-apiserver's printers, printPod.
"""

from __future__ import annotations

from typing import Any

from ..schema.scalars import age

Object = dict[str, Any]


def pod(tree: Object) -> list[Any]:
    spec, status, meta = tree.get("spec") or {}, tree.get("status") or {}, tree["metadata"]
    containers = status.get("containerStatuses") or []
    total = len(spec.get("containers") or ())
    restarted = _Restarts()
    reason = status.get("reason") or status.get("phase") or ""
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled")
    if scheduled and scheduled.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    native = {one["name"] for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"}
    total += len(native)
    reason, initializing, ready = _init(spec, status, reason, native, restarted)
    if not initializing or _initialized(conditions):
        ready += _containers(containers, restarted)
        reason = _reason(containers, reason, conditions)
    if meta.get("deletionTimestamp") and status.get("reason") == "NodeLost":
        reason = "Unknown"
    elif meta.get("deletionTimestamp") and status.get("phase") not in ("Failed", "Succeeded"):
        reason = "Terminating"
    ips = status.get("podIPs") or ([{"ip": status["podIP"]}] if status.get("podIP") else [])
    gates = spec.get("readinessGates") or []
    met = sum(1 for one in gates if conditions.get(one["conditionType"], {}).get("status") == "True")
    return [
        f"{ready}/{total}",
        reason,
        restarted.text(),
        age(meta.get("creationTimestamp")),
        ips[0]["ip"] if ips else "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        f"{met}/{len(gates)}" if gates else "<none>",
    ]


class _Restarts:
    def __init__(self) -> None:
        self.count = 0
        self.last: str | None = None

    def add(self, container: Object) -> None:
        self.count += container.get("restartCount", 0)
        finished = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        if finished and (self.last is None or finished > self.last):
            self.last = finished

    def text(self) -> str:
        return f"{self.count} ({age(self.last)} ago)" if self.count and self.last else str(self.count)


def _init(spec: Object, status: Object, reason: str, native: set[str], restarts: _Restarts) -> tuple[str, bool, int]:
    """The reason, whether the pod still initializes, and how many native sidecars are ready."""
    ready = 0
    statuses = status.get("initContainerStatuses") or []
    for place, container in enumerate(statuses):
        restarts.add(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if container.get("name") in native and container.get("started"):
            ready += 1 if container.get("ready") else 0
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}", True, ready
        if waiting and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}", True, ready
        return f"Init:{place}/{len(spec.get('initContainers') or ())}", True, ready
    return reason, False, ready


def _initialized(conditions: dict[str, Object]) -> bool:
    return conditions.get("Initialized", {}).get("status") == "True"


def _ended(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _containers(containers: list[Object], restarts: _Restarts) -> int:
    ready = 0
    for container in containers:
        restarts.add(container)
        if container.get("ready") and "running" in (container.get("state") or {}):
            ready += 1
    return ready


def _reason(containers: list[Object], reason: str, conditions: dict[str, Object]) -> str:
    running = False
    for container in reversed(containers):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _ended(ended)
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if conditions.get("Ready", {}).get("status") == "True" else "NotReady"
    return reason
