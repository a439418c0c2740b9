"""Pods: what becomes of them, which are refused, what may change.

The rules of pod specs, shared with templates, are podrules.py's; defaults poddefaults.py's.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from ..errors import Problem, forbidden_field, invalid
from ..schema.scalars import now
from .base import Object, WithStatus, at_least
from .poddefaults import default_pod, qos_class
from .podrules import validate_spec

if TYPE_CHECKING:
    from ..context import Ask

MUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)


class Pod(WithStatus):
    graceful = True
    returns_deleted = True

    def default(self, obj: Object) -> None:
        if obj.get("spec") is None:
            obj["spec"] = {}
        default_pod(obj)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": qos_class(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            obj["status"]["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": now(),
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]
        spec = obj["spec"]
        grace = spec.get("terminationGracePeriodSeconds")
        if grace is not None and grace < 0:
            spec["terminationGracePeriodSeconds"] = 1
        if spec.get("securityContext", {}).get("seccompProfile") is None:
            spec.setdefault("securityContext", {})

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_update(ask, new, old)
        if old["spec"].get("schedulingGates") and not new["spec"].get("schedulingGates"):
            status = copy.deepcopy(new.get("status") or {})
            conditions = [one for one in status.get("conditions") or () if one.get("reason") != "SchedulingGated"]
            status.pop("conditions", None)
            if conditions:
                status["conditions"] = conditions
            new["status"] = status

    def validate(self, obj: Object) -> list[Problem]:
        problems = validate_spec(obj.get("spec") or {}, "spec", obj["metadata"], pod=True)
        if (obj.get("spec") or {}).get("ephemeralContainers"):
            problems.append(forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
        if (obj.get("spec") or {}).get("schedulingGates") and obj["spec"].get("nodeName"):
            problems.append(
                forbidden_field("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
            )
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        problems = validate_spec(spec, "spec", new["metadata"], pod=True, update=True)
        problems += _counts(spec, before)
        deadline, was = spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
        if deadline is not None:
            if deadline < 1 or deadline > 2**31 - 1:
                problems.append(
                    invalid("spec.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive")
                )
            elif was is not None and was < deadline:
                problems.append(
                    invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")
                )
        elif was is not None:
            problems.append(
                invalid("spec.activeDeadlineSeconds", None, "must not update from a positive integer to nil value")
            )
        if problems:
            return problems
        problems += _gates(spec, before)
        if _fixed(spec, before) != _fixed(before, before):
            problems.append(forbidden_field("spec", f"{MUTABLE}\n{_diff(spec, before)}"))
        return problems

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        problems: list[Problem] = []
        status, before = new.get("status") or {}, old.get("status") or {}
        if before.get("qosClass") and status.get("qosClass") != before["qosClass"] and "qosClass" in status:
            problems.append(invalid("status.qosClass", status["qosClass"], "field is immutable"))
        for place, one in enumerate(status.get("containerStatuses") or ()):
            problems += at_least(f"status.containerStatuses[{place}].restartCount", one.get("restartCount"))
        nominated = status.get("nominatedNodeName")
        if nominated:
            from ..names import subdomain

            problems += [invalid("status.nominatedNodeName", nominated, text) for text in subdomain(nominated)]
        return problems

    def prepare_status(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_status(ask, new, old)
        status = new.setdefault("status", {})
        if (old.get("status") or {}).get("qosClass") and "qosClass" not in status:
            status["qosClass"] = old["status"]["qosClass"]
        new["metadata"].pop("ownerReferences", None)
        if old["metadata"].get("ownerReferences"):
            new["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"]

    def prepare_part(self, ask: Ask, new: Object, old: Object, part: str) -> None:
        wanted = new.get("spec") or {}
        spec = copy.deepcopy(old["spec"])
        if part == "ephemeralcontainers":
            if wanted.get("ephemeralContainers"):
                spec["ephemeralContainers"] = wanted["ephemeralContainers"]
            else:
                spec.pop("ephemeralContainers", None)
        else:
            for key in ("containers", "initContainers"):
                mine = {one["name"]: one for one in wanted.get(key) or ()}
                for one in spec.get(key) or ():
                    given = mine.get(one["name"], {})
                    for field in ("resources", "resizePolicy"):
                        if field in given:
                            one[field] = given[field]
            if wanted.get("resources") is not None:
                spec["resources"] = wanted["resources"]
        new["spec"] = spec
        new["status"] = old.get("status", {})

    def validate_part(self, new: Object, old: Object, part: str) -> list[Problem]:
        spec = new["spec"]
        if part == "ephemeralcontainers":  # those that are there were looked at before, and count for the index no more
            there = [one["name"] for one in old["spec"].get("ephemeralContainers") or ()]
            spec = {
                **spec,
                "ephemeralContainers": [
                    one for one in spec.get("ephemeralContainers") or () if one["name"] not in there
                ],
            }
        problems = validate_spec(spec, "spec", new["metadata"], pod=True, update=True)
        if part == "resize":
            if not problems and qos_class(new["spec"]) != (old.get("status") or {}).get("qosClass"):
                problems.append(invalid("spec", "", "Pod QOS Class may not change as a result of resizing"))
            return problems
        before = {one["name"]: one for one in old["spec"].get("ephemeralContainers") or ()}
        mine = {one["name"]: one for one in new["spec"].get("ephemeralContainers") or ()}
        for name, one in before.items():
            if name not in mine:
                problems.append(
                    forbidden_field(
                        "spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be removed\n'
                    )
                )
            elif mine[name] != one:
                problems.append(
                    forbidden_field(
                        "spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be changed\n'
                    )
                )
        return problems

    def changed(self, new: Object, old: Object) -> bool:
        return bool(new.get("spec") != old.get("spec"))


def _counts(spec: Object, before: Object) -> list[Problem]:
    problems = []
    for key in ("containers", "initContainers"):
        if len(spec.get(key) or ()) != len(before.get(key) or ()):
            problems.append(forbidden_field(f"spec.{key}", "pod updates may not add or remove containers"))
    return problems


def _gates(spec: Object, before: Object) -> list[Problem]:
    had = {one["name"] for one in before.get("schedulingGates") or ()}
    fresh = [one["name"] for one in spec.get("schedulingGates") or () if one["name"] not in had]
    if fresh:
        text = "only deletion is allowed, but found new scheduling gate "
        place = next(place for place, one in enumerate(spec["schedulingGates"]) if one["name"] == fresh[0])
        return [forbidden_field(f"spec.schedulingGates[{place}].name", f"{text}'{fresh[0]}'")]
    return []


def _fixed(spec: Object, before: Object) -> Object:
    """What must not change: the spec with the changeable fields as they were."""
    out = copy.deepcopy(spec)
    for key in ("containers", "initContainers"):
        for mine, theirs in zip(out.get(key) or (), before.get(key) or (), strict=False):
            mine["image"] = theirs.get("image", "")
    for key in ("activeDeadlineSeconds", "schedulingGates"):
        out.pop(key, None)
        if key in before:
            out[key] = before[key]
    tolerations, had = out.get("tolerations") or [], before.get("tolerations") or []
    if all(any(_same_but_seconds(one, other) for other in tolerations) for one in had):
        out.pop("tolerations", None)
        if had:
            out["tolerations"] = had
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and out.get("terminationGracePeriodSeconds") == 1:
        out["terminationGracePeriodSeconds"] = before["terminationGracePeriodSeconds"]
    if before.get("schedulingGates"):
        _gated(out, before)
    return out


def _gated(out: Object, before: Object) -> None:
    """While gates are there, node selectors may be added to."""
    selector, had = out.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if all(selector.get(key) == value for key, value in had.items()):
        out.pop("nodeSelector", None)
        if had:
            out["nodeSelector"] = had


def _same_but_seconds(one: Object, other: Object) -> bool:
    def bare(toleration: Object) -> Object:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    return bare(one) == bare(other)


def _diff(spec: Object, before: Object) -> str:
    changed = sorted(key for key in {*spec, *before} if spec.get(key) != before.get(key))
    return f"changed: {', '.join(changed)}"
