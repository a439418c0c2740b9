"""Node selectors and pod (anti-)affinity terms as predicates.

Source: core/v1 NodeSelector (terms are ORed, requirements ANDed, an empty term matches nothing), PodAffinityTerm.
"""

from __future__ import annotations

from typing import Any

from mizzen.api.labels import from_message

Object = dict[str, Any]


def _requirement(values: dict[str, str], entry: Object) -> bool:
    key, operator, wanted = entry["key"], entry["operator"], entry.get("values") or []
    present = key in values
    if operator == "In":
        return present and values[key] in wanted
    if operator == "NotIn":
        return not present or values[key] not in wanted
    if operator == "Exists":
        return present
    if operator == "DoesNotExist":
        return not present
    try:
        ours, limit = int(values[key]), int(wanted[0])
    except (KeyError, ValueError, IndexError):
        return False
    return ours > limit if operator == "Gt" else ours < limit


def term_matches(term: Object, node: Object) -> bool:
    """One NodeSelectorTerm; a term without requirements matches nothing."""
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    named = {"metadata.name": node["metadata"]["name"]}
    return all(_requirement(labels, e) for e in expressions) and all(_requirement(named, e) for e in fields)


def node_matches(pod: Object, node: Object) -> bool:
    """spec.nodeSelector and the required node affinity."""
    spec, labels = pod["spec"], node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return required is None or any(term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def selects(term: Object, owner: Object, other: Object, namespaces: dict[str, Object]) -> bool:
    """A PodAffinityTerm of `owner` takes in the pod `other` (by namespace and labels; topology is the caller's)."""
    own_namespace, namespace = owner["metadata"]["namespace"], other["metadata"]["namespace"]
    listed, by_labels = term.get("namespaces") or [], term.get("namespaceSelector")
    if by_labels is None:
        inside = namespace in listed if listed else namespace == own_namespace
    else:
        labels = namespaces.get(namespace, {}).get("metadata", {}).get("labels") or {}
        inside = namespace in listed or from_message(by_labels)(labels)
    if not inside:
        return False
    selector = with_label_keys(term, owner)
    return from_message(selector)(other["metadata"].get("labels") or {})


def with_label_keys(term: Object, owner: Object) -> Object | None:
    """The term's selector with matchLabelKeys and mismatchLabelKeys (KEP-3633) filled in from the owner's labels."""
    selector = term.get("labelSelector")
    extra = []
    labels = owner["metadata"].get("labels") or {}
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        extra += [{"key": k, "operator": operator, "values": [labels[k]]} for k in term.get(field) or () if k in labels]
    if not extra or selector is None:
        return selector
    return {**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *extra]}


def required_terms(pod: Object, kind: str) -> list[Object]:
    """The required terms of "podAffinity" or "podAntiAffinity"."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def preferred_terms(pod: Object, kind: str) -> list[tuple[int, Object]]:
    """(weight, term) of the preferred terms."""
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    entries = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return [(entry["weight"], entry.get("podAffinityTerm") or entry.get("preference") or {}) for entry in entries]


def tolerates(tolerations: list[Object], taint: Object) -> bool:
    """Any toleration covers the taint."""
    for toleration in tolerations:
        if toleration.get("effect") and toleration["effect"] != taint["effect"]:
            continue
        operator = toleration.get("operator") or "Equal"
        if not toleration.get("key"):
            if operator == "Exists":
                return True
            continue
        if toleration["key"] == taint["key"] and (
            operator == "Exists" or toleration.get("value", "") == taint.get("value", "")
        ):
            return True
    return False
