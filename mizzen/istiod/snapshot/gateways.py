"""Gateways by the workloads that they select.

Not here: merging the servers of several Gateways on one workload (translate/gateways*.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mizzen.api.istio.networking import Gateway
from mizzen.istiod.objects import by_age
from mizzen.istiod.registry.workloads import selects


class Gateways:
    """All Gateways, oldest first."""

    def __init__(self, every: tuple[Gateway, ...]) -> None:
        self.every = every

    @classmethod
    def build(cls, objects: Iterable[Any]) -> Gateways:
        return cls(tuple(by_age(objects)))

    def for_workload(self, labels: Mapping[str, str]) -> list[Gateway]:
        """Gateways whose selector the labels satisfy, in any namespace; oldest first."""
        return [gateway for gateway in self.every if selects(gateway.spec.selector, labels)]
