"""The one interface of the revisioned key-value store that holds the API's objects.

A key is a path (`/configmaps/default/a`), a value the object's bytes without its revision. Every change gets the next
revision of the whole store. Not here: what the bytes mean, watches of clients, caches (runtime/apiserver/cache.py).
Source of the semantics: etcd v3's MVCC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Conflict(Exception):
    """A write whose expectation did not hold: `actual` is the key's revision (0: not there)."""

    def __init__(self, key: str, expected: int, actual: int) -> None:
        super().__init__(f"{key}: expected revision {expected}, is {actual}")
        self.key, self.expected, self.actual = key, expected, actual


class Compacted(Exception):
    """The revision asked for is not kept any more; `oldest` is the first that is."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is compacted; the oldest kept is {oldest}")
        self.revision, self.oldest = revision, oldest


class Record(NamedTuple):
    """A key's present value; `created` and `revision` are the revisions of its creation and last change."""

    key: str
    value: bytes
    created: int
    revision: int


class Change(NamedTuple):
    """One change: `value` None is a deletion; `previous` is the revision it replaced (0: the key was not there)."""

    revision: int
    key: str
    value: bytes | None
    previous: int


Listener = Callable[[Sequence[Change]], None]


class Store(Protocol):
    """What the API server asks of a store. Listeners get every change once, in order, after it is durable."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def load(self) -> tuple[int, list[Record]]:
        """The present revision, and every record at it. Called once, before the first write."""

    async def write(self, key: str, value: bytes | None, expected: int) -> int:
        """Put (value None: delete) if the key's revision is `expected` (0: not there); the new revision, once durable.

        Raises Conflict. When it returns, listeners have had the change.
        """

    async def history(self, since: int) -> list[Change]:
        """Changes with a revision above `since`. Raises Compacted."""

    async def compact(self, revision: int) -> None:
        """Forget values that were replaced at or before `revision`."""

    def listen(self, listener: Listener) -> None: ...
