"""CronJobs: Jobs by the clock.

Source: batch/v1 CronJobSpec (concurrencyPolicy, startingDeadlineSeconds, timeZone, history limits). Schedules are cronsim's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from mizzen.kube.controller import After, itself, owner
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import CRON_JOBS, JOBS, Key
from mizzen.runtime.controllers.events import Recorder, reference, timestamp
from mizzen.runtime.controllers.owners import is_controlled_by, reference_to
from mizzen.runtime.controllers.pods import condition, moment
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
KIND = "CronJob"
MACROS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
          "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}  # fmt: skip
MISSED_MAX = 100  # after more missed starts than this only the last is looked at


def zone(name: str | None) -> tzinfo:
    """The schedule's time zone. Raises ValueError for an unknown one."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def times(schedule: str, after: float, until: float, where: tzinfo) -> tuple[list[float], float]:
    """The start times in (after, until], the last MISSED_MAX of them, and the next one. Raises ValueError."""
    try:
        ticks = CronSim(MACROS.get(schedule, schedule), datetime.fromtimestamp(after, where))
    except CronSimError as error:
        raise ValueError(f"unparseable schedule {schedule!r}: {error}") from error
    found: list[float] = []
    for tick in ticks:
        at = tick.timestamp()
        if at > until:
            return found[-MISSED_MAX:], at
        found.append(at)
    raise ValueError(f"schedule {schedule!r} has no next time")


class CronJobController:
    """A key is a CronJob's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self.watches = {CRON_JOBS: itself, JOBS: owner(KIND)}

    async def reconcile(self, key: Key) -> After | None:
        cron = self._writer.get(CRON_JOBS, key)
        if cron is None or "deletionTimestamp" in cron["metadata"]:
            return None
        jobs = [j for j in self._writer.in_namespace(JOBS, key.namespace) if is_controlled_by(j, cron)]
        active = [job for job in jobs if _over(job) is None]
        await self._trim(cron, jobs)
        status = _status(cron, jobs, active)
        if cron["spec"].get("suspend"):
            await self._writer.update_status(CRON_JOBS, cron, status)
            return None
        now = time.time()
        try:
            after = moment(status.get("lastScheduleTime") or cron["metadata"]["creationTimestamp"])
            missed, following = times(cron["spec"]["schedule"], after, now, zone(cron["spec"].get("timeZone")))
        except ValueError as error:
            await self._recorder.event(cron, "Warning", "UnparseableSchedule", str(error))
            await self._writer.update_status(CRON_JOBS, cron, status)
            return None
        if missed:
            status = await self._start(cron, active, missed[-1], now, status)
        await self._writer.update_status(CRON_JOBS, cron, status)
        return After(max(0.1, following - time.time()))

    async def _start(self, cron: Object, active: list[Object], at: float, now: float, status: Object) -> Object:
        spec = cron["spec"]
        deadline_s = spec.get("startingDeadlineSeconds")
        if deadline_s is not None and now > at + deadline_s:
            await self._recorder.event(
                cron, "Warning", "MissSchedule", f"Missed scheduled time to start a job: {timestamp(at)}"
            )
            return {**status, "lastScheduleTime": timestamp(at)}
        policy = spec.get("concurrencyPolicy", "Allow")
        if active and policy == "Forbid":
            await self._recorder.event(
                cron,
                "Normal",
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid",
            )
            return status
        if policy == "Replace":
            for job in active:
                await self._writer.delete(JOBS, job, propagation="Background")
            active = []
        try:
            job = await self._writer.create(JOBS, new_job(cron, at))
        except ApiError as error:
            if not error.already_exists:
                raise
            return {**status, "lastScheduleTime": timestamp(at)}
        await self._recorder.event(cron, "Normal", "SuccessfulCreate", f"Created job {job['metadata']['name']}")
        running = [reference(entry) for entry in [*active, job]]
        return {**status, "lastScheduleTime": timestamp(at), "active": running}

    async def _trim(self, cron: Object, jobs: list[Object]) -> None:
        """Deletes finished Jobs beyond the history limits, oldest first."""
        for kind, field, default in (
            ("Complete", "successfulJobsHistoryLimit", 3),
            ("Failed", "failedJobsHistoryLimit", 1),
        ):
            done = sorted((j for j in jobs if _over(j) == kind), key=lambda j: j["metadata"]["creationTimestamp"])
            for job in done[: max(0, len(done) - cron["spec"].get(field, default))]:
                await self._writer.delete(JOBS, job, propagation="Background")


def _over(job: Object) -> str | None:
    for kind in ("Complete", "Failed"):
        entry = condition(job, kind)
        if entry is not None and entry["status"] == "True":
            return kind
    return None


def _status(cron: Object, jobs: list[Object], active: list[Object]) -> Object:
    status = {k: v for k, v in cron.get("status", {}).items() if k != "active"}
    if active:
        status["active"] = [reference(job) for job in active]
    ends = [job["status"]["completionTime"] for job in jobs if job.get("status", {}).get("completionTime")]
    if ends:
        status["lastSuccessfulTime"] = max([*ends, status.get("lastSuccessfulTime", "")])
    return status


def new_job(cron: Object, at: float) -> Object:
    """The Job of one start time, named by its minute so that it is made once."""
    template, metadata = cron["spec"]["jobTemplate"], cron["metadata"]
    own = template.get("metadata") or {}
    annotations = {**(own.get("annotations") or {}), "batch.kubernetes.io/cronjob-scheduled-timestamp": timestamp(at)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-{int(at) // 60}",
            "namespace": metadata["namespace"],
            "labels": dict(own.get("labels") or {}),
            "annotations": annotations,
            "ownerReferences": [reference_to(cron, "batch/v1", KIND)],
        },
        "spec": template["spec"],
    }
