"""Keeps the status of the Gateway API's objects.

Runs while its istiod leads; looks again after a change of anything that these statuses speak of, at most once a second,
and writes what differs. What other controllers wrote into the same status stays. Not here: what the statuses say
(gateway_api/statuses).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mizzen.istiod import gateway_api
from mizzen.istiod.config.store import ConfigStore, Live, ObjectKey
from mizzen.istiod.gateway_api.gateways import CONTROLLER
from mizzen.istiod.gateway_api.statuses import statuses
from mizzen.istiod.objects import Change
from mizzen.istiod.status.conditions import merged
from mizzen.istiod.status.writer import StatusWriter, now
from mizzen.istiod.xds.hub import Hub

EVERY_S, RETRY_S = 1.0, 5.0
RELEVANT = gateway_api.KINDS | {"Namespace", "Secret", "ConfigMap", "Service", "ServiceEntry", "EndpointSlice"}
# Lists of entries, each of one controller: what tells one entry from another.
ENTRIES = {"parents": "parentRef", "ancestors": "ancestorRef"}


class GatewayReporter:
    """`run` under an election; `published` at each publication. mine: which objects it is for."""

    def __init__(
        self,
        hub: Hub,
        store: ConfigStore,
        writer: StatusWriter,
        domain: str,
        mine: Callable[[ObjectKey], bool] = lambda key: True,
    ) -> None:
        self._hub, self._store, self._writer, self._domain, self._mine = hub, store, writer, domain, mine
        self._wake = asyncio.Event()

    def published(self, changes: Collection[Change]) -> None:
        if any(change.kind in RELEVANT for change in changes):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._round():
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            await asyncio.sleep(EVERY_S)

    async def _round(self) -> bool:
        snapshot = self._hub.snapshot
        if snapshot is None or not any(snapshot.objects.table(kind) for kind in gateway_api.KINDS):
            return True
        done = True
        for key, wanted in statuses(snapshot.objects, self._domain).items():
            if self._mine(key):
                done = await self._write(key, wanted) and done
        return done

    async def _write(self, key: ObjectKey, wanted: Mapping[str, Any]) -> bool:
        def make(live: Live) -> Mapping[str, Any]:
            return following(live.status, wanted, now())

        return await self._writer.write(key, make)


def following(current: Mapping[str, Any], wanted: Mapping[str, Any], stamp: str) -> dict[str, Any]:
    """The wanted status with its times, and what others wrote."""
    out = dict(wanted)
    if "conditions" in wanted:
        ours = frozenset(one["type"] for one in wanted["conditions"])
        out["conditions"] = merged(current.get("conditions") or (), wanted["conditions"], ours, stamp)
    if "listeners" in wanted:
        before = {one.get("name"): one for one in current.get("listeners") or ()}
        out["listeners"] = [_timed(before.get(one["name"], {}), one, stamp) for one in wanted["listeners"]]
    for field, name in ENTRIES.items():
        if field in wanted:
            out[field] = _entries(current.get(field) or (), wanted[field], name, stamp)
    return out


def _entries(
    current: Collection[Mapping[str, Any]], wanted: Collection[Mapping[str, Any]], name: str, stamp: str
) -> list[Any]:
    """Other controllers' entries as they are, then ours."""
    others = [one for one in current if one.get("controllerName") != CONTROLLER]
    mine = [one for one in current if one.get("controllerName") == CONTROLLER]
    before = [next((old for old in mine if old.get(name) == one[name]), {}) for one in wanted]
    return [*others, *(_timed(old, one, stamp) for old, one in zip(before, wanted, strict=True))]


def _timed(old: Mapping[str, Any], wanted: Mapping[str, Any], stamp: str) -> dict[str, Any]:
    return {**wanted, "conditions": merged(old.get("conditions") or (), wanted["conditions"], None, stamp)}
