"""Results of pure functions kept from one snapshot to the next, by the identity of what they were made from.

A key is a tuple of plain values and `id()`s; the objects behind the ids are kept with the result, so that an id cannot be
given to another object while the entry lives. What a generation of snapshots does not ask for is dropped with the next but one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Two generations of results."""

    __slots__ = ("_current", "_previous")

    def __init__(self, previous: dict[Hashable, tuple[Any, Any]] | None = None) -> None:
        self._current: dict[Hashable, tuple[Any, Any]] = {}
        self._previous = previous or {}

    def next(self) -> Memo:
        """The memo of the next snapshot."""
        if len(self._current) * 4 < len(self._previous):  # hardly used: the next one still needs the older results
            return Memo({**self._previous, **self._current})
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
