"""Events about pods and nodes: written in the background, equal ones counted on one object.

Source: core/v1 Event as the kubelet writes it (count, firstTimestamp, lastTimestamp).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from mizzen.kube import CONNECTION_ERRORS, ApiError, Client
from mizzen.kube.resource import EVENTS, Object
from mizzen.runtime.kubelet.status import moment

log = logging.getLogger("mizzen.kubelet.events")

FORGET_AFTER_S = 600.0
QUEUE = 1000


class Recorder:
    """Call `run` in a task of yours; `event` never waits."""

    def __init__(self, client: Client, node_name: str, component: str = "kubelet") -> None:
        self._client, self._node, self._component = client, node_name, component
        self._queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue(QUEUE)
        self._seen: dict[tuple[str, ...], tuple[str, int, float]] = {}

    def event(
        self, obj: Object, reason: str, message: str, *, warning: bool = False, container: str = "", init: bool = False
    ) -> None:
        """Record; when there is no room it is dropped."""
        if self._queue.full():
            log.warning("an event is dropped: %s %s", reason, message)
            return
        field = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        self._queue.put_nowait((obj, reason, message[:1024], "Warning" if warning else "Normal", field, time.time()))

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            item = await self._queue.get()
            try:
                await self._write(*item)
            except ApiError as error:
                if not (error.not_found or error.code == 403):  # the namespace goes
                    log.warning("event: %s", error)
            except CONNECTION_ERRORS as error:
                log.warning("event: %s", error)

    async def _write(self, obj: Object, reason: str, message: str, kind: str, field: str, at: float) -> None:
        meta = obj["metadata"]
        namespace = meta.get("namespace") or "default"
        key = (meta.get("uid", ""), reason, message, field)
        name, count, _ = self._seen.get(key, ("", 0, 0.0))
        if name:
            count += 1
            await self._client.patch(EVENTS, name, {"count": count, "lastTimestamp": moment(at)}, namespace)
        else:
            name, count = f"{meta['name']}.{time.time_ns():x}", 1
            await self._client.create(EVENTS, self._body(obj, namespace, name, reason, message, kind, field, at))
        self._seen = {k: v for k, v in self._seen.items() if at - v[2] < FORGET_AFTER_S}
        self._seen[key] = (name, count, at)

    def _body(
        self, obj: Object, namespace: str, name: str, reason: str, message: str, kind: str, field: str, at: float
    ) -> Object:
        meta = obj["metadata"]
        involved = {
            "apiVersion": obj.get("apiVersion", "v1"),
            "kind": obj.get("kind", "Pod"),
            "name": meta["name"],
            "namespace": meta.get("namespace"),
            "uid": meta.get("uid"),
            "resourceVersion": meta.get("resourceVersion"),
            "fieldPath": field or None,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": moment(at),
            "lastTimestamp": moment(at),
            "source": {"component": self._component, "host": self._node},
            "reportingComponent": self._component,
            "reportingInstance": self._node,
        }
