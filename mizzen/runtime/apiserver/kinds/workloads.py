"""Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers, ControllerRevisions: defaults and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Problem, forbidden_field, invalid, required, show, unsupported
from .base import PERCENT, Object, Strategy, WithStatus, at_least
from .labelrules import selects, workload_selector
from .poddefaults import default_spec
from .podrules import validate_template

if TYPE_CHECKING:
    from ..context import Ask

PERCENT_TEXT = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"


def default_template(obj: Object) -> None:
    spec = obj.get("spec") or {}
    template = spec.get("template")
    if template is not None and template.get("spec") is not None:
        default_spec(template["spec"])


def int_or_percent(value: Any, path: str) -> list[Problem]:
    if value is None:
        return []
    if isinstance(value, str):
        return [] if PERCENT.match(value) else [invalid(path, value, PERCENT_TEXT)]
    return at_least(path, value)


def at_most_all(value: Any, path: str) -> list[Problem]:
    if isinstance(value, str) and PERCENT.match(value) and int(value[:-1]) > 100:
        return [invalid(path, value, "must not be greater than 100%")]
    return []


def is_zero(value: Any) -> bool:
    return value == 0 or (isinstance(value, str) and PERCENT.match(value) is not None and int(value[:-1]) == 0)


def go_struct(**fields: Any) -> Any:
    """A Go struct as a refusal prints it, with the Go names of its fields."""
    return fields


def template_problems(
    template: Object, path: str, kind: str, *, policies: tuple[str, ...] = ("Always",)
) -> list[Problem]:
    problems = validate_template(template, path)
    spec = template.get("spec") or {}
    policy = spec.get("restartPolicy")
    if policy and policy not in policies and policy in ("Always", "OnFailure", "Never"):
        problems.append(unsupported(f"{path}.spec.restartPolicy", policy, list(policies)))
    if spec.get("activeDeadlineSeconds") is not None:
        problems.append(
            forbidden_field(f"{path}.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported")
        )
    return problems


class Workload(WithStatus):
    """What workloads with a pod template share."""

    kind = ""

    def default(self, obj: Object) -> None:
        default_template(obj)
        spec = obj["spec"]
        if spec.get("replicas") is None:
            spec["replicas"] = 1


class Deployment(Workload):
    kind = "deployment"

    def default(self, obj: Object) -> None:
        super().default(obj)
        spec = obj["spec"]
        strategy = spec.setdefault("strategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)

    def changed(self, new: Object, old: Object) -> bool:
        return bool(
            new.get("spec") != old.get("spec")
            or new["metadata"].get("annotations") != old["metadata"].get("annotations")
        )

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = at_least("spec.replicas", spec.get("replicas"))
        problems += workload_selector(spec, self.kind)
        problems += template_problems(spec.get("template") or {}, "spec.template", "ReplicaSet")
        problems += _strategy(spec.get("strategy") or {})
        problems += at_least("spec.minReadySeconds", spec.get("minReadySeconds"))
        problems += at_least("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        deadline = spec.get("progressDeadlineSeconds")
        if deadline is not None:
            problems += at_least("spec.progressDeadlineSeconds", deadline)
            if deadline <= spec.get("minReadySeconds", 0):
                problems.append(
                    invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
                )
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return self.validate(new) + _same_selector(new, old)

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        return _counts(
            new,
            (
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
            ),
        )


def _counts(obj: Object, names: tuple[str, ...]) -> list[Problem]:
    status = obj.get("status") or {}
    return [one for name in names for one in at_least(f"status.{name}", status.get(name))]


def _same_selector(new: Object, old: Object) -> list[Problem]:
    mine, before = new["spec"].get("selector"), old["spec"].get("selector")
    return [] if mine == before else [invalid("spec.selector", mine, "field is immutable")]


def _strategy(strategy: Object) -> list[Problem]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.strategy"
    if kind == "Recreate":
        return (
            [forbidden_field(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")]
            if rolling is not None
            else []
        )
    if kind != "RollingUpdate":
        return [unsupported(path, go_struct(Type=kind, RollingUpdate=None), ["Recreate", "RollingUpdate"])]
    rolling = rolling or {}
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    path += ".rollingUpdate"
    problems = int_or_percent(unavailable, f"{path}.maxUnavailable") + int_or_percent(surge, f"{path}.maxSurge")
    if is_zero(unavailable) and is_zero(surge):
        problems.append(invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return problems + at_most_all(unavailable, f"{path}.maxUnavailable")


class ReplicaSet(Workload):
    kind = "replica set"

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"replicas": 0}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = at_least("spec.replicas", spec.get("replicas")) + at_least(
            "spec.minReadySeconds", spec.get("minReadySeconds")
        )
        problems += workload_selector(spec, "deployment")
        return problems + template_problems(spec.get("template") or {}, "spec.template", "ReplicaSet")

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return self.validate(new) + _same_selector(new, old)

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        return _replica_status(new)


def _replica_status(obj: Object) -> list[Problem]:
    problems = _counts(
        obj, ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")
    )
    status = obj.get("status") or {}
    for name in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        if status.get(name, 0) > status.get("replicas", 0):
            problems.append(invalid(f"status.{name}", status[name], "cannot be greater than status.replicas"))
    return problems


class ReplicationController(Workload):
    default_propagation = "Orphan"

    def default(self, obj: Object) -> None:
        super().default(obj)
        spec = obj["spec"]
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"replicas": 0}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = at_least("spec.minReadySeconds", spec.get("minReadySeconds"))
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            problems.append(required("spec.selector"))
        problems += at_least("spec.replicas", spec.get("replicas"))
        if template is None:
            return [*problems, required("spec.template")]
        labels = (template.get("metadata") or {}).get("labels")
        if selector and not selects({"matchLabels": selector}, labels):
            problems.append(
                invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
            )
        return problems + template_problems(template, "spec.template", "ReplicationController")

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        return _replica_status(new)


class StatefulSet(Workload):
    kind = "statefulset"

    def default(self, obj: Object) -> None:
        super().default(obj)
        spec = obj["spec"]
        if not spec.get("podManagementPolicy"):
            spec["podManagementPolicy"] = "OrderedReady"
        strategy = spec.setdefault("updateStrategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            if rolling.get("partition") is None:
                rolling["partition"] = 0
            if rolling.get("maxUnavailable") is None:
                rolling["maxUnavailable"] = 1
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        for key in ("whenDeleted", "whenScaled"):
            if not retention.get(key):
                retention[key] = "Retain"
        spec.setdefault("revisionHistoryLimit", 10)
        for claim in spec.get("volumeClaimTemplates") or ():
            claim |= {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
            claim["spec"].setdefault("volumeMode", "Filesystem")
            claim["status"] = {"phase": "Pending"}

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"replicas": 0, "availableReplicas": 0}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems: list[Problem] = []
        if spec.get("podManagementPolicy") not in ("OrderedReady", "Parallel"):
            problems.append(
                invalid(
                    "spec.podManagementPolicy", spec.get("podManagementPolicy"), "must be 'OrderedReady' or 'Parallel'"
                )
            )
        problems += _stateful_strategy(spec.get("updateStrategy") or {})
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        for key in ("whenDeleted", "whenScaled"):
            if retention.get(key) not in (None, "Retain", "Delete"):
                problems.append(
                    unsupported(
                        f"spec.persistentVolumeClaimRetentionPolicy.{key}", retention[key], ["Delete", "Retain"]
                    )
                )
        problems += at_least("spec.replicas", spec.get("replicas")) + at_least(
            "spec.minReadySeconds", spec.get("minReadySeconds")
        )
        problems += at_least("spec.ordinals.start", (spec.get("ordinals") or {}).get("start"))
        problems += at_least("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))
        problems += workload_selector(spec, self.kind)
        return problems + template_problems(spec.get("template") or {}, "spec.template", "StatefulSet")

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        mine, before = new["spec"], old["spec"]
        for key in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"):
            if mine.get(key) != before.get(key):
                problems.append(invalid(f"spec.{key}", mine.get(key, ""), "field is immutable"))
        return problems

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        names = (
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "observedGeneration",
            "collisionCount",
            "availableReplicas",
        )
        problems = _counts(new, names)
        status = new.get("status") or {}
        for name in ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"):
            if status.get(name, 0) > status.get("replicas", 0):
                problems.append(invalid(f"status.{name}", status[name], "cannot be greater than status.replicas"))
        return problems


def _stateful_strategy(strategy: Object) -> list[Problem]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if kind not in ("RollingUpdate", "OnDelete"):
        return [invalid(path, go_struct(Type=kind, RollingUpdate=None), "must be 'RollingUpdate' or 'OnDelete'")]
    if rolling is None:
        return []
    if kind == "OnDelete":
        shown = go_struct(Partition=rolling.get("partition"), MaxUnavailable=rolling.get("maxUnavailable"))
        return [invalid(f"{path}.rollingUpdate", shown, "only allowed for updateStrategy 'RollingUpdate'")]
    problems = at_least(f"{path}.rollingUpdate.partition", rolling.get("partition"))
    unavailable = rolling.get("maxUnavailable")
    problems += int_or_percent(unavailable, f"{path}.rollingUpdate.maxUnavailable")
    if is_zero(unavailable):
        problems.append(invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, "cannot be 0"))
    return problems + at_most_all(unavailable, f"{path}.rollingUpdate.maxUnavailable")


class DaemonSet(Workload):
    kind = "daemonset"

    def default(self, obj: Object) -> None:
        default_template(obj)
        spec = obj["spec"]
        strategy = spec.setdefault("updateStrategy", {})
        strategy.setdefault("type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            if rolling.get("maxUnavailable") is None:
                rolling["maxUnavailable"] = 1
            if rolling.get("maxSurge") is None:
                rolling["maxSurge"] = 0
        spec.setdefault("revisionHistoryLimit", 10)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }
        obj["spec"].pop("templateGeneration", None)
        note = "deprecated.daemonset.template.generation"
        obj["metadata"]["annotations"] = {**(obj["metadata"].get("annotations") or {}), note: "1"}

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_update(ask, new, old)
        note = "deprecated.daemonset.template.generation"
        number = int((old["metadata"].get("annotations") or {}).get(note, "0") or "0")
        if new["spec"].get("template") != old["spec"].get("template"):
            number += 1
        if number:
            new["metadata"]["annotations"] = {**(new["metadata"].get("annotations") or {}), note: str(number)}

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = workload_selector(spec, self.kind)
        problems += template_problems(spec.get("template") or {}, "spec.template", "DaemonSet")
        problems += at_least("spec.minReadySeconds", spec.get("minReadySeconds"))
        problems += _daemon_strategy(spec.get("updateStrategy") or {})
        return problems + at_least("spec.revisionHistoryLimit", spec.get("revisionHistoryLimit"))

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return self.validate(new) + _same_selector(new, old)

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        names = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "updatedNumberScheduled",
                 "numberAvailable", "numberUnavailable", "observedGeneration")  # fmt: skip
        return _counts(new, names)


def _daemon_strategy(strategy: Object) -> list[Problem]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy"
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [unsupported(path, go_struct(Type=kind, RollingUpdate=None), ["OnDelete", "RollingUpdate"])]
    rolling = rolling or {}
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    path += ".rollingUpdate"
    problems = int_or_percent(unavailable, f"{path}.maxUnavailable") + int_or_percent(surge, f"{path}.maxSurge")
    if not is_zero(unavailable) and not is_zero(surge):
        problems.append(invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif is_zero(unavailable) and is_zero(surge):
        problems.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return problems + at_most_all(unavailable, f"{path}.maxUnavailable") + at_most_all(surge, f"{path}.maxSurge")


class ControllerRevision(Strategy):
    def validate(self, obj: Object) -> list[Problem]:
        problems = [required("data", "data is mandatory")] if obj.get("data") is None else []
        return problems + at_least("revision", obj.get("revision"))

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        problems = self.validate(new)
        if new.get("data") != old.get("data"):
            problems.append(invalid("data", show(new.get("data")), "field is immutable"))
        return problems
