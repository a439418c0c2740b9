"""Which fields of a kind a field selector may name, beside metadata.name and metadata.namespace.

Takes an object, gives the fields' values as text. Custom resources bring theirs with their definition.
Source: the field label conversions and GetAttrs of kube-apiserver's registries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Fields = Callable[[Object], dict[str, str]]


def text(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    return "" if value is None else str(value)


def _pods(pod: Object) -> dict[str, str]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ips = status.get("podIPs") or []
    return {
        "spec.nodeName": spec.get("nodeName") or "",
        "spec.restartPolicy": spec.get("restartPolicy") or "",
        "spec.schedulerName": spec.get("schedulerName") or "",
        "spec.serviceAccountName": spec.get("serviceAccountName") or "",
        "spec.hostNetwork": text(bool(spec.get("hostNetwork"))),
        "status.phase": status.get("phase") or "",
        "status.podIP": (ips[0].get("ip") if ips else status.get("podIP")) or "",
        "status.podIPs": (ips[0].get("ip") if ips else status.get("podIP")) or "",
        "status.nominatedNodeName": status.get("nominatedNodeName") or "",
    }


def _events(event: Object) -> dict[str, str]:
    about = event.get("involvedObject") or event.get("regarding") or {}
    source = event.get("source") or event.get("deprecatedSource") or {}
    fields = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    found = {f"involvedObject.{name}": about.get(name) or "" for name in fields}
    found |= {f"regarding.{name}": about.get(name) or "" for name in fields}
    reporter = event.get("reportingComponent") or event.get("reportingController") or source.get("component") or ""
    return found | {
        "reason": event.get("reason") or "",
        "reportingComponent": reporter,
        "reportingController": reporter,
        "source": source.get("component") or reporter,
        "type": event.get("type") or "",
    }


def _path(*paths: str) -> Fields:
    def read(obj: Object) -> dict[str, str]:
        found = {}
        for path in paths:
            value: Any = obj
            for step in path.split("."):
                value = value.get(step) if isinstance(value, dict) else None
            found[path] = text(value)
        return found

    return read


def _nodes(node: Object) -> dict[str, str]:
    return {"spec.unschedulable": text(bool((node.get("spec") or {}).get("unschedulable")))}


def _jobs(job: Object) -> dict[str, str]:
    return {"status.successful": text((job.get("status") or {}).get("succeeded") or 0)}


def _replicas(one: Object) -> dict[str, str]:
    return {"status.replicas": text((one.get("status") or {}).get("replicas") or 0)}


SELECTABLE: dict[str, Fields] = {
    "pods": _pods,
    "events": _events,
    "nodes": _nodes,
    "namespaces": _path("status.phase"),
    "secrets": _path("type"),
    "services": _path("spec.clusterIP", "spec.type"),
    "jobs.batch": _jobs,
    "replicationcontrollers": _replicas,
    "replicasets.apps": _replicas,
    "certificatesigningrequests.certificates.k8s.io": _path("spec.signerName"),
    "clustertrustbundles.certificates.k8s.io": _path("spec.signerName"),
    "podcertificaterequests.certificates.k8s.io": _path("spec.signerName", "spec.podName", "spec.nodeName"),
    "resourceslices.resource.k8s.io": _path("spec.nodeName", "spec.driver"),
}
