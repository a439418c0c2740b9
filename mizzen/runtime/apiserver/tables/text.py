"""Texts that the cells of many kinds share: ages, labels, selectors, lists cut short.

Takes objects as trees, gives strings or whole rows of the plainest kinds. Source: kube-apiserver's printers.
"""

from __future__ import annotations

from typing import Any

from ..schema.scalars import age

Object = dict[str, Any]
NONE = "<none>"
UNSET = "<unset>"


def age_text(tree: Object) -> str:
    return age(tree["metadata"].get("creationTimestamp"))


def spec_of(tree: Object) -> Object:
    return tree.get("spec") or {}


def status_of(tree: Object) -> Object:
    return tree.get("status") or {}


def labels_text(labels: dict[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: Object | None) -> str:
    """A LabelSelector as a selector's text."""
    if selector is None:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        key, values = one["key"], ",".join(sorted(one.get("values") or ()))
        text = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append((key, text.get(one["operator"], key)))
    return ",".join(text for _, text in sorted(parts)) or NONE


def pod_cells(template: Object) -> tuple[str, str]:
    containers = (template.get("spec") or {}).get("containers") or ()
    return ",".join(one.get("name", "") for one in containers), ",".join(one.get("image", "") for one in containers)


def only_age(tree: Object) -> list[Any]:
    return [age_text(tree)]


def created(tree: Object) -> list[Any]:
    return [tree["metadata"].get("creationTimestamp")]


def phase(tree: Object) -> list[Any]:
    return [status_of(tree).get("phase", ""), age_text(tree)]


def capped(found: list[str], most: int = 3) -> str:
    if len(found) > most:
        return f"{','.join(found[:most])} + {len(found) - most} more..."
    return ",".join(found) or NONE


def param_kind(tree: Object) -> str:
    kind = spec_of(tree).get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
