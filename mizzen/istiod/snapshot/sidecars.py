"""Which Sidecar resource holds for a workload.

By workloadSelector in its namespace (the oldest), else the namespace's one without selector, else that of the root namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mizzen.api.istio.networking import Sidecar
from mizzen.istiod.objects import by_age
from mizzen.istiod.registry.workloads import selects


class Sidecars:
    """Sidecar resources by namespace."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.selecting: dict[str, list[Sidecar]] = {}
        self.general: dict[str, Sidecar] = {}

    @classmethod
    def build(cls, objects: Iterable[Any], root: str) -> Sidecars:
        new = cls(root)
        for obj in by_age(objects):
            namespace = obj.metadata.namespace or "default"
            if obj.spec.workload_selector is not None:
                new.selecting.setdefault(namespace, []).append(obj)
            else:
                new.general.setdefault(namespace, obj)
        return new

    def for_workload(self, namespace: str, labels: Mapping[str, str]) -> Sidecar | None:
        for sidecar in self.selecting.get(namespace, ()):
            if selects(sidecar.spec.workload_selector.labels, labels):  # type: ignore[union-attr]
                return sidecar
        return self.general.get(namespace) or self.general.get(self.root)
