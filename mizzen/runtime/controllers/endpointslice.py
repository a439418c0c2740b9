"""EndpointSlices of Services with a selector. The rules are in endpointslice_plan.py."""

from __future__ import annotations

import time
from collections.abc import Iterable

from mizzen.api.labels import from_map
from mizzen.kube.controller import After
from mizzen.kube.resource import ENDPOINT_SLICES, NODES, PODS, SERVICES, Key, Object, key_of
from mizzen.runtime.controllers.endpointslice_plan import MANAGED_BY, MANAGER, SERVICE_NAME, TRIGGER_TIME, plan
from mizzen.runtime.controllers.events import timestamp
from mizzen.runtime.controllers.writes import Writer


class EndpointSliceController:
    """A key is a Service's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {
            SERVICES: lambda service: (key_of(service),),
            PODS: self._of_pod,
            NODES: self._of_node,
            ENDPOINT_SLICES: self._of_slice,
        }

    def _of_pod(self, pod: Object) -> Iterable[Key]:
        namespace, labels = pod["metadata"]["namespace"], pod["metadata"].get("labels") or {}
        for service in self._writer.in_namespace(SERVICES, namespace):
            if from_map(service["spec"].get("selector"))(labels):
                yield key_of(service)

    def _of_node(self, node: Object) -> Iterable[Key]:
        """A node that appears or moves to another zone changes the endpoints of all pods on it."""
        name = node["metadata"]["name"]
        return {
            key
            for pod in self._writer.informers.of(PODS).all()
            if pod["spec"].get("nodeName") == name
            for key in self._of_pod(pod)
        }

    def _of_slice(self, entry: Object) -> Iterable[Key]:
        labels = entry["metadata"].get("labels") or {}
        if labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME):
            yield Key(entry["metadata"]["namespace"], labels[SERVICE_NAME])

    async def reconcile(self, key: Key) -> After | None:
        service = self._writer.get(SERVICES, key)
        if service is None or not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None  # slices of a deleted Service are the garbage collector's
        if "deletionTimestamp" in service["metadata"]:
            return None
        selected = from_map(service["spec"]["selector"])
        pods = [
            pod
            for pod in self._writer.in_namespace(PODS, key.namespace)
            if selected(pod["metadata"].get("labels") or {})
        ]
        nodes = {node["metadata"]["name"]: node for node in self._writer.informers.of(NODES).all()}
        existing = [
            entry
            for entry in self._writer.in_namespace(ENDPOINT_SLICES, key.namespace)
            if key in set(self._of_slice(entry)) and "deletionTimestamp" not in entry["metadata"]
        ]
        changes = plan(service, sorted(pods, key=lambda pod: pod["metadata"]["name"]), nodes, existing)
        stamp = {TRIGGER_TIME: timestamp(time.time())}
        for entry in changes.create:
            entry["metadata"]["annotations"] = stamp
            await self._writer.create(ENDPOINT_SLICES, entry)
        for entry in changes.update:
            metadata = {**entry["metadata"], "annotations": {**(entry["metadata"].get("annotations") or {}), **stamp}}
            await self._writer.update(ENDPOINT_SLICES, {**entry, "metadata": metadata})
        by_name = {entry["metadata"]["name"]: entry for entry in existing}
        for name in changes.delete:
            await self._writer.delete(ENDPOINT_SLICES, by_name[name])
        return None
