"""From changed objects to pushed resources: the loop that debounces, builds the next snapshot and hands it to the hub.

Takes a store that sources fill; drives a hub. One snapshot is built at a time, and what changes meanwhile goes
into the next. Not here: sources, what a snapshot is, sending.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from mizzen.api.errors import Invalid, UsageError
from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.config.store import ConfigStore
from mizzen.istiod.mesh_config import load_mesh_config, parse_mesh_config
from mizzen.istiod.objects import Change
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.xds.debounce import Debounce
from mizzen.istiod.xds.hub import Hub
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client
from mizzen.kube.resource import CONFIG_MAPS

log = logging.getLogger(__name__)

TIDY_EVERY_S, PRUNE_EVERY_S = 1.0, 300.0
LARGE_BYTES = 10_000_000  # after this much in a period, joined responses are dropped when it has been quiet for one
MESH_CONFIG_MAP = "istio"
TRIGGERS = {
    "EndpointSlice": "endpoint",
    "Pod": "endpoint",
    "WorkloadEntry": "endpoint",
    "Service": "service",
    "ServiceEntry": "service",
    "Secret": "secret",
    "Namespace": "namespace",
    "Mesh": "global",
}
ASK_AGAIN_S = 1.0


class MeshSource:
    """The effective MeshConfig: a file when one is given, else ConfigMap `istio` of the system namespace, else
    defaults.

    A broken one is logged and the last good one stays. changed: called with the next one.
    """

    def __init__(self, store: ConfigStore, file: Path | None, namespace: str) -> None:
        self._store, self._file = store, file
        self._key = ("ConfigMap", (namespace, MESH_CONFIG_MAP))
        self.mesh: MeshConfig = load_mesh_config(file)
        self.changed: list[Callable[[MeshConfig], None]] = []

    async def at_start(self, client: Client | None) -> MeshConfig:
        """The mesh before anything else is read; waits for an API server that cannot be asked yet."""
        if self._file is not None or client is None:
            return self.mesh
        namespace, name = self._key[1]
        while True:
            try:
                found = await client.find(CONFIG_MAPS, name, namespace)
                break
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("ConfigMap %s/%s cannot be read: %s; asking again", namespace, name, error)
                await asyncio.sleep(ASK_AGAIN_S)
        if found is not None:
            self._take((found.get("data") or {}).get("mesh", ""))
        return self.mesh

    def reload(self, changes: list[Change]) -> bool:
        """Whether the changes made it another one."""
        if self._file is not None or not any((change.kind, change.key) == self._key for change in changes):
            return False
        found = self._store.objects.get(self._key)
        return self._take((found.data or {}).get("mesh", "") if found is not None else "")

    def _take(self, text: str) -> bool:
        try:
            mesh = parse_mesh_config(text, f"ConfigMap {'/'.join(self._key[1])}")
        except UsageError as error:
            log.error("%s; the last good mesh configuration stays in force", error)
            return False
        changed, self.mesh = mesh != self.mesh, mesh
        for told in self.changed if changed else ():
            told(mesh)
        return changed


class PushLoop:
    """`run` after the sources have synced."""

    def __init__(
        self, store: ConfigStore, hub: Hub, mesh: MeshSource, options: Options, debounce: Debounce, metrics: Metrics
    ) -> None:
        self._store, self._hub, self._mesh, self._options = store, hub, mesh, options
        self._debounce, self._metrics = debounce, metrics
        self._wake = asyncio.Event()
        self._sent_large = False
        store.changed = self._changed

    def _changed(self, now: float, kind: str) -> None:
        self._debounce.changed(now, TRIGGERS.get(kind) == "endpoint")
        self._wake.set()

    def first(self) -> None:
        """The first snapshot, of all that the sources have brought."""
        changes, started = self._store.take()
        self._debounce.acted(time.monotonic())
        self._mesh.reload(changes)
        self._publish(self._build(), changes, started)

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._pause()
            changes, started = self._store.take()
            self._debounce.acted(time.monotonic())
            if changes:
                self._push(changes, started)

    async def tidy(self) -> None:
        """Free what is not needed between storms, until cancelled."""
        seen, prune_at = 0, time.monotonic() + PRUNE_EVERY_S
        while True:
            await asyncio.sleep(TIDY_EVERY_S)
            if time.monotonic() > prune_at:
                prune_at = time.monotonic() + PRUNE_EVERY_S
                self._hub.prune()
            sent, grown = self._hub.bytes_sent, self._hub.bytes_sent - seen
            seen = sent
            if grown == 0 and self._sent_large:
                self._sent_large = False
                self._hub.trim()
            elif grown > LARGE_BYTES:
                self._sent_large = True

    async def _pause(self) -> None:
        """Until the debounce says that it is time."""
        while (due := self._debounce.due()) is not None and (wait_s := due - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    def _push(self, changes: list[Change], started: float) -> None:
        before = time.perf_counter()
        current = self._hub.snapshot
        assert current is not None
        if self._mesh.reload(changes):
            changes = [*changes, Change("Mesh", ("", ""), self._mesh.mesh)]
            snapshot = self._build()
        else:
            snapshot = self._after(current, changes)
        self._metrics.observe("pilot_pushcontext_init_seconds", time.perf_counter() - before)
        self._publish(snapshot, changes, started)

    def _after(self, current: Snapshot, changes: list[Change]) -> Snapshot:
        """The snapshot after the changes; an object that breaks it is left out and rejected, the others count."""
        try:
            return current.updated(changes)
        except Exception:  # our bug, met by one object: find it, and let the rest of the mesh go on
            log.exception("building the snapshot after %d changes; trying them one by one", len(changes))
            self._metrics.add("pilot_total_xds_internal_errors")
        for change in changes:
            try:
                current = current.updated([change])
            except Exception as error:  # as above
                key = (change.kind, change.key)
                self._store.reject(key, "config", (Invalid("", f"breaks the mesh: {error!r}"),))
                self._store.restore(key, change.old)
        return current

    def _build(self) -> Snapshot:
        return Snapshot.build(self._store.objects.values(), self._mesh.mesh, self._options)

    def _publish(self, snapshot: Snapshot, changes: list[Change], started: float) -> None:
        self._metrics.observe("pilot_debounce_time", time.monotonic() - started)
        for reason in {TRIGGERS.get(change.kind, "config") for change in changes}:
            self._metrics.add("pilot_push_triggers", type=reason)
        self._hub.publish(snapshot, changes, started)
