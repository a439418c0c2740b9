"""Label selectors: the string form of list requests and the LabelSelector message, as one predicate on labels.

Source: Kubernetes API conventions, "Label selectors"; apimachinery's LabelSelector (matchLabels, matchExpressions).
Not here: field selectors (runtime/apiserver), node selectors with Gt and Lt (runtime/scheduler).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mizzen.api.errors import Invalid

Labels = Mapping[str, str]
Predicate = Callable[[Labels], bool]

_REQUIREMENT = re.compile(
    r"""\s*(?:
        (?P<absent>!\s*)?(?P<key>[A-Za-z0-9][-A-Za-z0-9_./]*)\s*
        (?:(?P<op>==|=|!=|>|<)\s*(?P<value>[-A-Za-z0-9_.]*)
          |(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?
    )\s*(?:,|$)""",
    re.VERBOSE,
)


def everything(labels: Labels) -> bool:
    """The selector that takes all."""
    return True


def nothing(labels: Labels) -> bool:
    """The selector that takes none."""
    return False


def _requirement(key: str, operator: str, values: frozenset[str]) -> Predicate:
    if operator == "In":
        return lambda labels: labels.get(key) in values
    if operator == "NotIn":
        return lambda labels: labels.get(key) not in values
    if operator == "Exists":
        return lambda labels: key in labels
    if operator == "DoesNotExist":
        return lambda labels: key not in labels
    if operator in ("Gt", "Lt"):
        limit, sign = int(next(iter(values))), 1 if operator == "Gt" else -1

        def compare(labels: Labels) -> bool:
            try:
                return sign * (int(labels[key]) - limit) > 0
            except (KeyError, ValueError):
                return False

        return compare
    raise Invalid("operator", f"{operator!r} is not a valid label selector operator")


def _all(parts: list[Predicate]) -> Predicate:
    if not parts:
        return everything
    if len(parts) == 1:
        return parts[0]
    return lambda labels: all(part(labels) for part in parts)


def parse(text: str) -> Predicate:
    """The predicate meant by a selector string such as "app=web,tier in (a, b),!canary".

    Raises Invalid when the text cannot be read. An empty text takes everything.
    """
    parts: list[Predicate] = []
    at = 0
    while at < len(text):
        match = _REQUIREMENT.match(text, at)
        if match is None or match.end() == at:
            raise Invalid("labelSelector", f"unable to parse requirement: found '{text[at:]}'")
        parts.append(_parsed(match))
        at = match.end()
    return _all(parts)


def _parsed(match: re.Match[str]) -> Predicate:
    key, op, word = match["key"], match["op"], match["set"]
    if match["absent"] is not None:
        if op or word:
            raise Invalid("labelSelector", f"unable to parse requirement: found '{match[0].strip()}'")
        return _requirement(key, "DoesNotExist", frozenset())
    if op is not None:
        operator = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}[op]
        if operator in ("Gt", "Lt") and not match["value"].lstrip("-").isdigit():
            raise Invalid("labelSelector", "for 'Gt', 'Lt' operators, the value must be an integer")
        return _requirement(key, operator, frozenset([match["value"]]))
    if word is not None:
        values = frozenset(value.strip() for value in match["values"].split(","))
        return _requirement(key, "In" if word == "in" else "NotIn", values)
    return _requirement(key, "Exists", frozenset())


def from_message(selector: Mapping[str, Any] | None) -> Predicate:
    """The predicate of a LabelSelector message as JSON; None takes nothing, an empty message everything."""
    if selector is None:
        return nothing
    parts = [_requirement(key, "In", frozenset([value])) for key, value in (selector.get("matchLabels") or {}).items()]
    expressions = selector.get("matchExpressions") or ()
    parts += [
        _requirement(entry["key"], entry["operator"], frozenset(entry.get("values") or ())) for entry in expressions
    ]
    return _all(parts)


def from_map(selector: Labels | None) -> Predicate:
    """The predicate of a plain map of labels, as Services have; None and the empty map take nothing."""
    if not selector:
        return nothing
    wanted = dict(selector)
    return lambda labels: all(labels.get(key) == value for key, value in wanted.items())
