"""Which EndpointSlices a Service should have, from its pods: pure rules, no client.

Source: discovery.k8s.io/v1 EndpointSlice; KEP-0752 (slices), KEP-1672 (terminating endpoints). Pods whose named target
ports resolve differently stand in different slices. At most 100 endpoints a slice, existing slices are kept where they fit.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from mizzen.runtime.controllers.owners import reference_to
from mizzen.runtime.controllers.pods import is_ready

Object = dict[str, Any]

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
MAX_ENDPOINTS = 100


class Changes(NamedTuple):
    """Slices to create, to replace (with the same name), and names of slices to delete."""

    create: list[Object]
    update: list[Object]
    delete: list[str]


def target_port(pod: Object, port: Object) -> int | None:
    """The pod's port number behind a Service port; None when a named port is not there."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or int(port["port"])
    spec = pod["spec"]
    native = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *native]:
        for entry in container.get("ports") or ():
            if entry.get("name") == target and entry.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(entry["containerPort"])
    return None


def slice_ports(service: Object, pod: Object) -> list[Object]:
    """The ports of the slice that the pod belongs to; ports it does not have are left out."""
    ports = []
    for port in service["spec"].get("ports") or ():
        number = target_port(pod, port)
        if number is None:
            continue
        entry: Object = {"name": port.get("name", ""), "protocol": port.get("protocol", "TCP"), "port": number}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def address(pod: Object, family: str) -> str | None:
    """The pod's address of a family, "IPv4" or "IPv6"."""
    status = pod.get("status", {})
    addresses = [entry["ip"] for entry in status.get("podIPs") or ()] or (
        [status["podIP"]] if status.get("podIP") else []
    )
    version = 4 if family == "IPv4" else 6
    return next((ip for ip in addresses if ipaddress.ip_address(ip).version == version), None)


def included(pod: Object, publish_not_ready: bool) -> bool:
    """A pod counts while it has an address and has not finished; a terminating one stays, marked as such."""
    status = pod.get("status", {})
    if not (status.get("podIP") or status.get("podIPs")):
        return False
    return status.get("phase") not in ("Succeeded", "Failed")


def endpoint(service: Object, pod: Object, family: str, nodes: Mapping[str, Object]) -> Object:
    """The pod as an endpoint."""
    spec, metadata = pod["spec"], pod["metadata"]
    terminating = "deletionTimestamp" in metadata
    serving = is_ready(pod)
    ready = (serving and not terminating) or bool(service["spec"].get("publishNotReadyAddresses"))
    result: Object = {
        "addresses": [address(pod, family)],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
    }
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        result["hostname"] = spec["hostname"]
    result["targetRef"] = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    if spec.get("nodeName"):
        result["nodeName"] = spec["nodeName"]
        node = nodes.get(spec["nodeName"], {})
        zone = (node.get("metadata", {}).get("labels") or {}).get("topology.kubernetes.io/zone")
        if zone:
            result["zone"] = zone
    return result


def labels(service: Object) -> dict[str, str]:
    """The Service's labels (its own of these keys never) with the slice's."""
    reserved = (SERVICE_NAME, MANAGED_BY, HEADLESS)
    result = {k: v for k, v in (service["metadata"].get("labels") or {}).items() if k not in reserved}
    result |= {SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        result[HEADLESS] = ""
    return result


def families(service: Object) -> list[str]:
    """The address types that the Service has slices of."""
    if service["spec"].get("ipFamilies"):
        return list(service["spec"]["ipFamilies"])
    cluster_ip = service["spec"].get("clusterIP") or ""
    return ["IPv6" if ":" in cluster_ip else "IPv4"]


def plan(service: Object, pods: list[Object], nodes: Mapping[str, Object], existing: list[Object]) -> Changes:
    """The changes that bring the Service's slices in line with its pods. existing: its slices managed by us."""
    changes = Changes([], [], [])
    wanted_types = families(service)
    changes.delete.extend(s["metadata"]["name"] for s in existing if s["addressType"] not in wanted_types)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    for family in wanted_types:
        groups: dict[str, tuple[list[Object], dict[str, Object]]] = {}
        for pod in pods:
            node = pod["spec"].get("nodeName")
            known = publish or not node or node in nodes
            if known and included(pod, publish) and address(pod, family) is not None:
                ports = slice_ports(service, pod)
                group = groups.setdefault(json.dumps(ports, sort_keys=True), (ports, {}))
                group[1][pod["metadata"]["uid"]] = endpoint(service, pod, family, nodes)
        _plan_family(service, family, groups, [s for s in existing if s["addressType"] == family], changes)
    return changes


def _plan_family(
    service: Object,
    family: str,
    groups: dict[str, tuple[list[Object], dict[str, Object]]],
    existing: list[Object],
    changes: Changes,
) -> None:
    kept = 0
    spare: list[Object] = []
    by_ports: dict[str, list[Object]] = {}
    for entry in sorted(existing, key=lambda s: s["metadata"]["name"]):
        by_ports.setdefault(json.dumps(entry.get("ports") or [], sort_keys=True), []).append(entry)
    for key, entries in by_ports.items():
        if key not in groups:
            spare.extend(entries)
    for key, (ports, endpoints) in groups.items():
        left = dict(endpoints)
        for entry in by_ports.get(key, []):
            stay = [left.pop(uid) for e in entry.get("endpoints") or () if (uid := _uid(e)) in left]
            entry_room = MAX_ENDPOINTS - len(stay)
            more = [left.pop(uid) for uid in list(left)[:entry_room]]
            if stay or more:
                kept += 1
                _update(service, entry, ports, stay + more, changes)
            else:
                spare.append(entry)
        while left:
            part = [left.pop(uid) for uid in list(left)[:MAX_ENDPOINTS]]
            kept += 1
            if spare:
                _update(service, spare.pop(0), ports, part, changes)
            else:
                changes.create.append(_new(service, family, ports, part))
    if kept == 0:  # a Service without pods has one empty slice
        if spare:
            _update(service, spare.pop(0), [], [], changes)
        else:
            changes.create.append(_new(service, family, [], []))
    changes.delete.extend(entry["metadata"]["name"] for entry in spare)


def _uid(entry: Object) -> str:
    return str((entry.get("targetRef") or {}).get("uid", ""))


def _new(service: Object, family: str, ports: list[Object], endpoints: list[Object]) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": service["metadata"]["name"][:57] + "-",
            "namespace": service["metadata"]["namespace"],
            "labels": labels(service),
            "ownerReferences": [reference_to(service, "v1", "Service")],
        },
        "addressType": family,
        "endpoints": endpoints or None,
        "ports": ports or None,
    }


def _update(service: Object, entry: Object, ports: list[Object], endpoints: list[Object], changes: Changes) -> None:
    same = (
        (entry.get("ports") or []) == ports
        and (entry.get("endpoints") or []) == endpoints
        and (entry["metadata"].get("labels") or {}) == labels(service)
    )
    if not same:
        metadata = dict(entry["metadata"], labels=labels(service))
        changes.update.append(dict(entry, metadata=metadata, ports=ports or None, endpoints=endpoints or None))
