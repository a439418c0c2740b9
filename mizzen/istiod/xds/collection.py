"""The resources of one type as one group of equal proxies sees them, in serialised form, shared by all of the group.

A collection generates with the group's view of the mesh, keeps each resource's bytes, and numbers its changes:
`serial` grows with each refresh that changed something, and `changed_since` tells which names a client that has
seen some serial lacks. What is unchanged in content is no change, so nothing is sent for it. Not here: which
proxies are equal (views.py), what a configuration change may touch (affects.py), sending.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from mizzen.istiod.xds.encode import Entry, pack, resources, response
from mizzen.istiod.xds.types import EDS, NAMED, host_of, short_name

log = logging.getLogger(__name__)

# names → (name, message or its serialised bytes); None asks for everything of a wildcard type.
Generate = Callable[[Collection[str] | None], Iterable[tuple[str, Any]]]


class Interner:
    """Equal resources of one name are serialised and kept once, whatever collections they are in.

    Translation hands the same message object to all views that see a resource alike, and never writes to it again.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], tuple[Any, Entry]] = {}

    def entry(self, type_url: str, name: str, message: Any) -> Entry:
        known = self._last.get((type_url, name))
        if known is not None and known[0] is message:
            return known[1]
        packed = pack(type_url, message)
        entry = known[1] if known is not None and known[1].any == packed else Entry(name, packed)
        self._last[type_url, name] = (message, entry)
        return entry

    def forget(self, type_url: str, name: str) -> None:
        """The resource is gone; entries in use stay."""
        self._last.pop((type_url, name), None)


class ResourceCollection:
    """One type, one view. `generate` is replaced whenever the snapshot is. users: how many watches hold it."""

    def __init__(self, type_url: str, generate: Generate, interner: Interner) -> None:
        self.type_url, self.generate, self.users = type_url, generate, 0
        self.entries: dict[str, Entry] = {}
        self.serial = 0
        self.errors = 0
        self._interner = interner
        self._asked: set[str] = set()  # names that were generated once, whether there was something or not
        self._by_host: dict[str, list[str]] = {}  # EDS: the names asked, by host
        self._changed: dict[str, int] = {}  # name → serial of its last change, oldest first
        self._stale: set[str] = set()
        self._all_stale = type_url not in NAMED
        self._responses: dict[tuple[str, bool, frozenset[str] | None, tuple[str, ...]], tuple[str, bytes]] = {}

    def mark(self, names: Iterable[str] | None) -> None:
        """These names (None: all) may differ in the current snapshot; they are generated when next looked at.

        names: of resources; for EDS of hosts, whose clusters are meant.
        """
        if names is None:
            self._all_stale = True
        elif self.type_url == EDS:
            for host in names:
                self._stale.update(self._by_host.get(host, ()))
        else:
            self._stale.update(self._asked.intersection(names) if self.type_url in NAMED else names)

    @property
    def stale(self) -> bool:
        return self._all_stale or bool(self._stale)

    def refresh(self) -> None:
        """Generate what is stale. A failure leaves what was there, is logged and counted."""
        if not self.stale:
            return
        if self.type_url in NAMED or not self._all_stale:
            wanted: Collection[str] | None = set(self._asked) if self._all_stale else set(self._stale)
        else:
            wanted = None
        self._all_stale, self._stale = False, set()
        self._generate(wanted)

    def ensure(self, names: Collection[str]) -> None:
        """Generate the names of a NAMED type that were never asked for."""
        missing = set(names) - self._asked
        if missing:
            self._asked |= missing
            if self.type_url == EDS:
                for name in missing:
                    self._by_host.setdefault(host_of(name), []).append(name)
            self._generate(missing)

    def changed_since(self, seen: int) -> list[str]:
        """The names that changed, appeared or vanished after serial `seen`."""
        names = []
        for name in reversed(self._changed):
            if self._changed[name] <= seen:
                break
            names.append(name)
        return names

    def response(
        self, version: str, names: Collection[str] | None, removed: Collection[str], delta: bool
    ) -> tuple[str, bytes] | None:
        """Nonce and bytes of a response with these names (None: all there are); names without a resource are left out.

        Proxies that need the same get the same bytes, nonce included: nonces are told apart within a stream
        only. None when it would say nothing: neither protocol has a "none of them" for a named type that Envoy
        takes (it refuses an empty SDS response).
        """
        key = (version, delta, None if names is None else frozenset(names), tuple(removed))
        made = self._responses.get(key)
        if made is not None:
            return made
        body = resources(self.entries.values() if names is None else self._ordered(names), delta)
        if not body and not removed and self.type_url in NAMED:
            return None
        nonce = f"{version}{uuid.uuid4()}"
        made = nonce, response(self.type_url, version, nonce, body, delta=delta, removed=removed)
        self._responses[key] = made
        return made

    def prune(self, wanted: Collection[str]) -> None:
        """Forget named resources that no watch asks for any more; they are generated again when one does."""
        for name in self._asked.difference(wanted):
            self._asked.discard(name)
            self._stale.discard(name)
            self._changed.pop(name, None)
            if self.entries.pop(name, None) is not None:
                self._interner.forget(self.type_url, name)
            if self.type_url == EDS:
                left = [other for other in self._by_host.pop(host_of(name), ()) if other != name]
                if left:
                    self._by_host[host_of(name)] = left

    def forget_responses(self) -> None:
        """Free the joined forms; they are made again when needed."""
        self._responses.clear()

    def _ordered(self, names: Collection[str]) -> Sequence[Entry]:
        found = (self.entries.get(name) for name in sorted(names))
        return [entry for entry in found if entry is not None]

    def _generate(self, names: Collection[str] | None) -> None:
        try:
            entry = self._interner.entry
            made = {name: entry(self.type_url, name, message) for name, message in self.generate(names)}
        except Exception:  # one resource type of one view: the others go on, this one keeps its last good state
            self.errors += 1
            log.exception(
                "generating %s for %s", short_name(self.type_url), "all" if names is None else sorted(names)[:5]
            )
            return
        gone = [
            name for name in (self.entries if names is None else names) if name not in made and name in self.entries
        ]
        changed = []
        for name, entry_made in made.items():
            old = self.entries.get(name)
            if old is not entry_made and (old is None or old.any != entry_made.any):
                self.entries[name] = entry_made
                changed.append(name)
        for name in gone:
            del self.entries[name]
            self._interner.forget(self.type_url, name)
        self._record([*changed, *gone])

    def _record(self, names: list[str]) -> None:
        if not names:
            return
        self.serial += 1
        self._responses.clear()
        for name in names:
            self._changed.pop(name, None)
            self._changed[name] = self.serial
