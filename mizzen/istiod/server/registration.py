"""Machines outside the cluster that register themselves: a WorkloadEntry for each while it is connected, and its health.

A proxy that says which WorkloadGroup it belongs to gets an entry made from the group's template; one that says which entry
it is has only its health kept. The entry goes some time after the connection did, unless the machine is back by then.
Not here: what an entry means to others (registry/), streams.
Source: istiod's auto-registration: node metadata AUTO_REGISTER_GROUP, WORKLOAD_ENTRY; annotations istio.io/…; condition
Healthy.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.api.errors import PeerError
from mizzen.istiod.config.store import ConfigStore, Live
from mizzen.istiod.node import Node
from mizzen.istiod.objects import Key
from mizzen.istiod.registry.registry import HEALTH_CHECKS
from mizzen.istiod.status.conditions import merged
from mizzen.istiod.status.writer import StatusWriter, now
from mizzen.istiod.xds.connection import Connection
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client, Object, Resource

log = logging.getLogger(__name__)

ENTRIES = Resource("networking.istio.io", "v1", "workloadentries", True, "WorkloadEntry")
GROUP, CONTROLLER = "istio.io/autoRegistrationGroup", "istio.io/workloadController"
CONNECTED, DISCONNECTED = "istio.io/connectedAt", "istio.io/disconnectedAt"
KIND, HEALTHY = "WorkloadEntry", "Healthy"
GRACE_S, HEALTH_TRIES, HEALTH_AGAIN_S = 10.0, 10, 0.5
MAX_NAME = 253


def entry_name(node: Node, group: str) -> str:
    """The name of a machine's entry: its group's, its address and network."""
    network = node.text("NETWORK")
    name = f"{group}-{node.ips[0].replace(':', '-')}" + (f"-{network}" if network else "")
    return name if len(name) <= MAX_NAME else hashlib.sha256(name.encode()).hexdigest()


def entry_of(group: Any, node: Node, name: str) -> Object:
    """A machine's entry from its group's template. Labels: the machine's own beat the group's, which beat the template's."""
    template: dict[str, Any] = msgspec.to_builtins(kinds.encode(group)["spec"].get("template") or {})
    meta = group.spec.metadata
    own = {key: str(value) for key, value in (node.metadata.get("LABELS") or {}).items()}
    labels = {**template.get("labels", {}), **(meta.labels if meta is not None else {}), **own}
    annotations = {GROUP: group.metadata.name, **(meta.annotations if meta is not None else {})}
    config = node.metadata.get("PROXY_CONFIG")
    if group.spec.probe is not None or (isinstance(config, Mapping) and config.get("readinessProbe")):
        annotations[HEALTH_CHECKS] = "true"
    spec: dict[str, Any] = {**template, "address": node.ips[0]}
    if labels:
        spec["labels"] = labels
    if node.text("NETWORK"):
        spec["network"] = node.text("NETWORK")
    if node.locality.label:
        spec["locality"] = node.locality.label
    owner = {
        "apiVersion": group.api_version,
        "kind": "WorkloadGroup",
        "name": group.metadata.name,
        "uid": group.metadata.uid or "",
        "controller": True,
    }
    metadata: Object = {"name": name, "namespace": node.namespace, "labels": labels, "annotations": annotations}
    if group.metadata.uid:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": ENTRIES.api_version, "kind": KIND, "metadata": metadata, "spec": spec}


class Registration:
    """`connected`, `disconnected` and `health` are the streams'; `stop` when istiod ends in order."""

    def __init__(
        self, client: Client, store: ConfigStore, writer: StatusWriter, identity: str, grace_s: float = GRACE_S
    ) -> None:
        self._client, self._store, self._writer = client, store, writer
        self._identity, self._grace_s = identity, grace_s
        self._machines: dict[Key, Connection] = {}
        self._entries: dict[str, Key] = {}  # by connection
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, connection: Connection) -> None:
        """Register a machine before it is served. Raises PeerError when it may not be."""
        node = connection.raw
        group, entry = node.text("AUTO_REGISTER_GROUP"), node.text("WORKLOAD_ENTRY")
        if group:
            key = (node.namespace, entry_name(node, group))
            await self._register(connection, key, group)
        elif entry:
            key = (node.namespace, entry)
            found = self._store.objects.get((KIND, key))
            if found is None:
                raise PeerError(f"WorkloadEntry {'/'.join(key)} not found")
            self._may_control(connection, found.spec.service_account)
        else:
            return
        self._entries[connection.id] = key
        if group:
            self._machines[key] = connection

    def disconnected(self, connection: Connection) -> None:
        key = self._entries.pop(connection.id, None)
        if key is not None and self._machines.get(key) is connection:
            del self._machines[key]
            self._spawn(self._leave(key), f"leaving {'/'.join(key)}")

    def health(self, connection: Connection, error: str | None) -> None:
        """What a machine's agent says of its application. error: None = healthy."""
        key = self._entries.get(connection.id)
        if key is not None:
            self._spawn(self._report(key, error), f"health of {'/'.join(key)}")

    async def stop(self) -> None:
        """Say of every machine that it left, for another istiod to find it or remove it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        machines, self._machines = self._machines, {}
        await asyncio.gather(*(self._annotate(key, {DISCONNECTED: _stamp()}) for key in machines))

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=f"istiod {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _register(self, connection: Connection, key: Key, name: str) -> None:
        group = self._store.objects.get(("WorkloadGroup", (key[0], name)))
        if group is None:
            raise PeerError(f"auto-registration of {'/'.join(key)} failed: cannot find WorkloadGroup {key[0]}/{name}")
        self._may_control(connection, group.spec.template.service_account)
        made = entry_of(group, connection.raw, key[1])
        made["metadata"]["annotations"] |= {CONTROLLER: self._identity, CONNECTED: _stamp()}
        try:
            await self._create(key, made)
        except (ApiError, *CONNECTION_ERRORS) as error:
            raise PeerError(f"auto-registration of {'/'.join(key)} failed: {error or type(error).__name__}") from error
        log.info("registered %s in group %s", "/".join(key), name)

    async def _create(self, key: Key, made: Object) -> None:
        existing = await self._client.find(ENTRIES, key[1], key[0])
        if existing is None:
            await self._client.create(ENTRIES, made)
            return
        if GROUP not in (existing["metadata"].get("annotations") or {}):
            raise PeerError(f"WorkloadEntry {'/'.join(key)} is there and was not registered by a machine")
        annotations = {**made["metadata"]["annotations"], DISCONNECTED: None}
        await self._client.patch(ENTRIES, key[1], {"metadata": {"annotations": annotations}}, key[0])

    def _may_control(self, connection: Connection, account: str) -> None:
        """A machine that has proven who it is must be of the entry's service account."""
        proven = (connection.identity or "").rpartition("/sa/")[2]
        if connection.identity is not None and account and proven != account:
            raise PeerError(f"service account {proven} may not stand for an entry of {account}")

    async def _leave(self, key: Key) -> None:
        """Say that a machine left, and remove its entry when it does not come back."""
        if not await self._annotate(key, {DISCONNECTED: _stamp()}):
            return
        await asyncio.sleep(self._grace_s)
        if key in self._machines:
            return
        try:
            found = await self._client.find(ENTRIES, key[1], key[0])
            annotations = (found["metadata"].get("annotations") or {}) if found is not None else {}
            if found is None or annotations.get(CONTROLLER) != self._identity or DISCONNECTED not in annotations:
                return  # another istiod has it now
            await self._client.delete(ENTRIES, key[1], key[0], uid=found["metadata"]["uid"])
            log.info("unregistered %s", "/".join(key))
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("unregistering %s: %s", "/".join(key), error or type(error).__name__)

    async def _annotate(self, key: Key, annotations: Mapping[str, str | None]) -> bool:
        """Whether the entry is there and ours, and now says so."""
        try:
            found = await self._client.find(ENTRIES, key[1], key[0])
            held = (found["metadata"].get("annotations") or {}) if found is not None else {}
            if found is None or held.get(CONTROLLER) != self._identity:
                return False
            await self._client.patch(ENTRIES, key[1], {"metadata": {"annotations": dict(annotations)}}, key[0])
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("WorkloadEntry %s: %s", "/".join(key), error or type(error).__name__)
            return False
        return True

    async def _report(self, key: Key, error: str | None) -> None:
        """Write the condition; the entry may be so new that it is not here yet."""
        condition: dict[str, Any] = {"type": HEALTHY, "status": "True" if error is None else "False"}
        if error:
            condition["message"] = error

        def make(live: Live) -> Mapping[str, Any]:
            conditions = merged(live.status.get("conditions") or (), [condition], frozenset(), now())
            return {**live.status, "conditions": conditions}

        for _ in range(HEALTH_TRIES):
            if (KIND, key) in self._store.live and await self._writer.write((KIND, key), make):
                return
            await asyncio.sleep(HEALTH_AGAIN_S)
        log.warning("the health of %s could not be written", "/".join(key))


def _stamp() -> str:
    """This moment; finer than conditions have it, for a machine may come back within the second."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Sweeper:
    """Removes entries whose machine left while no istiod was there to see to it. `run` under an election."""

    def __init__(self, client: Client, store: ConfigStore, grace_s: float = GRACE_S) -> None:
        self._client, self._store, self._grace_s = client, store, grace_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.sweep(datetime.now(UTC))
            await asyncio.sleep(6 * self._grace_s)

    async def sweep(self, at: datetime) -> None:
        """Look at all entries once."""
        for (kind, key), entry in list(self._store.objects.items()):
            annotations = entry.metadata.annotations or {} if kind == KIND else {}
            if GROUP not in annotations or not _gone(annotations.get(DISCONNECTED, ""), at, 3 * self._grace_s):
                continue
            try:
                await self._client.delete(ENTRIES, key[1], key[0], uid=entry.metadata.uid or "")
                log.info("unregistered %s, whose machine left unseen", "/".join(key))
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("unregistering %s: %s", "/".join(key), error or type(error).__name__)


def _gone(stamp: str, at: datetime, seconds: float) -> bool:
    try:
        left = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return False
    return (at - left).total_seconds() > seconds
