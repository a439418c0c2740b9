"""What a Job does next, from its pods: pure.

Source: batch/v1 JobSpec and JobStatus; KEP-3329 (pod failure policy), KEP-3850 (backoff limit per index), KEP-3998 (success policy).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from mizzen.runtime.controllers.pods import condition, is_ready, moment

Object = dict[str, Any]
FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
BACKOFF_S, BACKOFF_MAX_S = 10.0, 600.0


class Outcome(NamedTuple):
    """Why a Job ends: the condition's type ("Complete" or "Failed"), reason and message."""

    kind: str
    reason: str
    message: str


class Uncounted(NamedTuple):
    """The uids of finished pods that are not in the status' counts: it names them until their finalizers are off."""

    succeeded: frozenset[str]
    failed: frozenset[str]

    @classmethod
    def of(cls, status: Object) -> Uncounted:
        told = status.get("uncountedTerminatedPods") or {}
        return cls(frozenset(told.get("succeeded") or ()), frozenset(told.get("failed") or ()))

    def told(self) -> Object:
        """As status.uncountedTerminatedPods."""
        return {name: sorted(uids) for name, uids in self._asdict().items() if uids}


class Tally(NamedTuple):
    """The pods of a Job, sorted, and its counts with those of pods that are gone already."""

    active: list[Object]
    terminating: list[Object]
    succeeded: int
    failed: int
    completed_indexes: frozenset[int]
    failed_indexes: frozenset[int]
    outcome: Outcome | None
    uncounted: Uncounted


def index_of(pod: Object) -> int | None:
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else None


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def intervals(indexes: Iterable[int]) -> str:
    """ "0-2,5": runs of three or more, and of two, as Kubernetes writes them."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else (f"{a},{b}" if b == a + 1 else f"{a}-{b}") for a, b in runs)


def parse_intervals(text: str) -> frozenset[int]:
    """The indexes meant by such a text."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def failure_rule(job: Object, pod: Object) -> tuple[str, str] | None:
    """The action of the first pod failure policy rule that a failed pod meets, and a message for FailJob."""
    rules = (job["spec"].get("podFailurePolicy") or {}).get("rules") or ()
    statuses = [*(pod["status"].get("initContainerStatuses") or ()), *(pod["status"].get("containerStatuses") or ())]
    metadata = pod["metadata"]
    where = f"{metadata['namespace']}/{metadata['name']}"
    for at, rule in enumerate(rules):
        codes = rule.get("onExitCodes")
        if codes is not None:
            for status in statuses:
                code = ((status.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
                if codes.get("containerName") not in (None, status["name"]) or code == 0:
                    continue
                if (code in codes["values"]) == (codes["operator"] == "In"):
                    matched = f"matching {rule['action']} rule at index {at}"
                    text = f"Container {status['name']} for pod {where} failed with exit code {code} {matched}"
                    return rule["action"], text
        for pattern in rule.get("onPodConditions") or ():
            found = condition(pod, pattern["type"])
            if found is not None and found["status"] == pattern.get("status", "True"):
                text = f"Pod {where} has condition {pattern['type']} matching {rule['action']} rule at index {at}"
                return rule["action"], text
    return None


def tally(job: Object, pods: list[Object], now: float) -> Tally:
    """Sorts the pods and says whether the Job is over. Pods without FINALIZER have been counted in the status already, or
    are named by it as uncounted."""
    spec, status = job["spec"], job.get("status", {})
    fresh_succeeded, fresh_failed = map(set, Uncounted.of(status))
    completed = set(parse_intervals(status.get("completedIndexes", "")))
    failed_indexes = set(parse_intervals(status.get("failedIndexes", "")))
    active, terminating = [], []
    outcome: Outcome | None = None
    per_index: dict[int, int] = {}
    for pod in pods:
        phase = pod.get("status", {}).get("phase")
        fresh = FINALIZER in (pod["metadata"].get("finalizers") or ())
        index = index_of(pod)
        if phase == "Succeeded":
            if is_indexed(job):
                completed |= {index} if index is not None else set()
            elif fresh:
                fresh_succeeded.add(pod["metadata"]["uid"])
        elif phase == "Failed" or (
            fresh and phase != "Failed" and "deletionTimestamp" in pod["metadata"] and phase == "Unknown"
        ):
            rule = failure_rule(job, pod)
            if rule is not None and rule[0] == "FailJob":
                outcome = outcome or Outcome("Failed", "PodFailurePolicy", rule[1])
            if rule is not None and rule[0] == "FailIndex" and index is not None:
                failed_indexes.add(index)
            if rule is None or rule[0] != "Ignore":
                if fresh:
                    fresh_failed.add(pod["metadata"]["uid"])
                if index is not None:
                    per_index[index] = per_index.get(index, 0) + 1
        elif "deletionTimestamp" in pod["metadata"]:
            terminating.append(pod)
        else:
            active.append(pod)
    limit = spec.get("backoffLimitPerIndex")
    if is_indexed(job) and limit is not None:
        failed_indexes |= {i for i, count in per_index.items() if count > limit and i not in completed}
    uncounted = Uncounted(frozenset(fresh_succeeded), frozenset(fresh_failed))
    failed = status.get("failed", 0) + len(uncounted.failed)
    succeeded = len(completed) if is_indexed(job) else status.get("succeeded", 0) + len(uncounted.succeeded)
    outcome = outcome or _outcome(job, active, succeeded, failed, completed, failed_indexes, now)
    return Tally(
        active, terminating, succeeded, failed, frozenset(completed), frozenset(failed_indexes), outcome, uncounted
    )


def _outcome(
    job: Object,
    active: list[Object],
    succeeded: int,
    failed: int,
    completed: set[int],
    failed_indexes: set[int],
    now: float,
) -> Outcome | None:
    spec, status = job["spec"], job.get("status", {})
    if (met := _success_policy(job, completed)) is not None:
        return met
    completions = spec.get("completions")
    retried = sum(
        entry.get("restartCount", 0)
        for pod in active
        if spec["template"]["spec"].get("restartPolicy") == "OnFailure"
        for entry in pod.get("status", {}).get("containerStatuses") or ()
    )
    limit = spec.get("backoffLimit", 6)
    if failed > limit or (retried and retried > limit):
        return Outcome("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    started = status.get("startTime")
    deadline_s = spec.get("activeDeadlineSeconds")
    if deadline_s is not None and started and not spec.get("suspend") and now >= moment(started) + deadline_s:
        return Outcome("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if is_indexed(job) and failed_indexes:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(failed_indexes) > most:
            return Outcome(
                "Failed", "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
            )
        if len(failed_indexes | completed) >= (completions or 0) and not active:
            return Outcome("Failed", "FailedIndexes", "Job has failed indexes")
    if completions is None:
        done = succeeded > 0 and not active
    else:
        done = succeeded >= completions and not (is_indexed(job) and failed_indexes)
    if done:
        return Outcome("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _success_policy(job: Object, completed: set[int]) -> Outcome | None:
    for at, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        named = parse_intervals(rule["succeededIndexes"]) if rule.get("succeededIndexes") else None
        counted = completed if named is None else completed & named
        enough = rule.get("succeededCount", len(named) if named is not None else None)
        if enough is not None and len(counted) >= enough:
            return Outcome("Complete", "SuccessPolicy", f"Matched rules at index {at}")
    return None


def wanted(job: Object, found: Tally) -> int:
    """How many pods should be active now."""
    spec = job["spec"]
    if spec.get("suspend") or found.outcome is not None or "deletionTimestamp" in job["metadata"]:
        return 0
    parallelism: int = spec.get("parallelism", 1)
    completions = spec.get("completions")
    if completions is None:
        return len(found.active) if found.succeeded else parallelism
    left = completions - found.succeeded - (len(found.failed_indexes) if is_indexed(job) else 0)
    return max(0, min(parallelism, int(left)))


def missing_indexes(job: Object, found: Tally, count: int) -> list[int]:
    """The lowest indexes that are neither done, failed nor being worked."""
    busy = {index_of(pod) for pod in [*found.active, *found.terminating]}
    result: list[int] = []
    for index in range(job["spec"].get("completions") or 0):
        if len(result) >= count:
            break
        if index not in found.completed_indexes and index not in found.failed_indexes and index not in busy:
            result.append(index)
    return result


def backoff_s(pods: list[Object], now: float) -> float:
    """Seconds until another pod may be made after failures: 10 s, doubled with each failure in a row, at most 10 min."""
    finished: list[float] = []
    for pod in pods:
        if pod.get("status", {}).get("phase") == "Failed":
            ends = [
                moment(((s.get("state") or {}).get("terminated") or {}).get("finishedAt"))
                for s in pod["status"].get("containerStatuses") or ()
            ]
            finished.append(max(ends, default=0.0) or moment(pod["metadata"].get("creationTimestamp")))
    if not finished:
        return 0.0
    pause = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** (len(finished) - 1))
    return float(max(0.0, max(finished) + pause - now))


def ready_count(pods: list[Object]) -> int:
    return sum(is_ready(pod) for pod in pods)
