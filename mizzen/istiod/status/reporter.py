"""Keeps the status of Istio's objects: how many proxies have each, who refused it, what analysis says of it.

Runs while its istiod leads. Looks at most once a second, only at objects that have changed and are not yet everywhere, or
of which something new is known; when nothing is under way it looks every five
seconds. Not here: numbers (distribution.py), the JSON
(conditions.py), writing (writer.py), analysis (analysis.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from mizzen.api import kinds
from mizzen.istiod.analysis.messages import BY_CODE, MessageType
from mizzen.istiod.config.store import ConfigStore, Live, ObjectKey
from mizzen.istiod.objects import Change
from mizzen.istiod.status.conditions import RECONCILED, istio_status
from mizzen.istiod.status.distribution import Distribution, Progress
from mizzen.istiod.status.writer import StatusWriter, now
from mizzen.istiod.xds.hub import Hub

EVERY_S, IDLE_S = 1.0, 5.0
KINDS = frozenset(kind.kind for kind in kinds.ISTIO_KINDS)
Everywhere = Callable[[ObjectKey, int, Progress, float], Progress]
"""(object, resourceVersion of its change, how far it is with us, seconds since 1970) → how far it is with all istiods."""
INVALID = BY_CODE["IST0106"]


class IstioReporter:
    """`run` under an election. mine: which objects it is for; `findings`: analysis' messages by object, None = there is
    no analysis.
    """

    def __init__(
        self,
        hub: Hub,
        store: ConfigStore,
        writer: StatusWriter,
        mine: Callable[[ObjectKey], bool] = lambda key: True,
        everywhere: Everywhere = lambda key, version, own, at: own,
        every_s: float = EVERY_S,
    ) -> None:
        self._hub, self._store, self._writer, self._every_s = hub, store, writer, every_s
        self._is_mine, self._everywhere = mine, everywhere
        self._versions: dict[ObjectKey, int] = {}  # the resourceVersions of the changes that are under way
        self._distribution = Distribution(hub)
        self._wake = asyncio.Event()
        self._told: set[ObjectKey] = set()
        self._rejected: set[ObjectKey] = set()
        self._reported: dict[ObjectKey, tuple[int | None, Progress]] = {}  # what was last written, of what is under way
        self.findings: Mapping[ObjectKey, tuple[MessageType, ...]] | None = None

    def published(self, changes: Collection[Change]) -> None:
        """To be called at each publication, whether this istiod leads or not."""
        mine = [change for change in changes if self._mine((change.kind, change.key))]
        self._distribution.published(mine)
        for change in mine:
            self._follow((change.kind, change.key))
        self._wake.set()

    def heard(self, keys: Collection[ObjectKey]) -> None:
        """To be called when another istiod has said something new of these objects."""
        told = {key for key in keys if self._mine(key)}
        if told:
            self._told |= told
            self._wake.set()

    def refused(self) -> None:
        """To be called when a proxy has refused something."""
        self._wake.set()

    def analysed(self, findings: Mapping[ObjectKey, tuple[MessageType, ...]]) -> None:
        """New findings for all objects."""
        before, self.findings = self.findings or {}, findings
        changed = {key for key in before.keys() | findings.keys() if before.get(key) != findings.get(key)}
        self._told |= {key for key in changed if self._mine(key)}
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. Begins with every object whose status does not tell of its last state."""
        for key, live in self._store.live.items():
            if self._mine(key) and not _told(live):
                self._distribution.start(key)
                self._follow(key)
        while True:
            await self._wait()
            await self._round()
            await asyncio.sleep(self._every_s)

    def _follow(self, key: ObjectKey) -> None:
        live = self._store.live.get(key)
        self._versions[key] = int(live.version) if live is not None and live.version.isdigit() else 0

    def _mine(self, key: ObjectKey) -> bool:
        return key[0] in KINDS and self._is_mine(key)

    async def _wait(self) -> None:
        """Until there is something to look at."""
        if not self._distribution.in_progress and not self._told:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
        self._wake.clear()

    async def _round(self) -> None:
        distribution = self._distribution
        told, self._told = self._told, set()
        rejected = {key for key in self._store.rejected if self._mine(key)}
        news = {key for key in distribution.look() if self._mine(key)} | told | (rejected ^ self._rejected)
        self._rejected = rejected
        for key in news:
            self._reported.pop(key, None)
        for key in [*distribution.in_progress, *(key for key in news if key not in distribution.in_progress)]:
            if not await self._report(key):
                self._told.add(key)

    async def _report(self, key: ObjectKey) -> bool:
        number = self._distribution.in_progress.get(key)
        own = self._distribution.progress(key)
        progress = self._everywhere(key, self._versions.get(key, 0), own, time.time())
        rejected = self._store.rejected.get(key)
        errors = tuple(map(str, rejected.errors)) if rejected is not None else ()
        if rejected is not None:  # what the proxies have is an older state
            progress = Progress(0, progress.total, progress.refusals)
        if self._reported.get(key) == (number, progress):
            return True

        def make(live: Live) -> Mapping[str, Any]:
            return istio_status(live.status, live.generation, progress, self._messages(key, live), now(), errors)

        written = await self._writer.write(key, make)
        if written and progress.done and self._distribution.in_progress.get(key) == number:
            self._distribution.in_progress.pop(key, None)
            self._versions.pop(key, None)
            self._reported.pop(key, None)
        elif written:
            self._reported[key] = (number, progress)
        return written

    def _messages(self, key: ObjectKey, live: Live) -> list[MessageType] | None:
        """What is wrong with the object; None when nobody has looked."""
        found = list(dict.fromkeys((self.findings or {}).get(key, ())))
        if key in self._store.rejected:
            return [INVALID, *(one for one in found if one is not INVALID)]
        stale = any(
            one.get("type", {}).get("code") == INVALID.code for one in live.status.get("validationMessages") or ()
        )
        return found if self.findings is not None or stale else None


def _told(live: Live) -> bool:
    """Whether a status says that everyone has the object's last state."""
    if int(live.status.get("observedGeneration") or 0) != live.generation:
        return False
    conditions = live.status.get("conditions") or ()
    return any(one.get("type") == RECONCILED and one.get("status") == "True" for one in conditions)
