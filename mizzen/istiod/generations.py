"""A cache of bounded size that keeps what is in use: two generations, of which the older one is dropped when the younger fills.

For results that outlive snapshots and are keyed by identities. Not here: results of one snapshot (snapshot/memo.py).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Generations(Generic[V]):
    """At most twice `limit` entries; one that is asked for again survives."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[Hashable, V] = {}
        self._old: dict[Hashable, V] = {}

    def get(self, key: Hashable) -> V | None:
        """The value of a key, None when it is not (or no longer) known."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Hashable, value: V) -> V:
        """Keep a value, and give it back."""
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[key] = value
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = {}, {}
