"""Role-based access: which rules a user has, and whether one of them allows an action.

Takes roles and bindings from the cache's collections, gives verdicts. Bindings are indexed by subject and rebuilt when one
of the four collections changes. Not here: bootstrap objects (bootstrap.py), refusals' text (server.py).
Source: rbac.authorization.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ..cache import Collection
from ..context import User

GROUP = "rbac.authorization.k8s.io"
Rule = dict[str, Any]


class Grant(NamedTuple):
    """One binding's worth: the rules it gives, where ("" for everywhere), and its name for people."""

    namespace: str
    rules: tuple[Rule, ...]
    why: str


class Rbac:
    def __init__(
        self, roles: Collection, cluster_roles: Collection, bindings: Collection, cluster_bindings: Collection
    ) -> None:
        self._sources = (roles, cluster_roles, bindings, cluster_bindings)
        self._built: tuple[int, ...] = ()
        self._by_subject: dict[tuple[str, str], list[Grant]] = {}
        self._verdicts: dict[tuple[Any, ...], bool] = {}

    def _refresh(self) -> None:
        state = tuple(one.revision for one in self._sources) + tuple(len(one.items) for one in self._sources)
        if state == self._built:
            return
        self._built = state
        self._by_subject, self._verdicts = {}, {}
        _, _, bindings, cluster_bindings = self._sources
        for item in cluster_bindings.items.values():
            self._index(item.shared, "")
        for item in bindings.items.values():
            self._index(item.shared, item.shared["metadata"]["namespace"])

    def _index(self, binding: dict[str, Any], namespace: str) -> None:
        reference = binding.get("roleRef") or {}
        rules = self.rules_of(reference, namespace)
        own = f"{binding['metadata']['name']}/{namespace}" if namespace else binding["metadata"]["name"]
        word = "RoleBinding" if namespace else "ClusterRoleBinding"
        for subject in binding.get("subjects") or ():
            kind, name = subject.get("kind", ""), subject.get("name", "")
            shown = (
                f'{kind} "{name}/{subject.get("namespace", "")}"' if kind == "ServiceAccount" else f'{kind} "{name}"'
            )
            why = f'RBAC: allowed by {word} "{own}" of {reference.get("kind", "")} "{reference.get("name", "")}" to {shown}'
            grant = Grant(namespace, rules, why)
            if kind == "ServiceAccount":
                kind, name = "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
            self._by_subject.setdefault((kind, name), []).append(grant)

    def rules_of(self, reference: dict[str, Any], namespace: str) -> tuple[Rule, ...]:
        """The rules of the role that a binding in that namespace refers to; nothing when the role is not there."""
        roles, cluster_roles, _, _ = self._sources
        name = reference.get("name", "")
        item = (
            roles.items.get(f"{namespace}/{name}") if reference.get("kind") == "Role" else cluster_roles.items.get(name)
        )
        return tuple(item.shared.get("rules") or ()) if item else ()

    def grants(self, user: User) -> Iterator[Grant]:
        self._refresh()
        yield from self._by_subject.get(("User", user.name), ())
        for group in user.groups:
            yield from self._by_subject.get(("Group", group), ())

    def rules(self, user: User, namespace: str) -> Iterator[Rule]:
        """The rules that hold for a user in a namespace ("": cluster-wide ones alone)."""
        for grant in self.grants(user):
            if grant.namespace in ("", namespace):
                yield from grant.rules

    def allowed(
        self, user: User, verb: str, group: str, resource: str, namespace: str, name: str = "", subresource: str = ""
    ) -> bool:
        """Whether a user may do that. resource may hold the subresource ("pods/log") when subresource is ""."""
        if user.is_master:
            return True
        self._refresh()
        full = f"{resource}/{subresource}" if subresource else resource
        key = (user.name, user.groups, verb, group, full, namespace, name)
        known = self._verdicts.get(key)
        if known is None:
            known = any(allows(rule, verb, group, full, name) for rule in self.rules(user, namespace))
            if len(self._verdicts) > 20_000:
                self._verdicts.clear()
            self._verdicts[key] = known
        return known

    def allowed_named(self, user: User, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        return self.allowed(user, verb, group, resource, namespace, name)

    def explain(self, user: User, verb: str, group: str, resource: str, namespace: str, name: str) -> tuple[bool, str]:
        """The verdict, and the binding that allows it ("" when it is refused, or for masters)."""
        if user.is_master:
            return True, ""
        for grant in self._sorted(user):
            if grant.namespace in ("", namespace) and any(
                allows(rule, verb, group, resource, name) for rule in grant.rules
            ):
                return True, grant.why
        return False, ""

    def explain_path(self, user: User, verb: str, path: str) -> tuple[bool, str]:
        if user.is_master:
            return True, ""
        for grant in self._sorted(user):
            if grant.namespace == "" and any(allows_path(rule, verb, path) for rule in grant.rules):
                return True, grant.why
        return False, ""

    def _sorted(self, user: User) -> list[Grant]:
        """Cluster-wide grants first."""
        return sorted(self.grants(user), key=lambda one: one.namespace != "")

    def allowed_path(self, user: User, verb: str, path: str) -> bool:
        """Whether a user may ask for a path that is not a resource."""
        if user.is_master:
            return True
        return any(allows_path(rule, verb, path) for rule in self.rules(user, ""))


def allows(rule: Rule, verb: str, group: str, resource: str, name: str) -> bool:
    verbs = rule.get("verbs") or ()
    if verb not in verbs and "*" not in verbs:
        return False
    groups = rule.get("apiGroups") or ()
    if group not in groups and "*" not in groups:
        return False
    resources = rule.get("resources") or ()
    if resource not in resources and "*" not in resources:
        _, slash, sub = resource.partition("/")
        if not slash or f"*/{sub}" not in resources:
            return False
    names = rule.get("resourceNames")
    return not names or name in names


def allows_path(rule: Rule, verb: str, path: str) -> bool:
    verbs = rule.get("verbs") or ()
    if verb not in verbs and "*" not in verbs:
        return False
    for pattern in rule.get("nonResourceURLs") or ():
        if pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1])):
            return True
    return False


def _covered(owned: Rule, verb: str, group: str, resource: str, name: str) -> bool:
    names = owned.get("resourceNames")
    if names and not name:
        return False
    return allows(owned, verb, group, resource, name)


def uncovered(asked: list[Rule], owned: list[Rule]) -> list[Rule]:
    """The parts of the rules asked for that none of the owned rules allow, one atom (verb, group, resource, name) each."""
    missing: list[Rule] = []
    for rule in asked:
        for verb in rule.get("verbs") or ():
            for path in rule.get("nonResourceURLs") or ():
                if not any(allows_path(one, verb, path) for one in owned):
                    missing.append({"verbs": [verb], "nonResourceURLs": [path]})
            for group in rule.get("apiGroups") or ():
                for resource in rule.get("resources") or ():
                    for name in rule.get("resourceNames") or ("",):
                        if not any(_covered(one, verb, group, resource, name) for one in owned):
                            atom = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                            missing.append({**atom, "resourceNames": [name]} if name else atom)
    return missing
