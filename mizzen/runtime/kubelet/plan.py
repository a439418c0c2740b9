"""What a pod needs next: which containers to start, or that it is over. Pure.

Init containers run one after the other; native sidecars among them start and stay; the others start when all are through.
Source: Kubernetes' pod lifecycle, KEP-753 (sidecar containers).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mizzen.kube.resource import Object
from mizzen.runtime.kubelet import podspec
from mizzen.runtime.kubelet.views import View, Views


class Plan(NamedTuple):
    """start: containers to start now, in order. wake_s: look again after this, at the latest. over: `Succeeded` or `Failed`
    when no container of the pod will be started again and only sidecars may still run.
    """

    start: tuple[dict[str, Any], ...] = ()
    wake_s: float | None = None
    over: str = ""


def will_restart(pod: Object, container: dict[str, Any], view: View) -> bool:
    """Whether an ended container is to be started again."""
    policy = podspec.restart_policy(pod, container)
    if view.exited and podspec.rule_restarts(container, view.exit_code):
        return True
    return policy == "Always" or (policy == "OnFailure" and view.exit_code != 0)


def initialized(pod: Object, views: Views) -> bool:
    """Whether the init containers are through: all ended well, all sidecars started; or an app container was started."""
    if any(views[c["name"]].attempt >= 0 for c in pod["spec"]["containers"]):
        return True
    return all(_through(container, views[container["name"]]) for container in podspec.init_containers(pod))


def _through(container: dict[str, Any], view: View) -> bool:
    if podspec.is_sidecar(container):
        return view.running and view.started
    return view.exited and view.exit_code == 0


def _startable(view: View, now: float) -> bool:
    return not view.running and not view.killing and view.not_before <= now


def verdict(pod: Object, views: Views) -> str:
    """`Succeeded` or `Failed` when the pod is over, else empty."""
    for container in podspec.init_containers(pod):
        view = views[container["name"]]
        if not podspec.is_sidecar(container) and view.exited and view.exit_code and not initialized(pod, views):
            if not will_restart(pod, container, view):
                return "Failed"
            return ""
    apps = [(container, views[container["name"]]) for container in pod["spec"]["containers"]]
    if not all(view.exited and not will_restart(pod, container, view) for container, view in apps):
        return ""
    return "Succeeded" if all(view.exit_code == 0 for _, view in apps) else "Failed"


def plan(pod: Object, views: Views, now: float) -> Plan:
    """The next step. now: of the clock that `not_before` is measured with."""
    if over := verdict(pod, views):
        return Plan(over=over)
    through = initialized(pod, views)
    start: list[dict[str, Any]] = []
    waits: list[float] = []

    def consider(container: dict[str, Any]) -> None:
        view = views[container["name"]]
        if _startable(view, now):
            start.append(container)
        elif not view.running and view.not_before > now:
            waits.append(view.not_before - now)

    for container in podspec.init_containers(pod):
        view = views[container["name"]]
        if podspec.is_sidecar(container):
            if not view.running:
                consider(container)
            if not through and not (view.running and view.started):
                return Plan(tuple(start), min(waits, default=None))
        elif not through and not _through(container, view):
            if not view.running:
                consider(container)
            return Plan(tuple(start), min(waits, default=None))
    for container in pod["spec"]["containers"]:
        view = views[container["name"]]
        if not view.running and (not view.exited or will_restart(pod, container, view)):
            consider(container)
    return Plan(tuple(start), min(waits, default=None))
