"""Rows of apps, batch, autoscaling and policy."""

from __future__ import annotations

from typing import Any

from ..schema.scalars import age, human_duration, parse_time
from .text import NONE, UNSET, age_text, labels_text, pod_cells, selector_text, spec_of, status_of

Object = dict[str, Any]


def replica_set(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    selector = spec.get("selector")
    text = labels_text(selector) if "apps/" not in tree.get("apiVersion", "") else selector_text(selector)
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [*counts, age_text(tree), *pod_cells(spec.get("template") or {}), text]


def deployment(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        str(status.get("updatedReplicas", 0)),
        str(status.get("availableReplicas", 0)),
        age_text(tree),
        *pod_cells(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def stateful_set(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        age_text(tree),
        *pod_cells(spec.get("template") or {}),
    ]


def daemon_set(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    template = spec.get("template") or {}
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [
        *(status.get(name, 0) for name in names),
        labels_text((template.get("spec") or {}).get("nodeSelector")),
        age_text(tree),
        *pod_cells(template),
        selector_text(spec.get("selector")),
    ]


def controller_revision(tree: Object) -> list[Any]:
    owners = [one for one in tree["metadata"].get("ownerReferences") or () if one.get("controller")]
    owner = NONE
    if owners:
        group = owners[0]["apiVersion"].rpartition("/")[0]
        owner = f"{owners[0]['kind'].lower()}{'.' + group if group else ''}/{owners[0]['name']}"
    return [owner, tree.get("revision", 0), age_text(tree)]


def job(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    done = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        completions = f"{done}/{spec['completions']}"
    else:
        parallelism = spec.get("parallelism", 0)
        completions = f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"
    duration = ""
    if status.get("startTime"):
        if status.get("completionTime"):
            duration = human_duration(
                (parse_time(status["completionTime"]) - parse_time(status["startTime"])).total_seconds()
            )
        else:
            duration = age(status["startTime"])
    return [
        _job_state(tree),
        completions,
        duration,
        age_text(tree),
        *pod_cells(spec.get("template") or {}),
        selector_text(spec.get("selector")),
    ]


def _job_state(tree: Object) -> str:
    on = {one["type"] for one in status_of(tree).get("conditions") or () if one["status"] == "True"}
    for condition, text in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in on:
            return text
    if tree["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if "Suspended" in on:
        return "Suspended"
    if "FailureTarget" in on:
        return "FailureTarget"
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in on else "Running"


def cron_job(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    return [
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        age(status["lastScheduleTime"]) if status.get("lastScheduleTime") else NONE,
        age_text(tree),
        *pod_cells(template),
        selector_text(((spec.get("jobTemplate") or {}).get("spec") or {}).get("selector")),
    ]


def autoscaler(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    target = spec.get("scaleTargetRef") or {}
    return [
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec, status),
        str(spec.get("minReplicas", UNSET)),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age_text(tree),
    ]


_METRIC_KEYS = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _targets(spec: Object, status: Object) -> str:
    if "metrics" not in spec and "targetCPUUtilizationPercentage" in spec:
        now = status.get("currentCPUUtilizationPercentage")
        return f"cpu: {'<unknown>' if now is None else f'{now}%'}/{spec['targetCPUUtilizationPercentage']}%"
    found = []
    current = status.get("currentMetrics") or []
    for place, metric in enumerate(spec.get("metrics") or ()):
        key = _METRIC_KEYS.get(metric.get("type", ""), "")
        body = metric.get(key) or {}
        now = ((current[place] if place < len(current) else {}).get(key) or {}).get("current") or {}
        target = body.get("target") or {}
        found.append(_target_text(key, body, target, now))
    return _capped_targets(found)


def _target_text(key: str, body: Object, target: Object, now: Object) -> str:
    average = target.get("averageValue") is not None
    if target.get("averageUtilization") is not None:
        have = f"{now['averageUtilization']}%" if now.get("averageUtilization") is not None else "<unknown>"
        want = f"{target['averageUtilization']}%"
    elif average:
        have, want = now.get("averageValue", "<unknown>"), f"{target['averageValue']}"
    else:
        have, want = now.get("value", "<unknown>"), str(target.get("value", ""))
    if average and key in ("external", "object"):
        want += " (avg)"
    name = f"{body['name']}: " if key in ("resource", "containerResource") and body.get("name") else ""
    return f"{name}{have}/{want}"


def _capped_targets(found: list[str]) -> str:
    if len(found) > 2:
        return f"{', '.join(found[:2])} + {len(found) - 2} more..."
    return ", ".join(found) or NONE


def budget(tree: Object) -> list[Any]:
    spec, status = spec_of(tree), status_of(tree)
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        status.get("disruptionsAllowed", 0),
        age_text(tree),
    ]
