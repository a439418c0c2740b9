"""The same object in another version of its kind: HorizontalPodAutoscaler v1 and v2, Event of core and events.k8s.io, custom ones.

Takes a cached item, gives its JSON in a resource's version. Custom resources convert by changing apiVersion alone (strategy None).
"""

from __future__ import annotations

from typing import Any

import msgspec

from .cache import Item
from .resources import Resource
from .schema.decode import Decoder

Object = dict[str, Any]
encode = msgspec.json.encode


def to_version(item: Item, resource: Resource) -> bytes:
    if resource.custom is not None:
        data: bytes = resource.custom.presented(item)
        return data
    tree = item.object()
    shown = SHOWN[resource.api_version, resource.kind](tree)
    assert resource.struct is not None
    return encode(
        Decoder().object(resource.struct, {**shown, "kind": resource.kind, "apiVersion": resource.api_version})
    )


def to_storage(tree: Object, resource: Resource) -> Object:
    """The tree of a request in the version that is stored."""
    make = STORED.get((resource.api_version, resource.kind))
    return make(tree) if make else tree


def _event_shown(tree: Object) -> Object:
    out: Object = {
        key: tree[key]
        for key in ("metadata", "eventTime", "series", "reportingInstance", "action", "reason", "related", "type")
        if key in tree
    }
    out["reportingController"] = tree.get("reportingComponent", "")
    out["regarding"] = tree.get("involvedObject", {})
    out["note"] = tree.get("message", "")
    out["deprecatedSource"] = tree.get("source", {})
    out["deprecatedFirstTimestamp"] = tree.get("firstTimestamp")
    out["deprecatedLastTimestamp"] = tree.get("lastTimestamp")
    out["deprecatedCount"] = tree.get("count", 0)
    return out


def _event_stored(tree: Object) -> Object:
    renamed = {
        "reportingController": "reportingComponent", "regarding": "involvedObject", "note": "message", "deprecatedSource": "source",
        "deprecatedFirstTimestamp": "firstTimestamp", "deprecatedLastTimestamp": "lastTimestamp", "deprecatedCount": "count",
    }  # fmt: skip
    return {renamed.get(key, key): value for key, value in tree.items()} | {"apiVersion": "v1"}


def _hpa_shown(tree: Object) -> Object:
    spec, status = dict(tree.get("spec") or {}), tree.get("status") or {}
    out_spec = {key: spec[key] for key in ("scaleTargetRef", "minReplicas", "maxReplicas") if key in spec}
    rest = []
    for metric in spec.get("metrics") or ():
        source = metric.get("resource") or {}
        target = source.get("target") or {}
        if (
            metric.get("type") == "Resource"
            and source.get("name") == "cpu"
            and target.get("averageUtilization") is not None
        ):
            out_spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            rest.append(metric)
    out_status = {
        key: status[key]
        for key in ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
        if key in status
    }
    for metric in status.get("currentMetrics") or ():
        source = metric.get("resource") or {}
        if (
            metric.get("type") == "Resource"
            and source.get("name") == "cpu"
            and (source.get("current") or {}).get("averageUtilization") is not None
        ):
            out_status["currentCPUUtilizationPercentage"] = source["current"]["averageUtilization"]
    meta = dict(tree["metadata"])
    notes = {"autoscaling.alpha.kubernetes.io/metrics": rest, "autoscaling.alpha.kubernetes.io/conditions": status.get("conditions"),
             "autoscaling.alpha.kubernetes.io/behavior": spec.get("behavior")}  # fmt: skip
    added = {key: encode(value).decode() for key, value in notes.items() if value}
    if added:
        meta["annotations"] = {**(meta.get("annotations") or {}), **added}
    return {"metadata": meta, "spec": out_spec, "status": out_status}


def _hpa_stored(tree: Object) -> Object:
    spec, status = dict(tree.get("spec") or {}), dict(tree.get("status") or {})
    meta = dict(tree["metadata"])
    notes = dict(meta.get("annotations") or {})
    metrics = msgspec.json.decode(notes.pop("autoscaling.alpha.kubernetes.io/metrics", "[]"))
    behavior = notes.pop("autoscaling.alpha.kubernetes.io/behavior", None)
    conditions = notes.pop("autoscaling.alpha.kubernetes.io/conditions", None)
    cpu = spec.pop("targetCPUUtilizationPercentage", None)
    if cpu is not None:
        target = {"type": "Utilization", "averageUtilization": cpu}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if behavior:
        spec["behavior"] = msgspec.json.decode(behavior)
    now = status.pop("currentCPUUtilizationPercentage", None)
    if now is not None:
        current = {"averageUtilization": now, "averageValue": "0"}
        status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    if conditions:
        status["conditions"] = msgspec.json.decode(conditions)
    status.setdefault("currentMetrics", None)
    if notes or "annotations" in meta:
        meta["annotations"] = notes
        if not notes:
            del meta["annotations"]
    return {**tree, "apiVersion": "autoscaling/v2", "metadata": meta, "spec": spec, "status": status}


SHOWN = {
    ("events.k8s.io/v1", "Event"): _event_shown,
    ("autoscaling/v1", "HorizontalPodAutoscaler"): _hpa_shown,
}
STORED = {
    ("events.k8s.io/v1", "Event"): _event_stored,
    ("autoscaling/v1", "HorizontalPodAutoscaler"): _hpa_stored,
}
