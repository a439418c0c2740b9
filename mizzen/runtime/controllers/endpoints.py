"""Endpoints, the older form: made from pods for Services with a selector, and mirrored into EndpointSlices for those without.

Source: core/v1 Endpoints; KEP-2190 (mirroring). Deprecated in Kubernetes 1.33, still read by some.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mizzen.api.labels import from_map
from mizzen.kube.controller import After, itself
from mizzen.kube.resource import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Key, key_of
from mizzen.runtime.controllers import endpointslice_plan as slices
from mizzen.runtime.controllers.owners import reference_to
from mizzen.runtime.controllers.pods import is_ready
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
MANAGED_BY, MANAGER = "endpoints.kubernetes.io/managed-by", "endpoint-controller"
MIRROR = "endpointslicemirroring-controller.k8s.io"


def subsets(service: Object, pods: list[Object]) -> list[Object]:
    """The subsets of a Service: addresses grouped by equal ports, ready ones apart from others."""
    family = slices.families(service)[0]
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    groups: dict[str, Object] = {}
    for pod in sorted(pods, key=lambda p: p["metadata"]["name"]):
        ip = slices.address(pod, family)
        if ip is None or not slices.included(pod, publish):
            continue
        if "deletionTimestamp" in pod["metadata"] and not publish:
            continue
        ports = []
        for port in service["spec"].get("ports") or ():
            number = slices.target_port(pod, port)
            if number is not None:
                entry = {"port": number, "protocol": port.get("protocol", "TCP")}
                if port.get("name"):
                    entry = {"name": port["name"], **entry}
                if port.get("appProtocol"):
                    entry["appProtocol"] = port["appProtocol"]
                ports.append(entry)
        group = groups.setdefault(
            json.dumps(ports, sort_keys=True), {"addresses": [], "notReadyAddresses": [], "ports": ports}
        )
        metadata = pod["metadata"]
        where: Object = {"ip": ip}
        if pod["spec"].get("hostname") and pod["spec"].get("subdomain") == service["metadata"]["name"]:
            where["hostname"] = pod["spec"]["hostname"]
        if pod["spec"].get("nodeName"):
            where["nodeName"] = pod["spec"]["nodeName"]
        where["targetRef"] = {
            "kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
        }  # fmt: skip
        group["addresses" if is_ready(pod) or publish else "notReadyAddresses"].append(where)
    return [{k: v for k, v in group.items() if v} for group in groups.values()]


class EndpointsController:
    """A key is a Service's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {SERVICES: itself, PODS: self._of_pod, ENDPOINTS: itself}

    def _of_pod(self, pod: Object) -> Iterable[Key]:
        labels = pod["metadata"].get("labels") or {}
        for service in self._writer.in_namespace(SERVICES, pod["metadata"]["namespace"]):
            if from_map(service["spec"].get("selector"))(labels):
                yield key_of(service)

    async def reconcile(self, key: Key) -> After | None:
        service, existing = self._writer.get(SERVICES, key), self._writer.get(ENDPOINTS, key)
        if service is None:
            if existing is not None and (existing["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER:
                await self._writer.delete(ENDPOINTS, existing)
            return None
        spec = service["spec"]
        if not spec.get("selector") or spec.get("type") == "ExternalName" or "deletionTimestamp" in service["metadata"]:
            return None
        selected = from_map(service["spec"]["selector"])
        pods = [
            p for p in self._writer.in_namespace(PODS, key.namespace) if selected(p["metadata"].get("labels") or {})
        ]
        labels = {**(service["metadata"].get("labels") or {}), MANAGED_BY: MANAGER}
        if service["spec"].get("clusterIP") == "None":
            labels["service.kubernetes.io/headless"] = ""
        wanted = subsets(service, pods)
        if existing is None:
            obj: Object = {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {"name": key.name, "namespace": key.namespace, "labels": labels},
            }
            await self._writer.create(ENDPOINTS, {**obj, **({"subsets": wanted} if wanted else {})})
        elif (existing.get("subsets") or []) != wanted or (existing["metadata"].get("labels") or {}) != labels:
            metadata = {**existing["metadata"], "labels": labels}
            await self._writer.update(ENDPOINTS, {**existing, "metadata": metadata, "subsets": wanted})
        return None


def mirrored(endpoints: Object) -> list[Object]:
    """The slices that tell the same as hand-made Endpoints: one a subset and address family."""
    result = []
    metadata = endpoints["metadata"]
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k not in (MANAGED_BY, slices.SKIP_MIRROR)}
    labels |= {slices.SERVICE_NAME: metadata["name"], slices.MANAGED_BY: MIRROR}
    for subset in endpoints.get("subsets") or ():
        by_family: dict[str, list[Object]] = {}
        for ready, field in ((True, "addresses"), (False, "notReadyAddresses")):
            for where in subset.get(field) or ():
                family = "IPv6" if ":" in where["ip"] else "IPv4"
                entry: Object = {"addresses": [where["ip"]], "conditions": {"ready": ready}}
                entry |= {k: where[k] for k in ("hostname", "nodeName", "targetRef") if k in where}
                by_family.setdefault(family, []).append(entry)
        ports = [{"name": "", "protocol": "TCP", **port} for port in subset.get("ports") or ()]
        for family, entries in by_family.items():
            result.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "generateName": f"{metadata['name']}-",
                        "namespace": metadata["namespace"],
                        "labels": labels,
                        "ownerReferences": [reference_to(endpoints, "v1", "Endpoints")],
                    },
                    "addressType": family,
                    "endpoints": entries,
                    "ports": ports,
                }
            )
    return result


class MirroringController:
    """A key is a Service's: slices of Endpoints that someone else writes for a Service without a selector."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {SERVICES: itself, ENDPOINTS: itself}

    async def reconcile(self, key: Key) -> After | None:
        service, endpoints = self._writer.get(SERVICES, key), self._writer.get(ENDPOINTS, key)
        existing = [
            entry
            for entry in self._writer.in_namespace(ENDPOINT_SLICES, key.namespace)
            if (labels := entry["metadata"].get("labels") or {}).get(slices.MANAGED_BY) == MIRROR
            and labels.get(slices.SERVICE_NAME) == key.name
        ]
        wanted: list[Object] = []
        if service is not None and endpoints is not None and not service["spec"].get("selector"):
            labels = endpoints["metadata"].get("labels") or {}
            if labels.get(slices.SKIP_MIRROR) != "true" and labels.get(MANAGED_BY) != MANAGER:
                wanted = mirrored(endpoints)
        for old, new in zip(existing, wanted, strict=False):
            if any(old.get(field) != new[field] for field in ("endpoints", "ports")):
                metadata = {**old["metadata"], "labels": new["metadata"]["labels"]}
                await self._writer.update(ENDPOINT_SLICES, {**new, "metadata": metadata})
        for new in wanted[len(existing) :]:
            await self._writer.create(ENDPOINT_SLICES, new)
        for old in existing[len(wanted) :]:
            await self._writer.delete(ENDPOINT_SLICES, old)
        return None
