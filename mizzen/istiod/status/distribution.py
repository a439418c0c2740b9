"""How far each publication has come: which proxies have an object's last change in force.

Takes the hub's connections and what it published, gives numbers. A proxy has a publication in force when it has been
sent all that this one and those before it mean for it, and has answered; one that has refused a resource lacks the
objects that are to blame for it, and only those. Only proxies of this istiod count. Not here: writing it down.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

import msgspec

from mizzen.istiod.objects import Change
from mizzen.istiod.status.blame import blames
from mizzen.istiod.status.origins import ObjectKey
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.types import short_name


class Refusal(msgspec.Struct, frozen=True):
    """A proxy's words about what an object made."""

    proxy: str
    type: str
    error: str


class Progress(msgspec.Struct, frozen=True):
    """Of one object: how many of all proxies have its last change; who refused it."""

    acked: int
    total: int
    refusals: tuple[Refusal, ...] = ()

    @property
    def done(self) -> bool:
        return self.acked == self.total


class Distribution:
    """`published` is told of each publication; `look` before `progress`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.in_progress: dict[ObjectKey, int] = {}  # by object the publication that changed it last
        self._in_force: dict[str, int] = {}  # by connection
        self._refused: dict[ObjectKey, dict[str, Refusal]] = {}
        self._proxies: dict[str, int] = {}  # what is in force, of connections that are proxies
        self._sorted: list[int] = []

    @property
    def publication(self) -> int:
        """The number of the last publication."""
        return self._hub.history[-1][0] if self._hub.history else 0

    def published(self, changes: Collection[Change]) -> None:
        for change in changes:
            key = (change.kind, change.key)
            if change.obj is None:
                self.in_progress.pop(key, None)
            else:
                self.in_progress[key] = self.publication

    @property
    def total(self) -> int:
        """How many proxies there are."""
        return len(self._sorted)

    @property
    def refused(self) -> Collection[ObjectKey]:
        """Objects that a proxy refuses."""
        return self._refused.keys()

    def start(self, key: ObjectKey) -> None:
        """Follow an object that has not changed."""
        self.in_progress.setdefault(key, self.publication)

    def look(self) -> set[ObjectKey]:
        """Take the proxies' state in; the objects whose refusals have changed."""
        settled = {c.id: self.publication for c in self._hub.connections.values() if c.settled}
        self._in_force = {id_: settled.get(id_, self._in_force.get(id_, 0)) for id_ in self._hub.connections}
        self._proxies = {c.id: self._in_force[c.id] for c in self._hub.connections.values() if c.is_proxy}
        self._sorted = sorted(self._proxies.values())
        refused: dict[ObjectKey, dict[str, Refusal]] = {}
        for connection, found in blames(self._hub):
            refusal = Refusal(connection.raw.name, short_name(found.type_url), found.error)
            for key in found.objects:
                refused.setdefault(key, {})[connection.id] = refusal
        before, self._refused = self._refused, refused
        return {key for key in before.keys() | refused.keys() if before.get(key) != refused.get(key)}

    def progress(self, key: ObjectKey) -> Progress:
        """How far an object's last change has come."""
        number, refused = self.in_progress.get(key, 0), self._refused.get(key, {})
        acked = len(self._sorted) - bisect_left(self._sorted, number)
        acked -= sum(1 for id_ in refused if self._proxies.get(id_, -1) >= number)
        return Progress(acked, len(self._sorted), tuple(refused.values()))
