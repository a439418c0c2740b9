"""What objects cost a ResourceQuota: usage by quota name, scopes, sums. Pure; the admission and the quota controller share it.

Takes objects as JSON and the qualified name of their resource ("pods", "deployments.apps"), gives amounts. Source: core/v1
ResourceQuotaSpec and the documented names of compute, storage and object count quotas.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple

from mizzen.runtime.apiserver.kinds.poddefaults import qos_class
from mizzen.runtime.apiserver.schema.scalars import canonical_quantity, quantity

Object = dict[str, Any]
COMPUTE = ("cpu", "memory", "ephemeral-storage")
# Resources that can also be counted by their bare name.
COUNTED = (
    "pods", "services", "secrets", "configmaps", "replicationcontrollers", "persistentvolumeclaims", "resourcequotas",
)  # fmt: skip
CLASSED = ".storageclass.storage.k8s.io/"


class Amount(NamedTuple):
    """A quantity; binary: it is written with Ki, Mi, … as the first amount of the sum that was not zero."""

    value: Fraction
    binary: bool = False

    @classmethod
    def of(cls, text: str | int) -> Amount:
        return cls(quantity(text), str(text).endswith("i"))

    def plus(self, other: Amount) -> Amount:
        return Amount(self.value + other.value, self.binary if self.value else other.binary)

    def minus(self, other: Amount) -> Amount:
        return Amount(self.value - other.value, self.binary if self.value else other.binary)

    def __str__(self) -> str:
        whole = self.value.denominator == 1
        text = str(self.value.numerator) if whole else f"{float(self.value):.9f}"
        if self.binary and whole and self.value.numerator % 1024 == 0:
            return canonical_quantity(f"{self.value.numerator // 1024}Ki")
        return canonical_quantity(text)


Usage = dict[str, Amount]
ONE, ZERO = Amount(Fraction(1)), Amount(Fraction(0))


def usage(qualified: str, obj: Object) -> Usage:
    """What one object uses, by quota name."""
    found = {f"count/{qualified}": ONE}
    spec = obj.get("spec") or {}
    if qualified == "pods":
        return found | ({"pods": ONE, **_pod(spec)} if _lives(obj) else {})
    if qualified in COUNTED:
        found[qualified] = ONE
    if qualified == "services":
        kind = spec.get("type", "ClusterIP")
        if kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False):
            found["services.nodeports"] = Amount(Fraction(len(spec.get("ports") or ())))
        if kind == "LoadBalancer":
            found["services.loadbalancers"] = ONE
    if qualified == "persistentvolumeclaims":
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
        name = spec.get("storageClassName")
        if name:
            found[f"{name}{CLASSED}persistentvolumeclaims"] = ONE
        if asked is not None:
            found["requests.storage"] = Amount.of(asked)
            if name:
                found[f"{name}{CLASSED}requests.storage"] = Amount.of(asked)
    return found


def _lives(pod: Object) -> bool:
    """A pod that has ended, or should be gone by now, uses nothing but its object."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    deleted = pod["metadata"].get("deletionTimestamp")
    return deleted is None or datetime.fromisoformat(deleted).timestamp() > time.time()


def _pod(spec: Object) -> Usage:
    found: Usage = {}
    for part in ("requests", "limits"):
        for name, amount in _wanted(spec, part).items():
            found[f"{part}.{name}"] = amount
            if part == "requests" and (name in COMPUTE or name.startswith("hugepages-")):
                found[name] = amount
    return found


def _wanted(spec: Object, part: str) -> Usage:
    """Of "requests" or "limits": containers and sidecars together, or what an init container needs while they start."""
    total: Usage = {}
    for container in spec.get("containers") or ():
        _add(total, _of(container, part))
    sidecars: Usage = {}
    highest: Usage = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            _add(total, _of(container, part))
            _add(sidecars, _of(container, part))
            _raise(highest, sidecars)
        else:
            _raise(highest, {name: sidecars.get(name, ZERO).plus(a) for name, a in _of(container, part).items()})
    _raise(total, highest)
    total |= _of(spec, part)  # of the pod as a whole, where it says so
    overhead = {name: Amount.of(text) for name, text in (spec.get("overhead") or {}).items()}
    _add(total, overhead if part == "requests" else {name: a for name, a in overhead.items() if name in total})
    return total


def _of(holder: Object, part: str) -> Usage:
    return {name: Amount.of(text) for name, text in ((holder.get("resources") or {}).get(part) or {}).items()}


def _add(total: Usage, more: Mapping[str, Amount]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, ZERO).plus(amount)


def _raise(total: Usage, least: Mapping[str, Amount]) -> None:
    for name, amount in least.items():
        if name not in total or total[name].value < amount.value:
            total[name] = amount


def in_scope(quota: Object, qualified: str, obj: Object) -> bool:
    """Whether the quota's scopes take the object in. Only pods have scopes."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": one, "operator": "Exists"} for one in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not terms:
        return True
    return qualified == "pods" and all(_scope(term, obj.get("spec") or {}) for term in terms)


def _scope(term: Object, spec: Object) -> bool:
    name, operator, values = term.get("scopeName"), term.get("operator"), term.get("values") or ()
    match name:
        case "BestEffort":
            return qos_class(spec) == "BestEffort"
        case "NotBestEffort":
            return qos_class(spec) != "BestEffort"
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "CrossNamespacePodAffinity":
            return _reaches_other_namespaces(spec)
        case "PriorityClass":
            mine = spec.get("priorityClassName", "")
            return {
                "In": mine in values,
                "NotIn": mine not in values,
                "Exists": bool(mine),
                "DoesNotExist": not mine,
            }.get(operator or "", False)
    return False


def _reaches_other_namespaces(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [one.get("podAffinityTerm") or {} for one in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def resource_of(name: str) -> str | None:
    """The qualified resource whose objects use a quota name; None for a name that nothing is counted under."""
    if name.startswith("count/"):
        return name.removeprefix("count/")
    if CLASSED in name or name == "requests.storage":
        return "persistentvolumeclaims"
    if name.startswith("services."):
        return "services"
    if name in COUNTED:
        return name
    plain = name.removeprefix("requests.").removeprefix("limits.")
    return "pods" if plain != name or plain in COMPUTE or plain.startswith("hugepages-") else None


def total(quota: Object, names: Iterable[str], objects: Mapping[str, Iterable[Object]]) -> dict[str, str]:
    """What all objects (by qualified resource) use of the names that can be counted, as status.used has it."""
    sums = {name: ZERO for name in names if resource_of(name) is not None}
    for qualified, held in objects.items():
        for obj in held:
            if in_scope(quota, qualified, obj):
                _add(sums, {name: amount for name, amount in usage(qualified, obj).items() if name in sums})
    return {name: str(sums[name]) for name in sorted(sums)}
