"""Autoscalers, disruption budgets, priority classes, runtime classes: defaults and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem, forbidden_field, invalid, required, unsupported
from ..names import dns_label, path_segment
from .base import Object, Strategy, WithStatus, at_least
from .containerrules import quantity_problems
from .labelrules import validate_selector
from .workloads import at_most_all, go_struct, int_or_percent

if TYPE_CHECKING:
    from ..context import Ask

METRICS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
MAX_PRIORITY = 1_000_000_000


class HorizontalPodAutoscaler(WithStatus):
    generations = True

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if "metrics" not in spec and "targetCPUUtilizationPercentage" not in spec:
            target = {"type": "Utilization", "averageUtilization": 80}
            spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
        behavior = spec.get("behavior")
        if behavior is not None:
            _behavior(behavior)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"desiredReplicas": 0, "currentMetrics": None}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
        problems = at_least("spec.minReplicas", low, 0)
        if high < 1:
            problems.append(
                required("spec.maxReplicas")
                if high == 0
                else invalid("spec.maxReplicas", high, "must be greater than 0")
            )
        if high < low:
            problems.append(invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
        problems += _reference(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
        problems += _metrics(spec.get("metrics") or [], low)
        for key in ("scaleUp", "scaleDown"):
            rules = (spec.get("behavior") or {}).get(key)
            if rules is not None:
                problems += _scaling(rules, f"spec.behavior.{key}")
        return problems


def _behavior(behavior: Object) -> None:
    up = {
        "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}],
    }  # fmt: skip
    down = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
    for key, default in (("scaleUp", up), ("scaleDown", down)):
        given = behavior.get(key) or {}
        behavior[key] = {**default, **{name: value for name, value in given.items() if value not in (None, [])}}


def _reference(reference: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    version = reference.get("apiVersion", "")
    if "/" not in version and version in ("", "v1") and reference.get("kind") != "ReplicationController":
        problems.append(invalid(f"{path}.apiVersion", version, "apiVersion must specify API group"))
    for key in ("kind", "name"):
        if not reference.get(key):
            problems.append(required(f"{path}.{key}"))
        else:
            problems += [invalid(f"{path}.{key}", reference[key], text) for text in path_segment(reference[key])]
    return problems


def _metrics(metrics: list[Object], low: int) -> list[Problem]:
    problems: list[Problem] = []
    for place, one in enumerate(metrics):
        path, kind = f"spec.metrics[{place}]", one.get("type", "")
        if not kind:
            problems.append(required(f"{path}.type"))
            continue
        if kind not in METRICS:
            problems.append(unsupported(f"{path}.type", kind, sorted(METRICS)))
            continue
        body = one.get(METRICS[kind])
        if body is None:
            problems.append(
                required(f"{path}.{METRICS[kind]}", "must populate information for the given metric source")
            )
            continue
        problems += _metric(kind, body, f"{path}.{METRICS[kind]}")
    if low == 0 and not any(one.get("type") in ("Object", "External") for one in metrics):
        problems.append(
            forbidden_field(
                "spec.metrics",
                "must specify at least one Object or External metric to support scaling to zero replicas",
            )
        )
    return problems


def _metric(kind: str, body: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    target = body.get("target") or {}
    if kind in ("Resource", "ContainerResource") and not body.get("name"):
        problems.append(required(f"{path}.name", "must specify a resource name"))
    if kind == "ContainerResource" and not body.get("container"):
        problems.append(required(f"{path}.container", "must specify a container"))
    if kind in ("Pods", "Object", "External") and not (body.get("metric") or {}).get("name"):
        problems.append(required(f"{path}.metric.name"))
    if target.get("type") not in ("Utilization", "Value", "AverageValue"):
        problems.append(
            invalid(f"{path}.target.type", target.get("type", ""), "must be either Utilization, Value, or AverageValue")
            if target.get("type")
            else required(f"{path}.target.type", "must specify a metric target type")
        )
    if target.get("averageUtilization") is not None and target["averageUtilization"] < 1:
        problems.append(
            invalid(f"{path}.target.averageUtilization", target["averageUtilization"], "must be greater than 0")
        )
    for key in ("value", "averageValue"):
        if target.get(key) is not None:
            from ..schema.scalars import quantity

            if quantity(target[key]) <= 0:
                problems.append(invalid(f"{path}.target.{key}", target[key], "must be positive"))
    if (
        kind in ("Resource", "ContainerResource")
        and target.get("averageUtilization") is None
        and target.get("averageValue") is None
    ):
        problems.append(
            required(f"{path}.target.averageUtilization", "must set either a target raw value or a target utilization")
        )
    return problems


def _scaling(rules: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        problems.append(invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > 3600:
        problems.append(invalid(f"{path}.stabilizationWindowSeconds", window, "must be less than or equal to 3600"))
    if rules.get("selectPolicy") not in (None, "Max", "Min", "Disabled"):
        problems.append(unsupported(f"{path}.selectPolicy", rules["selectPolicy"], ["Disabled", "Max", "Min"]))
    if not rules.get("policies"):
        problems.append(required(f"{path}.policies", "must specify at least one Policy"))
    for place, one in enumerate(rules.get("policies") or ()):
        here = f"{path}.policies[{place}]"
        if one.get("type") not in ("Pods", "Percent"):
            problems.append(unsupported(f"{here}.type", one.get("type"), ["Percent", "Pods"]))
        for key in ("value", "periodSeconds"):
            if one.get(key, 0) <= 0:
                problems.append(invalid(f"{here}.{key}", one.get(key, 0), "must be greater than zero"))
        if one.get("periodSeconds", 0) > 1800:
            problems.append(
                invalid(f"{here}.periodSeconds", one["periodSeconds"], "must be less than or equal to 1800")
            )
    return problems


class PodDisruptionBudget(WithStatus):
    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
        problems: list[Problem] = []
        if low is not None and high is not None:
            shown = go_struct(
                MinAvailable=low,
                Selector=spec.get("selector"),
                MaxUnavailable=high,
                UnhealthyPodEvictionPolicy=spec.get("unhealthyPodEvictionPolicy"),
            )
            problems.append(invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
        for key, value in (("minAvailable", low), ("maxUnavailable", high)):
            problems += int_or_percent(value, f"spec.{key}") + at_most_all(value, f"spec.{key}")
        policy = spec.get("unhealthyPodEvictionPolicy")
        if policy is not None and policy not in ("IfHealthyBudget", "AlwaysAllow"):
            problems.append(unsupported("spec.unhealthyPodEvictionPolicy", policy, ["AlwaysAllow", "IfHealthyBudget"]))
        return problems + validate_selector(spec.get("selector"), "spec.selector")

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        status = new.get("status") or {}
        names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
        return [one for name in names for one in at_least(f"status.{name}", status.get(name))]


class PriorityClass(Strategy):
    generations = True

    def changed(self, new: Object, old: Object) -> bool:
        return False

    def default(self, obj: Object) -> None:
        if obj.get("preemptionPolicy") is None:
            obj["preemptionPolicy"] = "PreemptLowerPriority"

    def validate(self, obj: Object) -> list[Problem]:
        name, value = obj["metadata"].get("name", ""), obj.get("value", 0)
        problems: list[Problem] = []
        if name.startswith("system-"):
            if SYSTEM_CLASSES.get(name) != value:
                text = f"priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
                problems.append(forbidden_field("metadata.name", text))
        elif value > MAX_PRIORITY:
            problems.append(
                forbidden_field("value", f"maximum allowed value of a user defined priority is {MAX_PRIORITY}")
            )
        if obj.get("preemptionPolicy") not in ("PreemptLowerPriority", "Never"):
            problems.append(
                unsupported("preemptionPolicy", obj.get("preemptionPolicy"), ["PreemptLowerPriority", "Never"])
            )
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems: list[Problem] = []
        if new.get("value") != old.get("value"):
            problems.append(forbidden_field("value", "may not be changed in an update."))
        if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
            problems.append(invalid("preemptionPolicy", new.get("preemptionPolicy"), "field is immutable"))
        return problems


class RuntimeClass(Strategy):
    def validate(self, obj: Object) -> list[Problem]:
        handler = obj.get("handler", "")
        problems = (
            [required("handler")] if not handler else [invalid("handler", handler, text) for text in dns_label(handler)]
        )
        for name, value in ((obj.get("overhead") or {}).get("podFixed") or {}).items():
            problems += quantity_problems(f"overhead.podFixed[{name}]", name, value)
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if new.get("handler") != old.get("handler"):
            problems.append(invalid("handler", new.get("handler"), "field is immutable"))
        return problems
