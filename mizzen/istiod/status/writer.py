"""Writes statuses through the status subresource: only what differs, and no more than so many a second.

Takes objects' keys and functions from the status that is there to the one that should be; keeps what was written in the
store's `live`. Status is never read as configuration, so a write changes nothing that is served. Not here: what a status
says.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mizzen.api import kinds
from mizzen.istiod.config.store import ConfigStore, Live, ObjectKey
from mizzen.istiod.status.conditions import same
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client, Resource

log = logging.getLogger(__name__)

WRITES_PER_S = 50.0
Make = Callable[[Live], Mapping[str, Any]]
"""From what the API server holds to the status that it should hold."""

RESOURCES = {
    kind.kind if kind not in kinds.GATEWAY_API_KINDS or kind.kind != "Gateway" else "K8sGateway": Resource(
        kind.group, kind.storage_version, kind.plural, kind.namespaced, kind.kind
    )
    for kind in (*kinds.ISTIO_KINDS, *kinds.GATEWAY_API_KINDS)
}
RESOURCES["Ingress"] = Resource("networking.k8s.io", "v1", "ingresses", True, "Ingress")
"""By the kind as the store names it."""


def now() -> str:
    """This moment as conditions have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def changes(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch from one status to another: only the fields that differ."""
    out: dict[str, Any] = {name: None for name in current if name not in wanted}
    return out | {name: value for name, value in wanted.items() if current.get(name) != value}


class StatusWriter:
    """One for all reporters, so that they share the rate. written: how many writes there were."""

    def __init__(self, client: Client, store: ConfigStore, writes_per_s: float = WRITES_PER_S) -> None:
        self._client, self._store = client, store
        self._interval_s, self._free_at = 1.0 / writes_per_s, 0.0
        self.written = 0

    async def write(self, key: ObjectKey, make: Make) -> bool:
        """Bring one object's status up to date; whether it is so now. An object that is not there needs none."""
        live, resource = self._store.live.get(key), RESOURCES.get(key[0])
        if live is None or resource is None:
            return True
        wanted = make(live)
        if same(wanted, live.status):
            return True
        await self._turn()
        namespace, name = key[1]
        patch: dict[str, Any] = {"status": changes(live.status, wanted)}
        if live.version:  # others write into the same lists: not over what has not been seen
            patch["metadata"] = {"resourceVersion": live.version}
        try:
            got = await self._client.patch(resource, name, patch, namespace, subresource="status")
        except (ApiError, *CONNECTION_ERRORS) as error:
            if isinstance(error, ApiError) and error.not_found:
                return True
            if isinstance(error, ApiError) and error.conflict:
                return False
            log.warning("status of %s %s/%s: %s", key[0], namespace, name, error or type(error).__name__)
            return False
        self.written += 1
        if key in self._store.live:
            meta = got["metadata"]
            generation, version = int(meta.get("generation") or 0), str(meta.get("resourceVersion") or "")
            self._store.live[key] = Live(generation, got.get("status") or {}, version)
        return True

    async def _turn(self) -> None:
        at = time.monotonic()
        self._free_at = max(self._free_at, at) + self._interval_s
        if self._free_at - self._interval_s > at:
            await asyncio.sleep(self._free_at - self._interval_s - at)
