"""The watch cache: every object of every resource in memory, as bytes; lists, events and old revisions come from here.

Takes the store's changes in order, gives `Item`s, joined lists, and events to watchers. An item's `data` is what a GET
answers: JSON that begins with kind, apiVersion, metadata. Not here: selection and shape of answers (reading.py).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from ..store.base import Change, Record

HISTORY_EVENTS = 4096  # per resource; a watch from before them gets 410 and lists again
decode = msgspec.json.Decoder().decode


class _Meta(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Meta


_labels = msgspec.json.Decoder(_Labelled).decode


class Item:
    """One object at one revision. Never written to after it is cached."""

    __slots__ = ("_object", "created", "data", "fields", "key", "labels", "revision")

    def __init__(self, key: str, revision: int, created: int, data: bytes, fields: dict[str, str] | None) -> None:
        self.key, self.revision, self.created, self.data = key, revision, created, data
        self.labels = _labels(data).metadata.labels
        self.fields = fields
        self._object: Any = None

    def object(self) -> dict[str, Any]:
        """A fresh tree of the object, the caller's to change."""
        tree: dict[str, Any] = decode(self.data)
        return tree

    @property
    def shared(self) -> dict[str, Any]:
        """The object's tree, kept for further readers, who must not write to it."""
        if self._object is None:
            self._object = decode(self.data)
        tree: dict[str, Any] = self._object
        return tree


class Event(NamedTuple):
    """`before` None: created; `after` None: deleted (`gone` is then the last state at the deletion's revision)."""

    revision: int
    before: Item | None
    after: Item | None
    gone: Item | None


Watcher = Callable[[Event], None]
Fields = Callable[[dict[str, Any]], dict[str, str]]


def with_revision(value: bytes, revision: int) -> bytes:
    """The stored bytes with `resourceVersion` put first into the metadata."""
    place = value.index(b'"metadata":{') + 12
    return b'%b"resourceVersion":"%d",%b' % (value[:place], revision, value[place:])


class Collection:
    """All objects of one resource, sorted by key (`namespace/name`, or `name`)."""

    def __init__(self, prefix: str, fields: Fields | None = None) -> None:
        self.prefix = prefix
        self.fields = fields
        self.items: dict[str, Item] = {}
        self.keys: list[str] = []
        self.revision = 0  # of the last change in here
        self.history: deque[Event] = deque(maxlen=HISTORY_EVENTS)
        self.forgotten = 0  # events up to this revision are not in history
        self.watchers: set[Watcher] = set()
        self.ended = asyncio.Event()  # set when the resource is not served any more
        self._joined: dict[str, tuple[int, bytes]] = {}

    def load(self, record: Record) -> None:
        self._insert(self._item(record.key, record.value, record.revision, record.created))

    def _item(self, key: str, value: bytes, revision: int, created: int) -> Item:
        data = with_revision(value, revision)
        fields = self.fields(decode(data)) if self.fields else None
        return Item(key[len(self.prefix) :], revision, created, data, fields)

    def _insert(self, item: Item) -> None:
        if item.key not in self.items:
            insort(self.keys, item.key)
        self.items[item.key] = item

    def apply(self, change: Change) -> None:
        key = change.key[len(self.prefix) :]
        before = self.items.get(key)
        after: Item | None = None
        gone: Item | None = None
        if change.value is not None:
            after = self._item(change.key, change.value, change.revision, before.created if before else change.revision)
            self._insert(after)
        elif before is not None:
            del self.items[key]
            del self.keys[bisect_left(self.keys, key)]
            gone = self._item(change.key, _without_revision(before), change.revision, before.created)
        else:
            return
        self.revision = change.revision
        event = Event(change.revision, before, after, gone)
        if len(self.history) == HISTORY_EVENTS:
            self.forgotten = self.history[0].revision
        self.history.append(event)
        for watcher in tuple(self.watchers):
            watcher(event)

    def reselect(self, fields: Fields) -> None:
        """Other fields may be selected by from now on."""
        self.fields = fields
        for item in self.items.values():
            item.fields = fields(item.shared)

    def select(self, namespace: str) -> list[Item]:
        """The items of a namespace ("" for all), sorted."""
        items = self.items
        if not namespace:
            return [items[key] for key in self.keys]
        start = bisect_left(self.keys, f"{namespace}/")
        end = bisect_left(self.keys, f"{namespace}0", start)  # "0" is the letter after "/"
        return [items[key] for key in self.keys[start:end]]

    def at(self, revision: int, namespace: str) -> list[Item] | None:
        """The items as they were at a revision; None when that is not known any more."""
        if revision >= self.revision:
            return self.select(namespace)
        if revision < self.forgotten:
            return None
        items = dict(self.items)
        for event in reversed(self.history):
            if event.revision <= revision:
                break
            item = event.before or event.after or event.gone
            assert item is not None
            if event.before is None:
                items.pop(item.key, None)
            else:
                items[item.key] = event.before
        prefix = f"{namespace}/" if namespace else ""
        return [items[key] for key in sorted(items) if key.startswith(prefix)]

    def since(self, revision: int) -> list[Event] | None:
        """Events after a revision; None when some of them are forgotten."""
        if revision < self.forgotten:
            return None
        if revision >= self.revision:
            return []
        found: list[Event] = []
        for event in reversed(self.history):
            if event.revision <= revision:
                break
            found.append(event)
        found.reverse()
        return found

    def joined(self, namespace: str, strip: int) -> bytes:
        """The items' bytes joined by commas, each without its first `strip` bytes (kind and apiVersion) when `strip`.

        Kept per namespace until the collection changes.
        """
        known = self._joined.get(namespace)
        if known and known[0] == self.revision:
            return known[1]
        if len(self._joined) > 16:
            self._joined.clear()
        if strip:
            body = b",".join([b"{" + item.data[strip:] for item in self.select(namespace)])
        else:
            body = b",".join([item.data for item in self.select(namespace)])
        self._joined[namespace] = (self.revision, body)
        return body


def _without_revision(item: Item) -> bytes:
    return item.data.replace(b'"resourceVersion":"%d",' % item.revision, b"", 1)


class Cache:
    """The collections by storage prefix, and the revision up to which they are complete."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.revision = 0
        self._strays: dict[
            str, list[Record]
        ] = {}  # records of resources not served (yet): custom ones before their definition

    def add(self, prefix: str, fields: Fields | None = None) -> Collection:
        """The collection that holds keys below `prefix` ("/pods/"); records loaded before it was known are taken in."""
        found = self.collections.get(prefix)
        if found is None:
            found = self.collections[prefix] = Collection(prefix, fields)
            found.forgotten = self.revision
            for record in self._strays.pop(prefix, []):
                found.load(record)
            found.revision = max((item.revision for item in found.items.values()), default=0)
        elif fields is not None and fields is not found.fields:
            found.reselect(fields)
        return found

    def load(self, revision: int, records: Sequence[Record]) -> None:
        self.revision = revision
        for collection in self.collections.values():
            collection.forgotten = revision
        for record in records:
            prefix = prefix_of(record.key)
            found = self.collections.get(prefix)
            if found is None:
                self._strays.setdefault(prefix, []).append(record)
            else:
                found.load(record)
                found.revision = max(found.revision, record.revision)

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            collection = self.collections.get(prefix_of(change.key))
            self.revision = change.revision
            if collection is not None:
                collection.apply(change)


def prefix_of(key: str) -> str:
    """Keys are `/plural.group/…`; the prefix ends with the second slash."""
    return key[: key.index("/", 1) + 1]
