"""Which mutual TLS mode a workload's ports and a namespace's services have.

Takes PeerAuthentications, gives modes: DISABLE, PERMISSIVE, STRICT ("" = nobody says).
The oldest policy of each level counts; a lower level that is UNSET inherits: mesh, namespace, workload, port.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from mizzen.api.istio.security import MutualTLS, PeerAuthentication
from mizzen.istiod.registry.workloads import selects
from mizzen.istiod.snapshot.policies import Policies, selector_of

PERMISSIVE, STRICT, DISABLE = "PERMISSIVE", "STRICT", "DISABLE"


class Modes(msgspec.Struct, frozen=True):
    """The mode of one workload, and those of its ports that differ."""

    default: str = PERMISSIVE
    ports: dict[int, str] = {}

    def port(self, number: int) -> str:
        """The mode of a port that the workload listens on."""
        return self.ports.get(number, self.default)


class PeerAuthentications:
    """All PeerAuthentications of the mesh."""

    def __init__(self, policies: Policies[PeerAuthentication], root: str) -> None:
        self.policies = policies
        self.root = root

    @classmethod
    def build(cls, objects: Iterable[Any], root: str) -> PeerAuthentications:
        return cls(Policies.build(objects, root), root)

    def namespace_mode(self, namespace: str) -> str:
        """The mode that a namespace's own policy or the mesh's one gives; "" when neither says."""
        for owner in dict.fromkeys((namespace, self.root)):
            for policy in self.policies.by_namespace.get(owner, ()):
                if not selector_of(policy):
                    if _mode(policy.spec.mtls):
                        return _mode(policy.spec.mtls)
                    break
        return ""

    def for_workload(self, namespace: str, labels: Mapping[str, str]) -> Modes:
        """The modes of a workload."""
        mesh = own = workload = None
        for policy in self.policies.near(namespace):
            in_root = policy.metadata.namespace == self.root
            if not selector_of(policy):
                if in_root:
                    mesh = mesh or policy
                else:
                    own = own or policy
            elif not in_root and selects(selector_of(policy), labels):
                workload = workload or policy
        default = PERMISSIVE
        for level in (mesh, own, workload):
            default = (_mode(level.spec.mtls) if level is not None else "") or default
        levels = workload.spec.port_level_mtls if workload is not None else {}
        return Modes(default, {int(port): _mode(mtls) or default for port, mtls in levels.items()})


def _mode(mtls: MutualTLS | None) -> str:
    return "" if mtls is None or mtls.mode == "UNSET" else mtls.mode
