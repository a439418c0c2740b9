"""Which LabelSelectors are refused, and whether a selector fits a template's labels."""

from __future__ import annotations

from typing import Any

from ..errors import Problem, invalid, required
from ..names import label_value, qualified_name
from ..selectors import from_object

Object = dict[str, Any]


def validate_selector(selector: Object | None, path: str) -> list[Problem]:
    problems: list[Problem] = []
    if not selector:
        return problems
    for key, value in (selector.get("matchLabels") or {}).items():
        problems += [invalid(f"{path}.matchLabels", key, text) for text in qualified_name(key)]
        problems += [invalid(f"{path}.matchLabels", value, text) for text in label_value(value)]
    for place, one in enumerate(selector.get("matchExpressions") or ()):
        problems += _expression(one, f"{path}.matchExpressions[{place}]")
    return problems


def _expression(one: Object, path: str) -> list[Problem]:
    operator, values = one.get("operator", ""), one.get("values") or []
    problems: list[Problem] = []
    if operator in ("In", "NotIn"):
        if not values:
            problems.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            from ..errors import forbidden_field

            problems.append(
                forbidden_field(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            )
    else:
        problems.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    problems += [invalid(f"{path}.key", one.get("key", ""), text) for text in qualified_name(one.get("key", ""))]
    for place, value in enumerate(values):
        problems += [invalid(f"{path}.values[{place}]", value, text) for text in label_value(value)]
    return problems


def shown_selector(selector: Object) -> Object:
    """The selector as a refusal prints it: without empties."""
    expressions = [
        {key: value for key, value in one.items() if value} for one in selector.get("matchExpressions") or ()
    ]
    out = {key: value for key, value in selector.items() if value and key != "matchExpressions"}
    return {**out, **({"matchExpressions": expressions} if expressions else {})}


def selects(selector: Object | None, labels: Object | None) -> bool:
    made = from_object(selector)
    return made is not None and made.matches(labels)


def workload_selector(spec: Object, kind: str, path: str = "spec") -> list[Problem]:
    """Problems of a workload's selector, and of how it fits the template."""
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    problems: list[Problem] = []
    broken = False
    if selector is None:
        problems.append(required(f"{path}.selector"))
    else:
        found = validate_selector(selector, f"{path}.selector")
        problems += found
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            problems.append(invalid(f"{path}.selector", {}, f"empty selector is invalid for {kind}"))
        if found:
            broken = True
            problems.append(invalid(f"{path}.selector", shown_selector(selector), "invalid label selector"))
    empty = selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions")
    if not broken and not empty and not selects(selector, labels):
        problems.append(
            invalid(f"{path}.template.metadata.labels", labels, "`selector` does not match template `labels`")
        )
    return problems
