"""DestinationRules by host: which one holds for a client and a service, after rules of one host were merged.

Takes the objects, gives Consolidated rules. Not here: choosing by workloadSelector (scope.py), what a policy becomes.
Look-up order: the client's namespace, the service's namespace, the root namespace.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mizzen.api.istio.networking import DestinationRuleSpec
from mizzen.istiod.hostname import best_match, is_wildcard, resolve_host
from mizzen.istiod.objects import by_age
from mizzen.istiod.snapshot.visibility import PRIVATE, PUBLIC, visible


class Consolidated(msgspec.Struct, frozen=True):
    """The DestinationRules of one namespace, host, exportTo and workloadSelector as one rule.

    sources: (namespace, name) of the objects, oldest first; export_to: empty = seen by all.
    """

    spec: DestinationRuleSpec
    namespace: str
    sources: tuple[tuple[str, str], ...]
    export_to: frozenset[str]


class _Hosts:
    """Rules by resolved host, exact names apart from wildcards."""

    def __init__(self) -> None:
        self.exact: dict[str, list[Consolidated]] = {}
        self.wildcards: dict[str, list[Consolidated]] = {}

    def add(self, host: str, rule: Consolidated) -> None:
        table = self.wildcards if is_wildcard(host) else self.exact
        table[host] = merge(table.get(host, []), rule)

    def find(self, host: str) -> list[Consolidated]:
        found = best_match(host, self.exact, self.wildcards)
        return found[1] if found else []


def merge(present: list[Consolidated], rule: Consolidated) -> list[Consolidated]:
    """The rules of one host with one more: joined to those of equal exportTo and workloadSelector, else beside them."""
    out, joined = [], False
    for old in present:
        same_selector = old.spec.workload_selector == rule.spec.workload_selector
        if same_selector and old.export_to == rule.export_to:
            old, joined = _join(old, rule), True
        out.append(old)
    return out if joined else [*out, rule]


def _join(old: Consolidated, new: Consolidated) -> Consolidated:
    names = {subset.name for subset in old.spec.subsets}
    extra = tuple(subset for subset in new.spec.subsets if subset.name not in names)
    policy = old.spec.traffic_policy if old.spec.traffic_policy is not None else new.spec.traffic_policy
    spec = msgspec.structs.replace(old.spec, subsets=(*old.spec.subsets, *extra), traffic_policy=policy)
    return msgspec.structs.replace(old, spec=spec, sources=(*old.sources, *new.sources))


def consolidated(obj: Any, config_domain: str) -> Consolidated:
    """One object as a rule of its own, its host resolved."""
    namespace = obj.metadata.namespace or "default"
    spec: DestinationRuleSpec = obj.spec
    host = resolve_host(spec.host, namespace, config_domain)
    exports = frozenset(spec.export_to) if spec.workload_selector is None else frozenset({PRIVATE})
    return Consolidated(msgspec.structs.replace(spec, host=host), namespace, ((namespace, obj.metadata.name),), exports)


class DestinationRules:
    """The index. Rules with a workloadSelector are seen in their own namespace only."""

    def __init__(self, root: str, default_export: frozenset[str]) -> None:
        self.root = root
        self.default_export = default_export
        self.local: dict[str, _Hosts] = {}
        self.exported: dict[str, _Hosts] = {}
        self.root_private = _Hosts()
        self.made: dict[int, tuple[Any, Consolidated]] = {}

    @classmethod
    def build(
        cls,
        objects: Iterable[Any],
        root: str,
        default_export: Iterable[str],
        config_domain: str,
        before: DestinationRules | None = None,
    ) -> DestinationRules:
        """root: the root namespace; default_export: the mesh's defaultDestinationRuleExportTo.

        before: an index of earlier objects; the rule of an object that did not change stays the same value.
        """
        new = cls(root, frozenset(default_export))
        old = before.made if before is not None else {}
        for obj in by_age(objects):
            known = old.get(id(obj))
            rule = known[1] if known is not None else consolidated(obj, config_domain)
            new.made[id(obj)] = (obj, rule)
            new._add(rule)
        return new

    def _add(self, rule: Consolidated) -> None:
        namespace, host, exports = rule.namespace, rule.spec.host, rule.export_to
        if not exports or exports & {PUBLIC, PRIVATE, namespace}:
            self.local.setdefault(namespace, _Hosts()).add(host, rule)
        private = (
            PRIVATE in self.default_export if not exports else exports <= {PRIVATE, namespace} and len(exports) == 1
        )
        if not private:
            self.exported.setdefault(namespace, _Hosts()).add(host, rule)
        elif namespace == self.root:
            self.root_private.add(host, rule)

    def find(self, client_namespace: str, host: str, service_namespace: str) -> tuple[Consolidated, ...]:
        """Rules for a service as seen by clients of a namespace; several only when they differ in workloadSelector."""
        if client_namespace != self.root:
            own = self.local.get(client_namespace)
            found = own.find(host) if own else []
        else:
            found = self.root_private.find(host)
        for namespace in (service_namespace, self.root):
            if not found and namespace:
                found = self._exported_from(namespace, host, client_namespace)
        return tuple(found)

    def _exported_from(self, namespace: str, host: str, client_namespace: str) -> list[Consolidated]:
        hosts = self.exported.get(namespace)
        rules = hosts.find(host) if hosts else []
        return [rule for rule in rules if visible(rule.export_to, namespace, client_namespace)]
