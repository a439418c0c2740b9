"""Events: what controllers tell people about an object. Equal ones are counted, not repeated.

Source: core/v1 Event. Not here: events.k8s.io's series (the scheduler writes those).
"""

from __future__ import annotations

import hashlib
import logging
import time
from datetime import UTC, datetime
from typing import Any

from mizzen.kube.client import Client
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.resource import EVENTS

log = logging.getLogger(__name__)
Object = dict[str, Any]
REMEMBERED = 4096


def timestamp(now: float) -> str:
    """An RFC 3339 time in whole seconds, UTC."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reference(obj: Object) -> Object:
    """The ObjectReference of an object."""
    metadata = obj["metadata"]
    return {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": obj.get("kind", ""),
        "name": metadata["name"],
        "namespace": metadata.get("namespace", ""),
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }


class Recorder:
    """Writes the events of one component; failures to write are logged and forgotten."""

    def __init__(self, client: Client, component: str) -> None:
        self._client, self._component = client, component
        self._seen: dict[str, tuple[str, str, int, str]] = {}  # fingerprint → namespace, name, count, first time

    async def event(self, obj: Object, kind: str, reason: str, message: str) -> None:
        """kind: "Normal" or "Warning"."""
        namespace = obj["metadata"].get("namespace") or "default"
        involved = reference(obj)
        text = "\0".join([involved["kind"], namespace, involved["name"], involved["uid"], kind, reason, message])
        fingerprint = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        now = timestamp(time.time())
        try:
            if fingerprint in self._seen:
                await self._again(fingerprint, now)
                return
            name = f"{involved['name']}.{fingerprint}"
            await self._client.create(
                EVENTS, self._new(name, namespace, involved, kind, reason, message, now), namespace
            )
        except ApiError as error:
            if not error.already_exists:
                log.debug("event %s of %s: %s", reason, involved["name"], error)
                return
        except CONNECTION_ERRORS as error:
            log.debug("event %s of %s: %s", reason, involved["name"], error)
            return
        if len(self._seen) >= REMEMBERED:
            self._seen.clear()
        self._seen[fingerprint] = (namespace, f"{involved['name']}.{fingerprint}", 1, now)

    async def _again(self, fingerprint: str, now: str) -> None:
        namespace, name, count, first = self._seen[fingerprint]
        self._seen[fingerprint] = (namespace, name, count + 1, first)
        try:
            await self._client.patch(EVENTS, name, {"count": count + 1, "lastTimestamp": now}, namespace)
        except ApiError as error:
            if not error.not_found:
                raise
            del self._seen[fingerprint]

    def _new(
        self, name: str, namespace: str, involved: Object, kind: str, reason: str, message: str, now: str
    ) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message[:1024],
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
        }
