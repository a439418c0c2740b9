"""Analysis inside istiod: what `mizzen analyze` would say of the mesh that is served, for the objects' status.

Takes the store's objects after a change, gives the kinds of message by object; not more often than every EVERY_S, and in
a thread, for a large mesh takes seconds. Pods and Secrets count as far as the store keeps them. Not here: the analyzers
(istiod/analysis), writing statuses (reporter.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from mizzen.api import kinds
from mizzen.api.manifest import Document
from mizzen.istiod.analysis.analyzers import ANALYZERS
from mizzen.istiod.analysis.messages import MessageType
from mizzen.istiod.analysis.model import Mesh
from mizzen.istiod.config.store import ISTIO_GROUPS, ConfigStore, Live, ObjectKey
from mizzen.istiod.objects import Change

log = logging.getLogger(__name__)

EVERY_S = 10.0
UNUSED = frozenset({"EndpointSlice", "Jwks", "Node", "Mesh"})
Findings = Mapping[ObjectKey, tuple[MessageType, ...]]


class Analysis:
    """`run` under an election; `published` at each publication. needed: whether anybody would write the findings."""

    def __init__(
        self,
        store: ConfigStore,
        found: Callable[[Findings], None],
        needed: Callable[[], bool] = lambda: True,
        every_s: float = EVERY_S,
    ) -> None:
        self._store, self._found, self._needed, self._every_s = store, found, needed, every_s
        self._wake = asyncio.Event()

    def published(self, changes: Collection[Change]) -> None:
        if any(change.kind not in UNUSED for change in changes):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._needed():
                continue
            objects, live = dict(self._store.objects), dict(self._store.live)
            self._found(await asyncio.to_thread(analyse, objects, live))
            await asyncio.sleep(self._every_s)


def analyse(objects: Mapping[ObjectKey, Any], live: Mapping[ObjectKey, Live]) -> Findings:
    """The messages of Istio's objects, worst first. An analyzer that fails is left out, and logged."""
    mesh = Mesh(_documents(objects, live))
    for entry in ANALYZERS:
        try:
            entry.analyze(mesh)
        except Exception:  # our bug, met by one object: the other analyzers go on
            log.exception("analyzer %s", entry.name)
    found: dict[ObjectKey, dict[MessageType, None]] = {}
    for message in mesh.results():
        resource = message.resource
        if resource.group in ISTIO_GROUPS:
            key = (resource.kind, (resource.namespace, resource.name))
            found.setdefault(key, {})[message.type] = None
    return {key: tuple(types) for key, types in found.items()}


def _documents(objects: Mapping[ObjectKey, Any], live: Mapping[ObjectKey, Live]) -> Iterator[Document]:
    for key, obj in objects.items():
        if key[0] in UNUSED:
            continue
        made = kinds.encode(obj)
        if key in live:
            made["status"] = live[key].status
        yield Document(made, "", 0)
