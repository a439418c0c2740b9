"""Which LimitRanges and ResourceQuotas are refused."""

from __future__ import annotations

from fractions import Fraction

from ..errors import Problem, duplicate, forbidden_field, invalid, required
from ..names import qualified_name
from ..schema.scalars import canonical_quantity, quantity
from .base import Object

LIMIT_KINDS = ("Pod", "Container", "PersistentVolumeClaim")
QUOTA_NAMES = frozenset(
    [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ]
)
COUNTED = frozenset(
    [
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ]
)
SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)
COMPUTE = frozenset(
    [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    ]
)


def validate_limit_range(obj: Object) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for place, one in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{place}]", one.get("type", "")
        problems += [invalid(f"{path}.type", kind, text) for text in qualified_name(kind)]
        if "/" not in kind and kind not in LIMIT_KINDS and not problems:
            problems.append(invalid(f"{path}.type", kind, "must be a standard limit type or fully qualified"))
        if kind in seen:
            problems.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
        problems += _limits(one, path, kind)
    return problems


def _limits(one: Object, path: str, kind: str) -> list[Problem]:
    problems: list[Problem] = []
    parts = {key: one.get(key) or {} for key in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")}
    if kind == "Pod":
        for key in ("default", "defaultRequest"):
            if parts[key]:
                problems.append(forbidden_field(f"{path}.{key}", "may not be specified when `type` is 'Pod'"))
                parts[key] = {}
    if kind == "PersistentVolumeClaim" and "storage" not in parts["min"] and "storage" not in parts["max"]:
        problems.append(
            required(f"{path}.limits", "either minimum or maximum storage value is required, but neither was provided")
        )
    names = sorted({name for amounts in parts.values() for name in amounts})
    for name in names:
        problems += _amounts(name, parts, path)
    return problems


def _amounts(name: str, parts: dict[str, Object], path: str) -> list[Problem]:
    """How min, max and defaults of one resource must stand to each other."""
    text = {key: amounts[name] for key, amounts in parts.items() if name in amounts}
    value = {key: quantity(one) for key, one in text.items()}
    problems: list[Problem] = []

    def over(low: str, high: str, field: str, shown: str, words: str) -> None:
        if low in value and high in value and value[low] > value[high]:
            problems.append(invalid(f"{path}.{field}[{name}]", text[shown], words.format(text[low], text[high])))

    over("min", "max", "min", "min", "min value {} is greater than max value {}")
    over(
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    )
    over(
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    )
    over(
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    )
    over("min", "default", "default", "min", "min value {} is greater than default value {}")
    over("default", "max", "default", "max", "default value {} is greater than max value {}")
    return problems + _ratio(name, text, value, path)


def _ratio(name: str, text: dict[str, str], value: dict[str, Fraction], path: str) -> list[Problem]:
    ratio = value.get("maxLimitRequestRatio")
    if ratio is None:
        return []
    here, shown = f"{path}.maxLimitRequestRatio[{name}]", text["maxLimitRequestRatio"]
    if ratio < 1:
        return [invalid(here, shown, f"ratio {shown} is less than 1")]
    if value.get("min") and "max" in value and ratio > value["max"] / value["min"]:
        most = canonical_quantity(str(float(value["max"] / value["min"])))
        return [invalid(here, shown, f"ratio {shown} is greater than max/min = {most}")]
    return []


def validate_quota(obj: Object) -> list[Problem]:
    spec = obj.get("spec") or {}
    problems: list[Problem] = []
    for name, amount in (spec.get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        problems += _quota_name(name, path)
        value = quantity(amount)
        if value < 0:
            problems.append(invalid(path, amount, "must be greater than or equal to 0"))
        if (name in COUNTED or name.startswith("count/")) and value.denominator != 1:
            problems.append(invalid(path, amount, "must be an integer"))
    return problems + _scopes(spec) + _selector(spec)


def _quota_name(name: str, path: str) -> list[Problem]:
    problems = [invalid(path, name, text) for text in qualified_name(name)]
    if problems or "/" in name or name in QUOTA_NAMES or name.startswith(("hugepages-", "requests.hugepages-")):
        return problems
    return [
        invalid(path, name, "must be a standard resource type or fully qualified"),
        invalid(path, name, "must be a standard resource for quota"),
    ]


def _scopes(spec: Object) -> list[Problem]:
    scopes = spec.get("scopes") or []
    path = "spec.scopes"
    problems: list[Problem] = []
    for one in scopes:
        if one not in SCOPES:
            problems.append(invalid(path, scopes, "unsupported scope"))
        elif one == "BestEffort":
            wrong = [name for name in spec.get("hard") or {} if name != "pods" and not name.startswith("count/")]
            problems += [invalid(path, scopes, "unsupported scope applied to resource") for _ in wrong]
        else:
            wrong = [
                name
                for name in spec.get("hard") or {}
                if name != "pods" and name not in COMPUTE and not name.startswith("count/pods")
            ]
            problems += [
                invalid(path, scopes, "unsupported scope applied to resource")
                for _ in wrong
                if one in ("Terminating", "NotTerminating", "NotBestEffort")
            ]
    for pair in (("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort")):
        if set(pair) <= set(scopes):
            problems.append(invalid(path, scopes, "conflicting scopes"))
    return problems


def _selector(spec: Object) -> list[Problem]:
    selector = spec.get("scopeSelector")
    problems: list[Problem] = []
    for one in (selector or {}).get("matchExpressions") or ():
        path = "spec.scopeSelector.matchExpressions"
        if one.get("scopeName") not in SCOPES:
            problems.append(invalid(f"{path}.scopeName", one.get("scopeName"), "unsupported scope"))
        operator, values = one.get("operator"), one.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                problems.append(
                    required(
                        f"{path}.values",
                        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
                    )
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                problems.append(
                    invalid(
                        f"{path}.values",
                        values,
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                    )
                )
        else:
            problems.append(invalid(f"{path}.operator", operator, "not a valid selector operator"))
    return problems
