"""Jobs: pods that run to completion. The rules are in job_plan.py.

Each pod carries a finalizer until it has been counted in the status, so that none is counted twice or lost.
"""

from __future__ import annotations

import copy
import time
from typing import Any

from mizzen.kube.controller import After, itself, owner
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import JOBS, PODS, Key
from mizzen.runtime.controllers import job_plan as rules
from mizzen.runtime.controllers.events import Recorder, timestamp
from mizzen.runtime.controllers.owners import is_controlled_by, reference_to
from mizzen.runtime.controllers.pods import condition, is_active, moment
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
KIND = "Job"


class JobController:
    """A key is a Job's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self.watches = {JOBS: itself, PODS: owner(KIND)}

    async def reconcile(self, key: Key) -> After | None:
        job = self._writer.get(JOBS, key)
        if job is None:
            await self._release_orphans(key)
            return None
        if job["spec"].get("managedBy", "kubernetes.io/job-controller") != "kubernetes.io/job-controller":
            return None
        if (over := _finished(job)) is not None:
            await self._uncounted(self._pods(job))
            return await self._expire(job, over)
        now, pods = time.time(), self._pods(job)
        found = rules.tally(job, pods, now)
        again = await self._resize(job, found, pods, now)
        known = {pod["metadata"]["uid"] for pod in pods} - {pod["metadata"]["uid"] for pod in found.active}
        active = [pod for pod in self._pods(job) if is_active(pod) and pod["metadata"]["uid"] not in known]
        noted = await self._note_uncounted(job, found)
        if noted is None:
            return None
        await self._uncounted(pods)  # those that were tallied: what has ended since is counted next time
        status = self._status(job, found, active, now)
        await self._writer.update_status(JOBS, noted, status)
        if found.outcome is not None:
            kind = "Normal" if found.outcome.kind == "Complete" else "Warning"
            reason = "Completed" if found.outcome.kind == "Complete" else found.outcome.reason
            text = "Job completed" if found.outcome.kind == "Complete" else found.outcome.message
            await self._recorder.event(job, kind, reason, text)
            return After(0.0)
        deadline_s = job["spec"].get("activeDeadlineSeconds")
        if deadline_s is not None and status.get("startTime"):
            left = moment(status["startTime"]) + deadline_s - now
            again = left if again is None else min(again, left)
        return After(max(0.05, again)) if again is not None else None

    async def _note_uncounted(self, job: Object, found: rules.Tally) -> Object | None:
        """The Job with a status that names the pods that are about to be counted; None when the Job is gone.

        So a pod that lost its finalizer before the counts were written is neither lost nor counted twice.
        """
        before = job.get("status", {})
        if found.uncounted == rules.Uncounted.of(before):
            return job
        return await self._writer.update_status(
            JOBS, job, {**before, "uncountedTerminatedPods": found.uncounted.told()}
        )

    def _pods(self, job: Object) -> list[Object]:
        every = self._writer.in_namespace(PODS, job["metadata"]["namespace"])
        return [pod for pod in every if is_controlled_by(pod, job)]

    async def _release_orphans(self, key: Key) -> None:
        """Pods of a Job that is gone must not wait to be counted."""
        for pod in self._writer.in_namespace(PODS, key.namespace):
            labels = pod["metadata"].get("labels") or {}
            if labels.get("batch.kubernetes.io/job-name") == key.name and rules.FINALIZER in (
                pod["metadata"].get("finalizers") or ()
            ):
                await self._drop_finalizer(pod)

    async def _uncounted(self, pods: list[Object]) -> None:
        """Takes the finalizer off pods that are finished: they are in the status now."""
        for pod in pods:
            over = (
                pod.get("status", {}).get("phase") in ("Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]
            )
            if over and rules.FINALIZER in (pod["metadata"].get("finalizers") or ()):
                await self._drop_finalizer(pod)

    async def _drop_finalizer(self, pod: Object) -> None:
        rest = [f for f in pod["metadata"]["finalizers"] if f != rules.FINALIZER]
        try:
            await self._writer.patch(PODS, pod, {"metadata": {"finalizers": rest or None}}, type="merge")
        except ApiError as error:
            if not error.not_found:
                raise

    async def _resize(self, job: Object, found: rules.Tally, pods: list[Object], now: float) -> float | None:
        """Creates or deletes pods; in how many seconds to look again."""
        target = rules.wanted(job, found)
        surplus = len(found.active) - target
        if surplus > 0:
            ordered = sorted(
                found.active, key=lambda p: (rules.ready_count([p]), p["metadata"].get("creationTimestamp") or "")
            )
            for pod in ordered[:surplus]:
                await self._writer.delete(PODS, pod)
            return None
        replace_late = job["spec"].get("podReplacementPolicy") == "Failed"
        missing = -surplus - (len(found.terminating) if replace_late else 0)
        if missing <= 0:
            return None
        wait = rules.backoff_s(pods, now)
        if wait > 0:
            return wait
        indexes: list[int | None] = [None] * missing
        if rules.is_indexed(job):
            indexes = list(rules.missing_indexes(job, found, missing))
        for index in indexes:
            pod = await self._writer.create(PODS, new_pod(job, index))
            await self._recorder.event(job, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return None

    def _status(self, job: Object, found: rules.Tally, active: list[Object], now: float) -> Object:
        before, spec, stamp = job.get("status", {}), job["spec"], timestamp(now)
        suspended = bool(spec.get("suspend"))
        over = found.outcome is not None
        status: Object = {k: v for k, v in before.items() if k not in ("active", "ready", "terminating")}
        running = [] if over or suspended else active
        if running:
            status["active"] = len(running)
        status["ready"] = rules.ready_count(running)
        status["terminating"] = len(found.terminating) if not over else 0
        if found.succeeded:
            status["succeeded"] = found.succeeded
        if found.failed:
            status["failed"] = found.failed
        status["uncountedTerminatedPods"] = {}
        if rules.is_indexed(job):
            status["completedIndexes"] = rules.intervals(found.completed_indexes)
            if spec.get("backoffLimitPerIndex") is not None:
                status["failedIndexes"] = rules.intervals(found.failed_indexes)
            if not status["completedIndexes"]:
                del status["completedIndexes"]
        if not suspended and not status.get("startTime"):
            status["startTime"] = stamp
        status = _suspension(job, status, suspended, stamp)
        if found.outcome is not None:
            first = "SuccessCriteriaMet" if found.outcome.kind == "Complete" else "FailureTarget"
            for kind in (first, found.outcome.kind):
                status = _with(status, kind, "True", found.outcome.reason, found.outcome.message, stamp)
            if found.outcome.kind == "Complete":
                status["completionTime"] = stamp
        if not status.get("conditions"):
            status.pop("conditions", None)
        return status

    async def _expire(self, job: Object, finished_s: float) -> After | None:
        ttl_s = job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is None or "deletionTimestamp" in job["metadata"]:
            return None
        left = finished_s + ttl_s - time.time()
        if left > 0:
            return After(left)
        await self._writer.delete(JOBS, job, propagation="Foreground")
        return None


def _finished(job: Object) -> float | None:
    """When the Job ended, in seconds since the epoch; None while it runs."""
    for kind in ("Complete", "Failed"):
        entry = condition(job, kind)
        if entry is not None and entry["status"] == "True":
            return moment(entry["lastTransitionTime"])
    return None


def _suspension(job: Object, status: Object, suspended: bool, stamp: str) -> Object:
    was = condition(job, "Suspended")
    if suspended and (was is None or was["status"] != "True"):
        status = {k: v for k, v in status.items() if k != "startTime"}
        return _with(status, "Suspended", "True", "JobSuspended", "Job suspended", stamp)
    if not suspended and was is not None and was["status"] == "True":
        status["startTime"] = stamp
        return _with(status, "Suspended", "False", "JobResumed", "Job resumed", stamp)
    return status


def _with(status: Object, kind: str, value: str, reason: str, message: str, stamp: str) -> Object:
    entry = {"type": kind, "status": value, "lastProbeTime": stamp, "lastTransitionTime": stamp,
             "reason": reason, "message": message}  # fmt: skip
    others = [c for c in status.get("conditions") or () if c["type"] != kind]
    return {**status, "conditions": [*others, entry]}


def new_pod(job: Object, index: int | None) -> Object:
    """A pod of the Job; index: its completion index, for Indexed ones."""
    template = copy.deepcopy(job["spec"]["template"])
    metadata, spec = template.get("metadata") or {}, template["spec"]
    name = job["metadata"]["name"]
    labels, annotations = dict(metadata.get("labels") or {}), dict(metadata.get("annotations") or {})
    generate = f"{name}-"
    if index is not None:
        labels[rules.INDEX] = annotations[rules.INDEX] = str(index)
        spec["hostname"] = f"{name}-{index}"
        generate = f"{name}-{index}-"
        source = {"fieldRef": {"fieldPath": f"metadata.labels['{rules.INDEX}']"}}
        for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
            env = container.setdefault("env", [])
            if not any(entry["name"] == "JOB_COMPLETION_INDEX" for entry in env):
                env.append({"name": "JOB_COMPLETION_INDEX", "valueFrom": source})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": generate,
            "namespace": job["metadata"]["namespace"],
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            "finalizers": [rules.FINALIZER],
            "ownerReferences": [reference_to(job, "batch/v1", KIND)],
        },
        "spec": spec,
    }
