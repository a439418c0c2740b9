"""Which objects of a cluster are this control plane's: by revision, and by the namespaces that it is told to look at.

Takes objects as a source brings them, gives the store those that count and holds the others back, so that a change of
labels, tags or selectors brings them in without asking the server again. Istio's and the Gateway API's objects that name
another revision (label istio.io/rev) are not ours; with MeshConfig's discoverySelectors, neither is anything in a
namespace that none of them selects, but for the control plane's own. Namespaces and other cluster-wide objects always
count. Not here: where objects come from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from mizzen.api import kinds
from mizzen.api.labels import Predicate
from mizzen.istiod.config.store import ConfigStore, Live, ObjectKey, rough_key
from mizzen.kube import Object

REVISION = "istio.io/rev"
OWN_GROUPS = frozenset(kind.group for kind in (*kinds.ISTIO_KINDS, *kinds.GATEWAY_API_KINDS))


class Held:
    """An object that is not ours now: as it came, or as the store had it."""

    __slots__ = ("live", "origin", "raw", "revision", "typed")

    def __init__(self, raw: Object | None, typed: Any, live: Live | None, origin: str, revision: str | None) -> None:
        self.raw, self.typed, self.live, self.origin, self.revision = raw, typed, live, origin, revision


class Membership:
    """`offer` and `withdraw` objects; `select` and `use_tags` when the rules change. changed: who wants to know."""

    def __init__(self, store: ConfigStore, revision: str, system_namespace: str) -> None:
        self.store, self._revision, self._system = store, revision, system_namespace
        self._tags: frozenset[str] = frozenset()
        self._selectors: tuple[Predicate, ...] = ()
        self._labels: dict[str, Mapping[str, str]] = {}  # of namespaces
        self._revisions: dict[ObjectKey, str] = {}  # of our kinds' objects in the store that name one
        self._held: dict[ObjectKey, Held] = {}
        self.changed: list[Callable[[], None]] = []

    @property
    def revisions(self) -> frozenset[str]:
        """The names by which this control plane goes: its revision and the tags that point at it."""
        return self._tags | {self._revision or "default"}

    def named(self, key: ObjectKey) -> bool:
        """Whether an object that is ours says so by its revision; what says nothing is every control plane's."""
        return key in self._revisions

    @property
    def any_named(self) -> bool:
        """Whether any object that is ours says so."""
        return bool(self._revisions)

    def selects(self, namespace: str) -> bool:
        """Whether a namespace is looked at."""
        if not self._selectors or namespace in ("", self._system):
            return True
        labels = self._labels.get(namespace, {})
        return any(selector(labels) for selector in self._selectors)

    def offer(self, obj: Object, origin: str, live: Live | None = None) -> None:
        """An object that came or changed."""
        key = rough_key(obj)
        labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
        if key[0] == "Namespace":
            self._namespace(key[1][1], labels)
        revision = labels.get(REVISION) if str(obj.get("apiVersion", "")).partition("/")[0] in OWN_GROUPS else None
        if not self._ours(key, revision):
            self.store.remove(key)
            self._revisions.pop(key, None)
            self._held[key] = Held(obj, None, live, origin, revision)
            return
        self._held.pop(key, None)
        if revision is not None:
            self._revisions[key] = revision
        else:
            self._revisions.pop(key, None)
        if live is not None:
            self.store.live[key] = live
        self.store.put(obj, origin)

    def withdraw(self, key: ObjectKey) -> None:
        """An object that went."""
        self._held.pop(key, None)
        self._revisions.pop(key, None)
        self.store.remove(key)
        if key[0] == "Namespace":
            self._labels.pop(key[1][1], None)
            self._decide()

    def select(self, selectors: Collection[Predicate]) -> None:
        """MeshConfig's discoverySelectors; none means every namespace."""
        self._selectors = tuple(selectors)
        self._decide()

    def use_tags(self, tags: Collection[str]) -> None:
        """The tags that point at our revision."""
        if frozenset(tags) != self._tags:
            self._tags = frozenset(tags)
            self._decide()

    def _ours(self, key: ObjectKey, revision: str | None) -> bool:
        if revision is not None and self._revision and revision not in self.revisions:
            return False
        return key[0] == "Namespace" or self.selects(key[1][0])

    def _namespace(self, name: str, labels: Mapping[str, str]) -> None:
        before = self.selects(name)
        self._labels[name] = dict(labels)
        if self.selects(name) != before:
            self._decide()

    def _decide(self) -> None:
        """Look at every object again."""
        for key, held in list(self._held.items()):
            if self._ours(key, held.revision):
                del self._held[key]
                self._restore(key, held)
        if self._selectors or self._revisions:
            for key in list(self.store.objects):
                revision = self._revisions.get(key)
                if key[0] not in ("Jwks", "Mesh") and not self._ours(key, revision):
                    self._hold(key, revision)
        for told in self.changed:
            told()

    def _restore(self, key: ObjectKey, held: Held) -> None:
        if held.revision is not None:
            self._revisions[key] = held.revision
        if held.live is not None:
            self.store.live[key] = held.live
        if held.raw is not None:
            self.store.put(held.raw, held.origin)
        else:
            self.store.put_typed(key, held.typed)

    def _hold(self, key: ObjectKey, revision: str | None) -> None:
        self._held[key] = Held(None, self.store.objects[key], self.store.live.get(key), "", revision)
        self._revisions.pop(key, None)
        self.store.remove(key)
