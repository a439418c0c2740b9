"""HorizontalPodAutoscalers where no metrics are served: the target is kept within its bounds, and the rest is said to be unknown.

Source: autoscaling/v2 HorizontalPodAutoscalerStatus and its condition types. Not here: metrics (metrics.k8s.io and its custom and
external kin are not served by us), so a target within its bounds keeps its size.
"""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from mizzen.kube.controller import After, itself
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import Key, Object, Resource
from mizzen.runtime.controllers.discovery import resources
from mizzen.runtime.controllers.events import Recorder, timestamp
from mizzen.runtime.controllers.writes import Writer

AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", True, "HorizontalPodAutoscaler")
SYNC_S = 15.0
MISSING = "the server could not find the requested resource"


class Finding(NamedTuple):
    """What a look at a target says: conditions (type, status, reason, message) and, when it must change, its new size."""

    conditions: list[tuple[str, str, str, str]]
    size: int | None = None
    why: str = ""


def bounded(hpa: Object, current: int) -> tuple[int, str]:
    """The size that the bounds alone ask for, and why it differs from the current one ("" when it does not)."""
    least, most = hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"]
    if current > most:
        return most, "Current number of replicas above Spec.MaxReplicas"
    if current < least:
        return least, "Current number of replicas below Spec.MinReplicas"
    return current, ""


def unknown_metric(metric: Object) -> tuple[str, str]:
    """Reason and message for a metric that nobody serves."""
    kind = metric.get("type", "")
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    prefix = "the HPA was unable to compute the replica count: "
    match kind:
        case "Resource" | "ContainerResource":
            name = source.get("name", "")
            what = "utilization" if (source.get("target") or {}).get("type") == "Utilization" else "usage"
            text = (
                f"failed to get {name} {what}: unable to get metrics for resource {name}: unable to fetch metrics from "
                f"resource metrics API: {MISSING} (get pods.metrics.k8s.io)"
            )
        case "External":
            text = f"unable to get external metric {source.get('metric', {}).get('name', '')}: no external metrics API"
        case _:
            text = f"unable to get metric {source.get('metric', {}).get('name', '')}: no custom metrics API"
    return f"FailedGet{kind}Metric", prefix + text


def look(hpa: Object, scale: Object) -> Finding:
    """What to say, and to do, about a target that can be scaled."""
    current = scale.get("spec", {}).get("replicas", 0)
    able = ("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale")
    if current == 0 and hpa["spec"].get("minReplicas", 1) != 0:
        text = "scaling is disabled since the replica count of the target is zero"
        return Finding([able, ("ScalingActive", "False", "ScalingDisabled", text)])
    size, why = bounded(hpa, current)
    if why:
        text = f"the HPA controller was able to update the target scale to {size}"
        return Finding([("AbleToScale", "True", "SucceededRescale", text)], size, why)
    if not scale.get("status", {}).get("selector"):
        text = "the HPA target's scale is missing a selector"
        return Finding([able, ("ScalingActive", "False", "InvalidSelector", text)])
    reason, message = unknown_metric(next(iter(hpa["spec"].get("metrics") or ()), {"type": "Resource"}))
    return Finding([able, ("ScalingActive", "False", reason, message)])


def with_conditions(hpa: Object, found: list[tuple[str, str, str, str]], now: float) -> list[Object]:
    """The conditions with these among them; a time changes only with its status."""
    result = [dict(entry) for entry in hpa.get("status", {}).get("conditions") or ()]
    for kind, status, reason, message in found:
        entry = next((one for one in result if one["type"] == kind), None)
        if entry is None:
            entry = {"type": kind}
            result.append(entry)
        if entry.get("status") != status:
            entry |= {"status": status, "lastTransitionTime": timestamp(now)}
        entry |= {"reason": reason, "message": message}
    return result


class AutoscalerController:
    """A key is a HorizontalPodAutoscaler's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self._kinds: dict[tuple[str, str], Resource] = {}  # (group, kind) → resource
        self.watches = {AUTOSCALERS: itself}

    async def reconcile(self, key: Key) -> After | None:
        hpa = self._writer.get(AUTOSCALERS, key)
        if hpa is None or "deletionTimestamp" in hpa["metadata"]:
            return None
        status = {"desiredReplicas": 0, **hpa.get("status", {})}
        try:
            target, scale = await self._scale(hpa)
        except ApiError as error:
            text = f"the HPA controller was unable to get the target's current scale: {error.message}"
            found = Finding([("AbleToScale", "False", "FailedGetScale", text)])
            await self._recorder.event(hpa, "Warning", "FailedGetScale", error.message)
        else:
            found = look(hpa, scale)
            status["currentReplicas"] = scale.get("spec", {}).get("replicas", 0)
            if found.size is not None:
                await self._rescale(hpa, target, scale, found)
                status |= {"desiredReplicas": found.size, "lastScaleTime": timestamp(time.time())}
            elif found.conditions[-1][2] == "ScalingDisabled":
                status["desiredReplicas"] = 0
            for kind, value, reason, message in found.conditions:
                if (kind, value) == ("ScalingActive", "False") and reason.startswith("FailedGet"):
                    await self._recorder.event(hpa, "Warning", reason, message.partition(": ")[2])
        status["conditions"] = with_conditions(hpa, found.conditions, time.time())
        await self._writer.update_status(AUTOSCALERS, hpa, status)
        return After(SYNC_S)

    async def _scale(self, hpa: Object) -> tuple[Resource, Object]:
        """The target's resource and its Scale. Raises ApiError: 404 for a kind or an object that is not there."""
        reference = hpa["spec"]["scaleTargetRef"]
        group = reference.get("apiVersion", "v1").rpartition("/")[0]
        wanted = (group, reference["kind"])
        if wanted not in self._kinds:
            served = await resources(self._writer.client)
            self._kinds = {(one.group, one.kind): one for one in served if one.namespaced}
        target = self._kinds.get(wanted)
        if target is None:
            raise ApiError(404, "NotFound", f'no matches for kind "{reference["kind"]}" in group "{group}"')
        path = target.path(hpa["metadata"]["namespace"], reference["name"], "scale")
        return target, json.loads(await self._writer.client.raw("GET", path))

    async def _rescale(self, hpa: Object, target: Resource, scale: Object, found: Finding) -> None:
        body = {**scale, "spec": {"replicas": found.size}}
        await self._writer.client.update(target, body, subresource="scale")
        text = f"New size: {found.size}; reason: {found.why}"
        await self._recorder.event(hpa, "Normal", "SuccessfulRescale", text)
