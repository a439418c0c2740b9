"""A pod's status as Kubernetes shows it: phase, conditions, container states. Pure.

Source: the kubelet's status generation (phases, condition reasons and messages, container states).
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from mizzen.kube.resource import Object
from mizzen.runtime.kubelet import podspec
from mizzen.runtime.kubelet.backoff import words
from mizzen.runtime.kubelet.plan import initialized, verdict, will_restart
from mizzen.runtime.kubelet.views import View, Views

KUBELET_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodResizePending")


class Host(NamedTuple):
    """The node's part of a status. runtime: the prefix of container ids; now: seconds since the epoch."""

    ip: str
    runtime: str
    now: float


class Network(NamedTuple):
    """The sandbox: whether it is ready, and its addresses."""

    ready: bool = False
    ips: tuple[str, ...] = ()


def moment(seconds: float) -> str:
    """RFC 3339 in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _moment_ns(value: int) -> str | None:
    return moment(value / 1e9) if value > 0 else None


def terminated(status: Any, message: str, runtime: str) -> dict[str, Any]:
    """The `terminated` state of a CRI ContainerStatus."""
    found: dict[str, Any] = {
        "exitCode": status.exit_code,
        "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        "startedAt": _moment_ns(status.started_at),
        "finishedAt": _moment_ns(status.finished_at),
        "containerID": f"{runtime}://{status.id}",
    }
    if text := message or status.message:
        found["message"] = text
    return found


def _state(pod: Object, container: dict[str, Any], view: View, host: Host, through: bool, over: bool) -> dict[str, Any]:
    if view.running:
        return {"running": {"startedAt": _moment_ns(view.current.started_at)}}
    if view.waiting is not None and not over:
        reason, message = view.waiting
        return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    if view.exited:
        if view.not_before > host.now and view.delay_s and will_restart(pod, container, view) and not over:
            text = (
                f"back-off {words(view.delay_s)} restarting failed container={view.name} pod={podspec.full_name(pod)}"
            )
            return {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
        return {"terminated": terminated(view.current, view.messages.get(view.current.id, ""), host.runtime)}
    has_init = bool(podspec.init_containers(pod))
    return {"waiting": {"reason": "PodInitializing" if has_init and not through else "ContainerCreating"}}


def container_status(
    pod: Object, container: dict[str, Any], view: View, host: Host, through: bool, over: bool
) -> dict[str, Any]:
    """One entry of containerStatuses or initContainerStatuses."""
    state = _state(pod, container, view, host, through, over)
    last: dict[str, Any] = {}
    before = view.last
    if view.exited and "waiting" in state:
        before = view.current
    if before is not None:
        last = {"terminated": terminated(before, view.messages.get(before.id, ""), host.runtime)}
    plain_init = any(container is item for item in podspec.init_containers(pod)) and not podspec.is_sidecar(container)
    ready = view.exited and view.exit_code == 0 if plain_init else view.running and view.ready
    found: dict[str, Any] = {
        "name": view.name,
        "state": state,
        "lastState": last,
        "ready": bool(ready),
        "restartCount": max(0, view.attempt),
        "image": container.get("image", ""),
        "imageID": view.current.image_ref if view.current is not None else "",
        "started": view.running and view.started,
    }
    if view.current is not None:
        found["containerID"] = f"{host.runtime}://{view.current.id}"
    if resources := admitted(pod, view.name, container.get("resources")):
        found["resources"] = resources
        if resources.get("requests"):
            found["allocatedResources"] = resources["requests"]
    if mounts := container.get("volumeMounts"):
        found["volumeMounts"] = [_mount(item) for item in mounts]
    if view.running and view.current.HasField("user"):
        user = view.current.user.linux
        found["user"] = {
            "linux": {
                "uid": user.uid,
                "gid": user.gid,
                "supplementalGroups": list(user.supplemental_groups) or [user.gid],
            }
        }
    return found


def _mount(item: dict[str, Any]) -> dict[str, Any]:
    found = {"name": item["name"], "mountPath": item["mountPath"]}
    if item.get("readOnly"):
        found |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return found


def phase(pod: Object, views: Views, failed: bool = False) -> str:
    """Pending, Running, Succeeded or Failed. failed: ended from outside."""
    if over := "Failed" if failed else verdict(pod, views):
        return over
    if not initialized(pod, views):
        return "Pending"
    apps = [views[container["name"]] for container in pod["spec"]["containers"]]
    return "Running" if all(view.running or view.exited for view in apps) else "Pending"


def _condition(kind: str, true: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    found = {"type": kind, "status": "True" if true else "False", "lastProbeTime": None}
    if reason:
        found["reason"] = reason
    if message:
        found["message"] = message
    return found


def _initialized(pod: Object, views: Views, over: str) -> dict[str, Any]:
    if over == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    if initialized(pod, views):
        return _condition("Initialized", True)
    names = []
    for container in podspec.init_containers(pod):
        view = views[container["name"]]
        if podspec.is_sidecar(container):
            through = view.running and view.started
        else:
            through = view.exited and view.exit_code == 0
        names += [] if through else [view.name]
    text = f"containers with incomplete status: [{' '.join(names)}]"
    return _condition("Initialized", False, "ContainersNotInitialized", text)


def _containers_ready(pod: Object, views: Views, over: str) -> dict[str, Any]:
    if over:
        return _condition("ContainersReady", False, "PodCompleted" if over == "Succeeded" else "PodFailed")
    counted = [*podspec.sidecars(pod), *pod["spec"]["containers"]]
    unready = [c["name"] for c in counted if not (views[c["name"]].running and views[c["name"]].ready)]
    if unready:
        text = f"containers with unready status: [{' '.join(unready)}]"
        return _condition("ContainersReady", False, "ContainersNotReady", text)
    return _condition("ContainersReady", True)


def _ready(pod: Object, containers: dict[str, Any], conditions: list[dict[str, Any]]) -> dict[str, Any]:
    if containers["status"] != "True":
        return {**containers, "type": "Ready"}
    closed = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = next((item for item in conditions if item["type"] == kind), None)
        if found is None:
            closed.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found["status"] != "True":
            closed.append(f'the status of pod readiness gate "{kind}" is not "True", but {found["status"]}')
    if closed:
        return _condition("Ready", False, "ReadinessGatesNotReady", ", ".join(closed))
    return _condition("Ready", True)


def conditions(pod: Object, views: Views, network: Network, now: float, failed: bool = False) -> list[dict[str, Any]]:
    """The kubelet's conditions, those of others kept; transition times move only with the status."""
    old = (pod.get("status") or {}).get("conditions") or []
    over = "Failed" if failed else verdict(pod, views)
    containers = _containers_ready(pod, views, over)
    made = [
        _condition("PodReadyToStartContainers", network.ready),
        _initialized(pod, views, over),
        _ready(pod, containers, old),
        containers,
    ]
    if changed := resized(pod):
        made.append(_condition("PodResizePending", True, "Infeasible", f"a running pod is not resized here: {changed}"))
    by_kind = {item["type"]: item for item in old}
    for item in made:
        before = by_kind.get(item["type"])
        same = before is not None and before["status"] == item["status"]
        item["lastTransitionTime"] = before["lastTransitionTime"] if same and before is not None else moment(now)
        if (generation := pod["metadata"].get("generation")) is not None:
            item["observedGeneration"] = generation
    return made + [item for item in old if item["type"] not in KUBELET_CONDITIONS]


def resized(pod: Object) -> str:
    """The containers whose resources are no longer those that they were admitted with, by the status before; for people."""
    status = pod.get("status") or {}
    names = []
    for containers, statuses in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")):
        admitted = {one["name"]: one["resources"] for one in status.get(statuses) or () if "resources" in one}
        for container in pod["spec"].get(containers) or ():
            if container["name"] in admitted and admitted[container["name"]] != (container.get("resources") or {}):
                names.append(container["name"])
    return ", ".join(names)


def admitted(pod: Object, name: str, wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    """The resources that a container was given when it was first seen; they do not change."""
    status = pod.get("status") or {}
    for one in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        if one["name"] == name and "resources" in one:
            return dict(one["resources"])
    return wanted


def pod_status(
    pod: Object,
    views: Views,
    network: Network,
    host: Host,
    start_time: str,
    failed: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """The whole status. start_time: when the kubelet took the pod; failed: why it was ended from outside."""
    through, over = initialized(pod, views), bool(failed or verdict(pod, views))
    ips = (host.ip,) if pod["spec"].get("hostNetwork") else network.ips
    found: dict[str, Any] = {
        "phase": phase(pod, views, failed is not None),
        "conditions": conditions(pod, views, network, host.now, failed is not None),
        "hostIP": host.ip,
        "hostIPs": [{"ip": host.ip}],
        "startTime": start_time,
        "containerStatuses": [
            container_status(pod, c, views[c["name"]], host, through, over) for c in pod["spec"]["containers"]
        ],
        "qosClass": podspec.qos_class(pod),
    }
    if (generation := pod["metadata"].get("generation")) is not None:
        found["observedGeneration"] = generation
    if podspec.init_containers(pod):
        found["initContainerStatuses"] = [
            container_status(pod, c, views[c["name"]], host, through, over) for c in podspec.init_containers(pod)
        ]
    if containers := podspec.ephemeral_containers(pod):
        found["ephemeralContainerStatuses"] = [
            container_status(pod, c, views[c["name"]], host, through, over) | {"ready": False} for c in containers
        ]
    if failed is not None:
        found["reason"], found["message"] = failed
    if ips:
        found |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return found
