"""exportTo: which namespaces see a service, VirtualService or DestinationRule.

Not here: the egress scope of a Sidecar resource (scope.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
PUBLIC, PRIVATE, NONE = "*", ".", "~"


class Exports(Generic[T]):
    """Things by the namespaces that see them: everyone, only their own, or named ones."""

    def __init__(self) -> None:
        self.public: list[T] = []
        self.private: dict[str, list[T]] = {}
        self.exported: dict[str, list[T]] = {}

    def add(self, item: T, namespace: str, export_to: Iterable[str], default: Iterable[str]) -> None:
        """Put a thing of `namespace` in; default counts when export_to is empty."""
        targets = set(export_to)
        if not targets:
            if PRIVATE in default:
                self.private.setdefault(namespace, []).append(item)
            elif PUBLIC in default:
                self.public.append(item)
            return
        if PUBLIC in targets:
            self.public.append(item)
            return
        if NONE in targets:
            return
        for target in sorted(targets):
            if target in (PRIVATE, namespace):
                self.private.setdefault(namespace, []).append(item)
            else:
                self.exported.setdefault(target, []).append(item)

    def seen_from(self, namespace: str) -> list[T]:
        """What a namespace sees: its own private things, then those exported to it, then the public ones."""
        return [*self.private.get(namespace, ()), *self.exported.get(namespace, ()), *self.public]


def visible(export_to: Iterable[str], owner: str, viewer: str) -> bool:
    """Whether a thing of namespace `owner` with this non-empty or empty exportTo is seen from `viewer`; empty = by all."""
    targets = set(export_to)
    if not targets or PUBLIC in targets or viewer in targets:
        return True
    return PRIVATE in targets and owner == viewer
