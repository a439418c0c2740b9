"""Jobs and CronJobs: defaults, labels and selectors that are made for them, refusals."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from ..errors import OMIT, Problem, duplicate, invalid, required, unsupported
from ..names import subdomain
from .base import Object, WithStatus, at_least
from .labelrules import selects, validate_selector
from .poddefaults import default_spec
from .podrules import validate_template

if TYPE_CHECKING:
    from ..context import Ask

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
MAX = 2**31 - 1


def default_job(spec: Object) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = MAX if spec.get("backoffLimitPerIndex") is not None else 6
    if spec.get("completionMode") is None:
        spec["completionMode"] = "NonIndexed"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("podReplacementPolicy") is None:
        spec["podReplacementPolicy"] = "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for one in rule.get("onPodConditions") or ():
            if not one.get("status"):
                one["status"] = "True"


class Job(WithStatus):
    default_propagation = "Orphan"

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        given = (spec.get("template") or {}).get("spec") or {}
        had = given.get("restartPolicy")
        default_spec((spec.get("template") or {}).setdefault("spec", {}))
        if not had and spec.get("template"):
            spec["template"]["spec"]["restartPolicy"] = "Always"
        default_job(spec)

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        obj["status"] = {}
        spec, meta = obj["spec"], obj["metadata"]
        if spec.get("manualSelector"):
            return
        template = spec.setdefault("template", {})
        labels = dict((template.setdefault("metadata", {})).get("labels") or {})
        for key in (NAME_LABEL, "job-name"):
            labels.setdefault(key, meta.get("name", ""))
        for key in (UID_LABEL, "controller-uid"):
            labels[key] = meta["uid"]
        template["metadata"]["labels"] = {key: labels[key] for key in sorted(labels)}
        if not meta.get("labels"):
            meta["labels"] = dict(template["metadata"]["labels"])
        selector = spec.get("selector") or {}
        spec["selector"] = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), UID_LABEL: meta["uid"]}}

    def validate(self, obj: Object) -> list[Problem]:
        spec, meta = obj["spec"], obj["metadata"]
        problems = job_problems(spec, "spec")
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
        selector = spec.get("selector")
        if selector is None:
            problems.append(required("spec.selector"))
        elif not spec.get("manualSelector"):
            wanted = (selector.get("matchLabels") or {}) == {UID_LABEL: meta["uid"]} and not selector.get(
                "matchExpressions"
            )
            if not wanted:
                problems.append(invalid("spec.selector", selector, "`selector` not auto-generated"))
        if not selects(selector, labels):
            problems.append(
                invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
            )
        if spec.get("completionMode") == "Indexed" and spec.get("completions") is not None and spec["completions"] > 0:
            suffix = f"-{spec['completions'] - 1}"
            if len(meta.get("name", "")) + len(suffix) > 63:
                text = "will not able to create pod with invalid DNS label"
                problems.append(invalid("metadata.name", meta.get("name"), f"{text}: {meta.get('name')}{suffix}"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        spec, before = new["spec"], old["spec"]
        problems = job_problems(spec, "spec")
        indexed = spec.get("completionMode") == "Indexed" and before.get("completionMode") == "Indexed"
        elastic = indexed and spec.get("completions") == spec.get("parallelism")
        if spec.get("completions") != before.get("completions") and not elastic:
            problems.append(invalid("spec.completions", spec.get("completions"), "field is immutable"))
        for key in (
            "selector",
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
            "successPolicy",
        ):
            if spec.get(key) != before.get(key):
                problems.append(invalid(f"spec.{key}", spec.get(key), "field is immutable"))
        if _template(spec, before) != _template(before, before):
            problems.append(invalid("spec.template", OMIT, "field is immutable"))
        return problems

    def validate_status(self, new: Object, old: Object) -> list[Problem]:
        status = new.get("status") or {}
        names = ("active", "succeeded", "failed", "ready", "terminating")
        return [one for name in names for one in at_least(f"status.{name}", status.get(name))]


def _template(spec: Object, before: Object) -> Any:
    """The template, with what may change while a job is suspended left out."""
    template = spec.get("template") or {}
    if not before.get("suspend"):
        return template
    out = dict(template.get("spec") or {})
    for key in ("nodeSelector", "tolerations", "affinity", "schedulingGates"):
        out.pop(key, None)
    return out


def job_problems(spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for key in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ):
        problems += at_least(f"{path}.{key}", spec.get(key))
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        problems.append(unsupported(f"{path}.completionMode", mode, ["NonIndexed", "Indexed"]))
    if mode != "Indexed":
        for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(key) is not None:
                problems.append(invalid(f"{path}.{key}", spec[key], "requires indexed completion mode"))
    elif spec.get("parallelism", 0) > 100_000 and spec.get("completions", 0) > 100_000:
        problems.append(
            invalid(
                f"{path}.parallelism",
                spec["parallelism"],
                "must be less than or equal to 100000 when completionMode is Indexed",
            )
        )
    managed = spec.get("managedBy")
    if managed is not None:
        problems += _managed_by(managed, f"{path}.managedBy")
    problems += _failure_policy(spec.get("podFailurePolicy"), spec, f"{path}.podFailurePolicy") + _success_policy(
        spec, f"{path}.successPolicy"
    )
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        if spec.get("podFailurePolicy") is not None and replacement != "Failed":
            problems.append(unsupported(f"{path}.podReplacementPolicy", replacement, ["Failed"]))
        elif replacement not in ("Failed", "TerminatingOrFailed"):
            problems.append(unsupported(f"{path}.podReplacementPolicy", replacement, ["Failed", "TerminatingOrFailed"]))
    problems += validate_selector(spec.get("selector"), f"{path}.selector")
    return problems + _template_problems(spec.get("template") or {}, f"{path}.template", spec)


def _template_problems(template: Object, path: str, spec: Object) -> list[Problem]:
    problems = validate_template(template, path)
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    field = f"{path}.spec.restartPolicy"
    if policy in ("", "Always"):
        problems.append(required(field, 'valid values: "OnFailure", "Never"'))
    elif policy not in ("OnFailure", "Never"):
        problems = [one for one in problems if one.field != field]
        problems.append(unsupported(field, policy, ["OnFailure", "Never"]))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        problems.append(invalid(field, policy, 'only "Never" is supported when podFailurePolicy is specified'))
    return problems


def _managed_by(value: str, path: str) -> list[Problem]:
    prefix, slash, rest = value.partition("/")
    if not slash or not prefix or not rest:
        return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    return [invalid(path, prefix, text) for text in subdomain(prefix)]


def _failure_policy(policy: Object | None, spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    for place, rule in enumerate((policy or {}).get("rules") or ()):
        here = f"{path}.rules[{place}]"
        action = rule.get("action", "")
        if action not in ("FailJob", "FailIndex", "Count", "Ignore"):
            problems.append(unsupported(f"{here}.action", action, ["Count", "FailIndex", "FailJob", "Ignore"]))
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            problems.append(invalid(f"{here}.action", action, "requires the backoffLimitPerIndex to be set"))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is not None:
            problems += _exit_codes(codes, spec, f"{here}.onExitCodes")
        for number, one in enumerate(conditions or ()):
            if one.get("status") not in ("True", "False", "Unknown"):
                problems.append(
                    unsupported(
                        f"{here}.onPodConditions[{number}].status", one.get("status"), ["False", "True", "Unknown"]
                    )
                )
        if codes is not None and conditions:
            problems.append(invalid(here, OMIT, "specifying both OnExitCodes and OnPodConditions is not supported"))
        if codes is None and not conditions:
            problems.append(invalid(here, OMIT, "specifying one of OnExitCodes and OnPodConditions is required"))
    return problems


def _exit_codes(codes: Object, spec: Object, path: str) -> list[Problem]:
    problems: list[Problem] = []
    operator, values = codes.get("operator"), codes.get("values") or []
    if operator not in ("In", "NotIn"):
        problems.append(unsupported(f"{path}.operator", operator, ["In", "NotIn"]))
    if codes.get("containerName") is not None:
        names = [
            one.get("name")
            for key in ("initContainers", "containers")
            for one in ((spec.get("template") or {}).get("spec") or {}).get(key) or ()
        ]
        if codes["containerName"] not in names:
            problems.append(
                invalid(
                    f"{path}.containerName",
                    codes["containerName"],
                    "must be one of the container or initContainer names in the pod template",
                )
            )
    if not values:
        problems.append(invalid(f"{path}.values", values, "at least one value is required"))
    seen: set[int] = set()
    for place, one in enumerate(values):
        here = f"{path}.values[{place}]"
        if one == 0 and operator == "In":
            problems.append(invalid(here, one, "must not be 0 for the In operator"))
        elif one in seen:
            problems.append(duplicate(here, one))
        elif place and one < values[place - 1]:
            problems.append(invalid(f"{path}.values", values, "must be ordered"))
        seen.add(one)
    return problems


def _success_policy(spec: Object, path: str) -> list[Problem]:
    policy = spec.get("successPolicy")
    if policy is None:
        return []
    rules = policy.get("rules") or []
    if spec.get("completionMode") != "Indexed":
        shown = {
            "Rules": [
                {"SucceededIndexes": one.get("succeededIndexes"), "SucceededCount": one.get("succeededCount")}
                for one in rules
            ]
        }
        return [invalid(path, shown, "requires indexed completion mode")]
    problems: list[Problem] = []
    if not rules:
        problems.append(
            required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
        )
    for place, one in enumerate(rules):
        here = f"{path}.rules[{place}]"
        if one.get("succeededCount") is None and one.get("succeededIndexes") is None:
            problems.append(required(here, "at least one of succeededCount or succeededIndexes must be specified"))
        problems += at_least(f"{here}.succeededCount", one.get("succeededCount"))
        if one.get("succeededCount") is not None and one["succeededCount"] > (spec.get("completions") or 0):
            problems.append(
                invalid(
                    f"{here}.succeededCount",
                    one["succeededCount"],
                    f"must be less than or equal to {spec.get('completions')} (the number of specified completions)",
                )
            )
        if one.get("succeededIndexes") is not None and not re.fullmatch(
            r"\d+(-\d+)?(,\d+(-\d+)?)*", one["succeededIndexes"]
        ):
            problems.append(
                invalid(f"{here}.succeededIndexes", one["succeededIndexes"], "error parsing succeededIndexes")
            )
    return problems


_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6))
_NAMES = {
    "month": {
        name: place + 1
        for place, name in enumerate(
            ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
        )
    },
    "day of week": {name: place for place, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
}
_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def schedule_problem(text: str) -> str:
    """What is wrong with a cron schedule, "" when nothing is."""
    if text in _WORDS or re.fullmatch(r"@every (\d+(\.\d+)?(ns|us|ms|s|m|h))+", text):
        return ""
    if text.startswith("@"):
        return f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for given, (name, low, high) in zip(fields, _FIELDS, strict=True):
        for part in given.split(","):
            problem = _part(part, name, low, high)
            if problem:
                return problem
    return ""


def _part(part: str, name: str, low: int, high: int) -> str:
    span, slash, step = part.partition("/")
    if slash and not step.isdigit():
        return f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
    if slash and int(step) == 0:
        return f"step of range should be a positive number: {part}"
    if span in ("*", "?"):
        return ""
    ends = span.split("-")
    if len(ends) > 2:
        return f"too many hyphens: {part}"
    numbers = []
    for one in ends:
        number = _NAMES.get(name, {}).get(one.lower(), int(one) if one.isdigit() else None)
        if number is None:
            return f'failed to parse int from {one}: strconv.Atoi: parsing "{one}": invalid syntax'
        numbers.append(number)
    first, last = numbers[0], numbers[-1]
    if first < low:
        return f"beginning of range ({first}) below minimum ({low}): {part}"
    if last > high:
        return f"end of range ({last}) above maximum ({high}): {part}"
    return f"beginning of range ({first}) beyond end of range ({last}): {part}" if first > last else ""


class CronJob(WithStatus):
    @staticmethod
    def name_rule(name: str) -> list[str]:
        return subdomain(name)

    def default(self, obj: Object) -> None:
        spec = obj["spec"]
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        if spec.get("suspend") is None:
            spec["suspend"] = False
        if spec.get("successfulJobsHistoryLimit") is None:
            spec["successfulJobsHistoryLimit"] = 3
        if spec.get("failedJobsHistoryLimit") is None:
            spec["failedJobsHistoryLimit"] = 1
        template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template")
        if template is not None and template.get("spec") is not None:
            default_spec(template["spec"])

    def validate(self, obj: Object) -> list[Problem]:
        problems = self._problems(obj["spec"])
        name = obj["metadata"].get("name", "")
        if len(name) > 52:
            problems.append(invalid("metadata.name", name, "must be no more than 52 characters"))
        return problems

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return self._problems(new["spec"])

    def _problems(self, spec: Object) -> list[Problem]:
        problems: list[Problem] = []
        schedule = spec.get("schedule", "")
        if not schedule:
            problems.append(required("spec.schedule"))
        elif schedule.startswith(("TZ", "CRON_TZ")) or "TZ=" in schedule:
            problems.append(
                invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
            )
        elif schedule_problem(schedule):
            problems.append(invalid("spec.schedule", schedule, schedule_problem(schedule)))
        problems += at_least("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
        problems += _time_zone(spec.get("timeZone"))
        policy = spec.get("concurrencyPolicy")
        if policy not in ("Allow", "Forbid", "Replace"):
            problems.append(unsupported("spec.concurrencyPolicy", policy, ["Allow", "Forbid", "Replace"]))
        problems += at_least("spec.successfulJobsHistoryLimit", spec.get("successfulJobsHistoryLimit"))
        problems += at_least("spec.failedJobsHistoryLimit", spec.get("failedJobsHistoryLimit"))
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        if job.get("manualSelector"):
            problems.append(unsupported("spec.jobTemplate.spec.manualSelector", True, ["nil", "false"]))
        return problems + job_problems(job, "spec.jobTemplate.spec")


def _time_zone(zone: str | None) -> list[Problem]:
    if zone is None:
        return []
    if zone == "":
        return [invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        return [
            invalid(
                "spec.timeZone",
                zone,
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            )
        ]
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return [invalid("spec.timeZone", zone, f"unknown time zone {zone}")]
    return (
        []
        if zone in available_timezones() or zone == "UTC"
        else [invalid("spec.timeZone", zone, f"unknown time zone {zone}")]
    )
