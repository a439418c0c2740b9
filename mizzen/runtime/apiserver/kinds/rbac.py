"""Roles and bindings: defaults and refusals. Escalation is admission/escalation.py's."""

from __future__ import annotations

from ..errors import Problem, invalid, required, unsupported
from ..names import path_segment, subdomain
from .base import Object, Strategy
from .labelrules import validate_selector

GROUP = "rbac.authorization.k8s.io"


def rule_problems(rule: Object, path: str, namespaced: bool) -> list[Problem]:
    problems: list[Problem] = []
    if not rule.get("verbs"):
        problems.append(required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            problems.append(
                invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
            )
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            problems.append(
                invalid(
                    f"{path}.nonResourceURLs",
                    urls,
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            )
        return problems
    if not rule.get("apiGroups"):
        problems.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        problems.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return problems


class Role(Strategy):
    name_rule = staticmethod(path_segment)
    namespaced = True

    def default(self, obj: Object) -> None:
        if obj.get("rules") == []:
            obj["rules"] = None

    def validate(self, obj: Object) -> list[Problem]:
        return [
            one
            for place, rule in enumerate(obj.get("rules") or ())
            for one in rule_problems(rule, f"rules[{place}]", self.namespaced)
        ]


class ClusterRole(Role):
    namespaced = False

    def validate(self, obj: Object) -> list[Problem]:
        problems = super().validate(obj)
        aggregation = obj.get("aggregationRule")
        if aggregation is None:
            return problems
        selectors = aggregation.get("clusterRoleSelectors") or []
        path = "aggregationRule.clusterRoleSelectors"
        if not selectors:
            problems.append(required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        for place, one in enumerate(selectors):
            found = validate_selector(one, f"{path}[{place}]")
            problems += found
            if found:
                problems.append(invalid(f"{path}[{place}]", None, "invalid label selector."))
        return problems


class Binding(Strategy):
    name_rule = staticmethod(path_segment)
    kinds: tuple[str, ...] = ("Role", "ClusterRole")
    namespaced = True

    def default(self, obj: Object) -> None:
        reference = obj.get("roleRef") or {}
        if not reference.get("apiGroup"):
            reference["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate(self, obj: Object) -> list[Problem]:
        reference = obj.get("roleRef") or {}
        problems: list[Problem] = []
        if reference.get("apiGroup") != GROUP:
            problems.append(unsupported("roleRef.apiGroup", reference.get("apiGroup"), [GROUP]))
        if reference.get("kind") not in self.kinds:
            problems.append(unsupported("roleRef.kind", reference.get("kind", ""), list(self.kinds)))
        if not reference.get("name"):
            problems.append(required("roleRef.name"))
        else:
            problems += [invalid("roleRef.name", reference["name"], text) for text in path_segment(reference["name"])]
        for place, one in enumerate(obj.get("subjects") or ()):
            problems += self._subject(one, f"subjects[{place}]")
        return problems

    def _subject(self, one: Object, path: str) -> list[Problem]:
        problems: list[Problem] = []
        name, kind, group = one.get("name", ""), one.get("kind", ""), one.get("apiGroup", "")
        if not name:
            problems.append(required(f"{path}.name"))
        if kind == "ServiceAccount":
            if name:
                problems += [invalid(f"{path}.name", name, text) for text in subdomain(name)]
            if group:
                problems.append(unsupported(f"{path}.apiGroup", group, [""]))
            if not self.namespaced and not one.get("namespace"):
                problems.append(required(f"{path}.namespace"))
        elif kind in ("User", "Group"):
            if group != GROUP:
                problems.append(unsupported(f"{path}.apiGroup", group, [GROUP]))
        else:
            problems.append(unsupported(f"{path}.kind", kind, ["ServiceAccount", "User", "Group"]))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if new.get("roleRef") != old.get("roleRef"):
            problems.append(invalid("roleRef", new.get("roleRef"), "cannot change roleRef"))
        return problems


class ClusterBinding(Binding):
    kinds = ("ClusterRole",)
    namespaced = False
