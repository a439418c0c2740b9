"""Results of pure functions kept from one snapshot to the next, by the identity of what they were made from.

A key is a tuple of plain values and `id()`s; the objects behind the ids are kept with the result, so that an id cannot be
given to another object while the entry lives. There are two generations: what is not asked for while the younger one fills is
dropped. How long that is depends on how much is new, never on how many snapshots there are: under churn of a few objects
neither size nor cost grows with the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
ROOM = 4096
"""Results that a generation may have whatever the size of the one before."""


class Memo:
    """Two generations of results."""

    __slots__ = ("_current", "_previous")

    def __init__(self, previous: dict[Hashable, tuple[Any, Any]] | None = None) -> None:
        self._current: dict[Hashable, tuple[Any, Any]] = {}
        self._previous = previous or {}

    def next(self) -> Memo:
        """The memo of the next snapshot: this one, until a good part of its results is new."""
        if len(self._current) * 4 < len(self._previous) + ROOM:
            return self
        return Memo(self._current)

    def get(self, key: Hashable, alive: Any, make: Callable[[], T]) -> T:
        """The result for a key, made when it is not known. alive: the objects whose ids are in the key."""
        found = self._current.get(key)
        if found is None:
            found = self._previous.get(key)
            if found is None:
                found = (alive, make())
            self._current[key] = found
        result: T = found[1]
        return result
