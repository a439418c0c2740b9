"""The shape of a controller: a key in, the world made so.

A controller says which resources it watches, and for each how an object leads to keys (`itself`, `owner`, or a
function of its own); `run_controller` feeds it keys from shared informers, one worker a key at a time. `reconcile`
returns None, or `After(seconds)` to be called again then; an exception is logged and retried with back-off. Level, not
edge: it may be called late, or once for ten events. Not here: any controller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.informer import Change, Informers
from mizzen.kube.resource import Key, Object, Resource, key_of
from mizzen.kube.workqueue import WorkQueue

log = logging.getLogger(__name__)


class After(NamedTuple):
    """Look at the key again in so many seconds."""

    seconds: float


KeysOf = Callable[[Object], Iterable[Key]]


class Controller(Protocol):
    """watches: resource → the keys to look at when an object of it changes (both its old and its new state are
    asked).
    """

    @property
    def watches(self) -> Mapping[Resource, KeysOf]: ...

    async def reconcile(self, key: Key) -> After | None: ...


def itself(obj: Object) -> Iterable[Key]:
    """The object's own key."""
    return (key_of(obj),)


def owner(kind: str) -> KeysOf:
    """The key of the controlling owner, if it is of that kind."""

    def keys(obj: Object) -> Iterable[Key]:
        meta = obj["metadata"]
        for reference in meta.get("ownerReferences") or ():
            if reference.get("controller") and reference.get("kind") == kind:
                yield Key(meta.get("namespace") or "", reference["name"])

    return keys


async def run_controller(
    controller: Controller,
    informers: Informers,
    *,
    workers: int = 1,
    queue: WorkQueue[Key] | None = None,
    name: str | None = None,
) -> None:
    """Feed and work the controller until cancelled. informers must be run by the caller. queue: give one to add keys
    yourself.
    """
    label = name or type(controller).__name__
    work: WorkQueue[Key] = queue if queue is not None else WorkQueue()
    for resource, keys in controller.watches.items():
        informers.of(resource).add_handler(_feeder(work, keys))
    for resource in controller.watches:
        await informers.of(resource).synced.wait()
    try:
        async with asyncio.TaskGroup() as tasks:
            for n in range(workers):
                tasks.create_task(_work(controller, work, label), name=f"{label} {n}")
    finally:
        work.close()


def _feeder(work: WorkQueue[Key], keys: KeysOf) -> Callable[[Change], None]:
    def handler(change: Change) -> None:
        found = {key: None for obj in (change.old, change.new) if obj is not None for key in keys(obj)}
        for key in found:
            work.add(key)

    return handler


async def _work(controller: Controller, work: WorkQueue[Key], label: str) -> None:
    while True:
        key = await work.get()
        try:
            again = await controller.reconcile(key)
        except (ApiError, *CONNECTION_ERRORS) as error:
            if isinstance(error, ApiError) and error.namespace_terminating:
                log.debug("%s %s: %s", label, key, error)
                work.forget(key)
                continue
            delay_s = work.retry(key)
            level = logging.DEBUG if isinstance(error, ApiError) and error.conflict else logging.WARNING
            log.log(level, "%s %s: %s; again in %.2f s", label, key, error or type(error).__name__, delay_s)
        except Exception:  # the one place: a bug in a controller must not end its worker
            log.exception("%s %s; again in %.2f s", label, key, work.retry(key))
        else:
            work.forget(key)
            if again is not None:
                work.add_after(key, again.seconds)
        finally:
            work.done(key)
