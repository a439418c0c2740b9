"""MeshConfig.serviceEntryVisibility: how widely a ServiceEntry may be seen, by the labels of its namespace.

It only narrows what exportTo says, and holds for sidecars and gateways when `applyToSidecars` is set. Not here: exportTo
itself (visibility.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from mizzen.api.errors import Invalid
from mizzen.api.istio.mesh import MeshConfig, VisibilityPolicy
from mizzen.api.labels import Predicate, from_message, nothing
from mizzen.istiod.snapshot.visibility import NONE, PRIVATE, PUBLIC


class EntryVisibility:
    """The policies of a mesh, in their order. applies: whether proxies of this control plane are under them."""

    def __init__(self, mesh: MeshConfig) -> None:
        setting = mesh.service_entry_visibility
        self.applies = setting is not None and setting.apply_to_sidecars
        self._default = setting.default_visibility if setting is not None else "PUBLIC"
        self._policies = [(policy.visibility, _rules(policy)) for policy in (setting.policies if setting else ())]

    def of(self, namespace_labels: Mapping[str, str]) -> str:
        """NONE, NAMESPACE, PUBLIC (or unspecified, which is PUBLIC): of the first policy whose rules all match."""
        for visibility, rules in self._policies:
            if all(rule(namespace_labels) for rule in rules):
                return visibility
        return self._default

    def cap(self, namespace: str, exported: Iterable[str], namespace_labels: Mapping[str, str]) -> frozenset[str]:
        """Where a ServiceEntry of a namespace is exported to (never empty), as far as the policies allow it."""
        targets = frozenset(exported)
        if targets == {NONE}:
            return targets
        visibility = self.of(namespace_labels)
        if visibility == "NAMESPACE":
            return frozenset({PRIVATE if targets & {PUBLIC, PRIVATE, namespace} else NONE})
        return frozenset({NONE}) if visibility == "NONE" else targets


def _rules(policy: VisibilityPolicy) -> list[Predicate]:
    return [_predicate(rule.namespace_selector) for rule in policy.matching_rules]


def _predicate(selector: msgspec.Struct | None) -> Predicate:
    """A rule without a selector that can be read matches nothing."""
    if selector is None:
        return nothing
    try:
        return from_message(msgspec.to_builtins(selector))
    except Invalid:
        return nothing
