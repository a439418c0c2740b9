"""A local, always current copy of one resource: list, then watch, and again after any break.

Takes a client and a resource, gives a cache (`get`, `all`, `by_index`) and calls handlers with what changed. Objects
in the cache are never written to: whoever wants a changed one copies it. Handlers run in the loop, must not block, and
see the cache already updated. Not here: what to do about a change (controller.py, workqueue.py).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from mizzen.kube.client import Client
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.resource import Key, Object, Resource, key_of

log = logging.getLogger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 0.2, 30.0
MISSING_RETRY_S = 5.0  # how often a resource that the server does not know is asked for again

IndexFunction = Callable[[Object], Iterable[str]]


class Change(NamedTuple):
    """What happened to a key. old is None for "added", new is None for "deleted"."""

    type: Literal["added", "updated", "deleted"]
    key: Key
    old: Object | None
    new: Object | None

    @property
    def object(self) -> Object:
        """The newest state known."""
        obj = self.new if self.new is not None else self.old
        assert obj is not None
        return obj


Handler = Callable[[Change], None]


class Store:
    """Objects by key, and by the values of named index functions. No I/O."""

    def __init__(
        self, indexes: Mapping[str, IndexFunction] | None = None, keep: Callable[[Object], Object] | None = None
    ) -> None:
        self._objects: dict[Key, Object] = {}
        self._keep = keep
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in self._functions}

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def keys(self) -> list[Key]:
        return list(self._objects)

    def all(self) -> list[Object]:
        return list(self._objects.values())

    def add_index(self, name: str, function: IndexFunction) -> None:
        """One more index, over what is here and what comes."""
        self._functions[name], self._indexes[name] = function, {}
        for key, obj in self._objects.items():
            for value in function(obj):
                self._indexes[name].setdefault(value, {})[key] = None

    def has_index(self, name: str) -> bool:
        return name in self._functions

    def by_index(self, name: str, value: str) -> list[Object]:
        return [self._objects[key] for key in self._indexes[name].get(value, ())]

    def put(self, obj: Object) -> Change | None:
        """Keep the object's newest state; None when that revision is here already."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and _same_revision(old, obj):
            return None
        self._drop_indexes(key, old)
        self._objects[key] = obj if self._keep is None else self._keep(obj)
        for name, function in self._functions.items():
            for value in function(obj):
                self._indexes[name].setdefault(value, {})[key] = None
        return Change("added" if old is None else "updated", key, old, obj)

    def remove(self, key: Key) -> Change | None:
        old = self._objects.pop(key, None)
        if old is None:
            return None
        self._drop_indexes(key, old)
        return Change("deleted", key, old, None)

    def replace(self, objects: Iterable[Object]) -> list[Change]:
        """Make the store hold exactly these objects; what that changed, deletions first."""
        wanted = {key_of(obj): obj for obj in objects}
        changes = [self.remove(key) for key in self.keys() if key not in wanted]
        changes += [self.put(obj) for obj in wanted.values()]
        return [change for change in changes if change is not None]

    def _drop_indexes(self, key: Key, old: Object | None) -> None:
        if old is None:
            return
        for name, function in self._functions.items():
            for value in function(old):
                keys = self._indexes[name].get(value)
                if keys is not None:
                    keys.pop(key, None)
                    if not keys:
                        del self._indexes[name][value]


class Informer:
    """One resource's copy. Call `run` in a task of yours; wait for `synced` before trusting an absence.

    missing_ok: a resource that the server does not know (its CRD is not installed) counts as synced and empty, and is
    asked for again every MISSING_RETRY_S. keep: what the cache holds of an object (name, namespace, uid and
    resourceVersion at least) when its handlers keep the rest themselves; they get the whole one as `new`.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        indexes: Mapping[str, IndexFunction] | None = None,
        missing_ok: bool = False,
        keep: Callable[[Object], Object] | None = None,
    ) -> None:
        self.resource, self.store, self.synced = resource, Store(indexes, keep), asyncio.Event()
        self._client, self._namespace, self._missing_ok = client, namespace, missing_ok
        self._labels, self._fields = label_selector, field_selector
        self._handlers: list[Handler] = []
        self._revision = ""  # where a watch resumes; "" = list first

    def get(self, name: str, namespace: str = "") -> Object | None:
        return self.store.get(Key(namespace, name))

    def all(self) -> list[Object]:
        return self.store.all()

    def by_index(self, name: str, value: str) -> list[Object]:
        return self.store.by_index(name, value)

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` with every change from now on, and at once with all that is here, as "added"."""
        self._handlers.append(handler)
        for obj in self.store.all():
            handler(Change("added", key_of(obj), None, obj))

    def ensure_index(self, name: str, function: IndexFunction) -> None:
        """The index is there from now on; the first function given under a name counts."""
        if not self.store.has_index(name):
            self.store.add_index(name, function)

    def observe(self, obj: Object) -> None:
        """What a write of ours answered: kept as if its watch event had come, unless the watch is ahead of it
        already.
        """
        obj.setdefault("apiVersion", self.resource.api_version)
        obj.setdefault("kind", self.resource.kind)
        old = self.store.get(key_of(obj))
        newest = revision_of(old) if old is not None else _number(self._revision)
        if revision_of(obj) > newest and (change := self.store.put(obj)) is not None:
            self._dispatch((change,))

    def observe_gone(self, obj: Object) -> None:
        """A delete of ours was answered: the object is dropped, unless another of its name has come meanwhile."""
        old = self.store.get(key_of(obj))
        if old is not None and old["metadata"].get("uid") == obj["metadata"].get("uid"):
            change = self.store.remove(key_of(obj))
            self._dispatch((change,) if change is not None else ())

    async def run(self) -> None:
        """List and watch until cancelled."""
        delay_s = RETRY_MIN_S
        while True:
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
                delay_s = RETRY_MIN_S
                continue
            except ApiError as error:
                pause_s = self._after_error(error, delay_s)
            except CONNECTION_ERRORS as error:
                log.warning("watching %s: %s; again in %.1f s", self.resource, error or type(error).__name__, delay_s)
                pause_s = delay_s * random.uniform(0.8, 1.2)
            delay_s = min(delay_s * 2, RETRY_MAX_S)
            await asyncio.sleep(pause_s)

    def _after_error(self, error: ApiError, delay_s: float) -> float:
        """What an error means for the next round; the seconds to wait before it."""
        if error.gone:
            self._revision = ""
            return 0.0
        if error.not_found and self._missing_ok:
            self._revision = ""
            self._dispatch(self.store.replace(()))
            self.synced.set()
            return MISSING_RETRY_S
        log.warning("watching %s: %s; again in %.1f s", self.resource, error, delay_s)
        return delay_s * random.uniform(0.8, 1.2)

    async def _list(self) -> None:
        listed = await self._client.list(
            self.resource, self._namespace, label_selector=self._labels, field_selector=self._fields
        )
        self._dispatch(self.store.replace(listed.items))
        self._revision = listed.resource_version
        self.synced.set()

    async def _watch(self) -> None:
        events = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self._revision,
            label_selector=self._labels,
            field_selector=self._fields,
        )
        async for type_, obj in events:
            self._revision = obj["metadata"]["resourceVersion"]
            if type_ == "BOOKMARK":
                continue
            obj.setdefault("apiVersion", self.resource.api_version)
            obj.setdefault("kind", self.resource.kind)
            if self._is_behind(obj):
                continue
            change = self.store.remove(key_of(obj)) if type_ == "DELETED" else self.store.put(obj)
            if change is not None:
                self._dispatch((change,))

    def _is_behind(self, obj: Object) -> bool:
        """An event older than what `observe` has put here already."""
        old = self.store.get(key_of(obj))
        return old is not None and revision_of(obj) < revision_of(old)

    def _dispatch(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for handler in self._handlers:
                handler(change)


class Informers:
    """One shared informer a resource, started together. `run` also starts those that are asked for later."""

    def __init__(self, client: Client, *, missing_ok: bool = False) -> None:
        self.client, self._missing_ok = client, missing_ok
        self._informers: dict[Resource, Informer] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def of(self, resource: Resource, *, field_selector: str = "", label_selector: str = "") -> Informer:
        """The informer of the resource; selectors count only for the first who asks."""
        informer = self._informers.get(resource)
        if informer is None:
            informer = Informer(
                self.client,
                resource,
                label_selector=label_selector,
                field_selector=field_selector,
                missing_ok=self._missing_ok,
            )
            self._informers[resource] = informer
            self._start(informer)
        return informer

    def get(self, resource: Resource, key: Key) -> Object | None:
        return self.of(resource).store.get(key)

    async def synced(self) -> None:
        """Until every informer asked for so far holds a full list."""
        for informer in list(self._informers.values()):
            await informer.synced.wait()

    async def run(self) -> None:
        """Run them all until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for informer in self._informers.values():
                self._start(informer)
            await asyncio.get_running_loop().create_future()

    def _start(self, informer: Informer) -> None:
        if self._tasks is not None:
            self._tasks.create_task(informer.run(), name=f"informer {informer.resource}")


def revision_of(obj: Object) -> int:
    """The object's resourceVersion as a number, 0 where it is none (KEP-5504: they are comparable decimals)."""
    return _number(obj["metadata"].get("resourceVersion"))


def _number(revision: str | None) -> int:
    return int(revision) if revision and revision.isdigit() else 0


def _same_revision(old: Object, new: Object) -> bool:
    mine, theirs = old["metadata"], new["metadata"]
    revision = theirs.get("resourceVersion")
    return revision is not None and mine.get("resourceVersion") == revision and mine.get("uid") == theirs.get("uid")
