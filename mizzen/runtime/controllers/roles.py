"""ClusterRoles that are gathered from others by label.

Source: rbac.authorization.k8s.io/v1 ClusterRole.aggregationRule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.api.labels import from_message
from mizzen.kube.controller import After
from mizzen.kube.resource import Key, Resource, key_of
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", False, "ClusterRole")


def gathered(role: Object, every: list[Object]) -> list[Object]:
    """The rules of all roles that the aggregation selects, each once, in the order of the roles' names."""
    rules: list[Object] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        takes = from_message(selector)
        for other in sorted(every, key=lambda r: r["metadata"]["name"]):
            if other["metadata"]["name"] != role["metadata"]["name"] and takes(other["metadata"].get("labels") or {}):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


class AggregationController:
    """A key is a ClusterRole's name."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {CLUSTER_ROLES: self._gatherers}

    def _gatherers(self, _: Object) -> Iterable[Key]:
        every = self._writer.informers.of(CLUSTER_ROLES).all()
        return [key_of(role) for role in every if role.get("aggregationRule")]

    async def reconcile(self, key: Key) -> After | None:
        role = self._writer.get(CLUSTER_ROLES, key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = gathered(role, self._writer.informers.of(CLUSTER_ROLES).all())
        if (role.get("rules") or []) != rules:
            await self._writer.update(CLUSTER_ROLES, {**role, "rules": rules})
        return None
