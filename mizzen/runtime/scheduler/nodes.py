"""The scheduler's view of a node: what it has, what is taken, who is on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mizzen.runtime.scheduler.resources import Amounts, add, amounts, host_ports, pod_requests

Object = dict[str, Any]


@dataclass(slots=True)
class NodeInfo:
    """One node with the pods assumed or bound to it."""

    node: Object
    pods: dict[str, Object] = field(default_factory=dict)  # by uid
    requested: Amounts = field(default_factory=dict)
    ports: set[tuple[str, str, int]] = field(default_factory=set)
    allocatable: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        status = self.node.get("status", {})
        self.allocatable = amounts(status.get("allocatable") or status.get("capacity"))
        for pod in list(self.pods.values()):
            self._count(pod, 1)

    @property
    def name(self) -> str:
        return str(self.node["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return self.node["metadata"].get("labels") or {}

    def add(self, pod: Object) -> None:
        """Counts a pod in; the same uid again replaces the former."""
        self.remove(pod)
        self.pods[pod["metadata"]["uid"]] = pod
        self._count(pod, 1)

    def remove(self, pod: Object) -> None:
        """Counts a pod out, if it is in."""
        former = self.pods.pop(pod["metadata"]["uid"], None)
        if former is not None:
            self._count(former, -1)

    def without(self, pods: list[Object]) -> NodeInfo:
        """A copy as it would be if these pods were gone."""
        gone = {pod["metadata"]["uid"] for pod in pods}
        return NodeInfo(self.node, {uid: pod for uid, pod in self.pods.items() if uid not in gone})

    def with_pods(self, pods: list[Object]) -> NodeInfo:
        """A copy as it would be if these pods were there too."""
        return NodeInfo(self.node, {**self.pods, **{pod["metadata"]["uid"]: pod for pod in pods}})

    def _count(self, pod: Object, sign: int) -> None:
        add(self.requested, {name: sign * amount for name, amount in pod_requests(pod).items()})
        add(self.requested, {"pods": sign})
        if taken := host_ports(pod):
            self.ports = (
                set().union(*(host_ports(other) for other in self.pods.values())) if sign < 0 else self.ports | taken
            )
