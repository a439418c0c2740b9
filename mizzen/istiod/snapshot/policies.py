"""Policies that are chosen by workload: by selector or targetRefs, in the root namespace and the workload's own.

Takes the objects of one kind, gives those that hold for a proxy. Not here: how several of them merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from mizzen.istiod.node import Node
from mizzen.istiod.objects import by_age
from mizzen.istiod.registry.workloads import selects

P = TypeVar("P")
GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"


class Policies(Generic[P]):
    """Objects of one kind by namespace, oldest first."""

    def __init__(self, root: str, by_namespace: dict[str, list[P]]) -> None:
        self.root = root
        self.by_namespace = by_namespace

    @classmethod
    def build(cls, objects: Iterable[Any], root: str) -> Policies[P]:
        tables: dict[str, list[Any]] = {}
        for obj in by_age(objects):
            tables.setdefault(obj.metadata.namespace or "default", []).append(obj)
        return cls(root, tables)

    def near(self, namespace: str) -> list[P]:
        """Objects of the root namespace, then of this one."""
        namespaces = dict.fromkeys((self.root, namespace))
        return [obj for name in namespaces for obj in self.by_namespace.get(name, ())]

    def for_node(self, node: Node) -> list[P]:
        """Objects that choose this proxy's workload: root namespace first, oldest first in each."""
        return [obj for obj in self.near(node.namespace) if chooses(obj, node.namespace, node.labels, self.root)]


def selector_of(obj: Any) -> Mapping[str, str]:
    """The labels that a policy selects by; empty = all workloads of its namespaces."""
    selector = getattr(obj.spec, "selector", None)
    return selector.match_labels if selector is not None else {}


def target_refs(obj: Any) -> tuple[Any, ...]:
    """The targetRefs of a policy, the deprecated single one included."""
    refs = tuple(getattr(obj.spec, "target_refs", ()))
    single = getattr(obj.spec, "target_ref", None)
    return (*refs, single) if single is not None else refs


def chooses(obj: Any, namespace: str, labels: Mapping[str, str], root: str) -> bool:
    """Whether a policy holds for a workload of this namespace and labels.

    A policy with targetRefs holds for the pods of a Gateway API gateway that it names, never for others; one with
    neither holds for all.
    """
    refs = target_refs(obj)
    gateway = labels.get(GATEWAY_NAME, "")
    if refs:
        own = (obj.metadata.namespace or "default") == namespace
        return any(ref.kind == "Gateway" and own and ref.name == gateway and gateway for ref in refs) or any(
            ref.kind == "GatewayClass" and (obj.metadata.namespace or "default") == root and gateway for ref in refs
        )
    return selects(selector_of(obj), labels)
