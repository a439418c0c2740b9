"""Deletion: preconditions, finalizers, propagation, grace; of one object and of collections.

Takes an `Ask`, gives the Response. Dependents are the garbage collector's; it acts on the finalizers set here.
Source: apiserver's registry/rest BeforeDelete and generic registry Store.Delete.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ..store.base import Conflict
from . import options
from .accept import negotiate
from .admission.base import Write
from .cache import Item
from .context import Ask
from .errors import MODIFIED, StatusError, conflict, not_found
from .http1 import Response
from .kinds import strategy_of
from .parts import Parts
from .reading import Page, _listed, matcher, rendered, shaped
from .resources import Resource

Object = dict[str, Any]
encode = msgspec.json.encode
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


def finished(obj: Object) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers"):
        return False
    if obj.get("kind") == "Namespace" and (obj.get("spec") or {}).get("finalizers"):
        return False
    return bool(meta.get("deletionGracePeriodSeconds", 0) == 0)


async def remove_finally(parts: Parts, resource: Resource, last: Object, item: Item) -> Item:
    """Takes the object out of the store; its last state is answered with its last revision."""
    await parts.store.write(resource.prefix + item.key, None, item.revision)
    parts.allocators.release(resource, last)
    last["metadata"]["resourceVersion"] = str(item.revision)
    from .writing import ordered_metadata

    last["metadata"] = ordered_metadata(last["metadata"])
    return Item(item.key, item.revision, item.created, encode(last), None)


async def delete(ask: Ask, parts: Parts) -> Response:
    resource = ask.resource
    form = negotiate(ask.request.headers.get("accept", ""))
    ask.options = options.delete_options(ask)
    key = resource.key(ask.info.namespace, ask.info.name)
    item = resource.collection.items.get(key)
    if item is None:
        raise not_found(resource.group, resource.plural, ask.info.name)
    write = Write(ask, resource, "DELETE", None, item.object(), ask.info.name)
    await parts.admission.mutate(write, parts)
    await parts.admission.validate(write, parts)
    gone, left = await delete_object(ask, parts, resource, key, ask.options)
    if gone:
        if strategy_of(resource).returns_deleted:
            return shaped(ask, form, 200, left)
        return rendered(ask, form._replace(shape=""), 200, encode(success(resource, ask.info.name, left)))
    accepted = 200
    return shaped(ask, form, accepted, left)


def success(resource: Resource, name: str, item: Item) -> Object:
    details = {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.plural}
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {**details, "uid": item.shared["metadata"]["uid"]},
    }  # fmt: skip


def _check_preconditions(resource: Resource, item: Item, wanted: Object | None) -> None:
    meta, wanted = item.shared["metadata"], wanted or {}
    name = meta["name"]
    if wanted.get("uid") and wanted["uid"] != meta["uid"]:
        text = (
            f"the UID in the precondition ({wanted['uid']}) does not match the UID in record ({meta['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise _precondition(resource, name, text)
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != str(item.revision):
        text = (
            f"the ResourceVersion in the precondition ({wanted['resourceVersion']}) does not match the ResourceVersion in record "
            f"({item.revision}). The object might have been modified"
        )
        raise _precondition(resource, name, text)


def _precondition(resource: Resource, name: str, text: str) -> StatusError:
    details = {"name": name, **({"group": resource.group} if resource.group else {}), "kind": resource.kind}
    qualified = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return StatusError(409, f'Operation cannot be fulfilled on {qualified} "{name}": {text}', details=details)


async def delete_object(ask: Ask, parts: Parts, resource: Resource, key: str, opts: Object) -> tuple[bool, Item]:
    """Deletes or begins to. Answers whether it is gone, and its last (or new) state."""
    for _ in range(8):
        item = resource.collection.items.get(key)
        if item is None:
            raise not_found(resource.group, resource.plural, key.rpartition("/")[2])
        _check_preconditions(resource, item, opts.get("preconditions"))
        obj = item.object()
        obj["metadata"].pop("resourceVersion")
        changed, gone = begin(resource, obj, opts)
        if ask.dry_run:
            return gone, item
        try:
            if gone:
                revision = await parts.store.write(resource.prefix + key, None, item.revision)
                parts.allocators.release(resource, obj)
                return True, _last(resource, item, revision)
            if not changed:
                return False, item
            from .writing import ordered_metadata

            obj["metadata"] = ordered_metadata(obj["metadata"])
            await parts.store.write(resource.prefix + key, encode(obj), item.revision)
            return False, resource.collection.items.get(key) or item
        except Conflict as error:
            from .writing import settled

            await settled(parts, resource, key, error.actual)
    raise conflict(resource.group, resource.plural, key.rpartition("/")[2], MODIFIED)


def _last(resource: Resource, item: Item, revision: int) -> Item:
    """The last state of an object that is gone, at the revision that took it; a pod's says that it had no grace left."""
    if not strategy_of(resource).returns_deleted:
        return item
    tree = item.object()
    tree["metadata"]["resourceVersion"] = str(revision)
    if strategy_of(resource).graceful:
        if not tree["metadata"].get("deletionTimestamp"):
            _stamp(tree["metadata"], 0)
        tree["metadata"]["deletionGracePeriodSeconds"] = 0
    from .writing import ordered_metadata

    tree["metadata"] = ordered_metadata(tree["metadata"])
    return Item(item.key, item.revision, item.created, encode(tree), item.fields)


def begin(resource: Resource, obj: Object, opts: Object) -> tuple[bool, bool]:
    """Marks an object as being deleted. Answers whether that changed it, and whether it can go at once."""
    strategy = strategy_of(resource)
    meta = obj["metadata"]
    before = encode(obj)
    _propagation(meta, opts, strategy.default_propagation)
    grace = _grace(resource, obj, opts)
    if resource.qualified == "namespaces":
        return _begin_namespace(obj, before)
    pending = bool(meta.get("finalizers"))
    if meta.get("deletionTimestamp"):
        current = meta.get("deletionGracePeriodSeconds", 0)
        if grace < current:
            _stamp(meta, grace)
        grace = min(grace, current)
    elif pending or grace > 0:
        _stamp(meta, grace)
        if "generation" in meta:
            meta["generation"] += 1
    if grace == 0 and not pending:
        return False, True
    return encode(obj) != before, False


def _begin_namespace(obj: Object, before: bytes) -> tuple[bool, bool]:
    """The first time a namespace is only marked, without a grace period; later it goes once no finalizer is left."""
    meta = obj["metadata"]
    if meta.get("deletionTimestamp"):
        held = bool(meta.get("finalizers") or (obj.get("spec") or {}).get("finalizers"))
        return encode(obj) != before, not held
    _stamp(meta, 0)
    del meta["deletionGracePeriodSeconds"]
    obj.setdefault("status", {})["phase"] = "Terminating"
    return True, False


def _stamp(meta: Object, grace: int) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=grace)
    meta["deletionTimestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    meta["deletionGracePeriodSeconds"] = grace


def _propagation(meta: Object, opts: Object, default: str) -> None:
    policy = opts.get("propagationPolicy")
    if policy is None and opts.get("orphanDependents") is not None:
        policy = "Orphan" if opts["orphanDependents"] else "Background"
    finalizers = list(meta.get("finalizers") or ())
    if policy is None:
        if ORPHAN in finalizers or FOREGROUND in finalizers:
            return
        policy = default
    wanted = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(policy)
    finalizers = [one for one in finalizers if one not in (ORPHAN, FOREGROUND)]
    if wanted:
        finalizers.append(wanted)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)


def _grace(resource: Resource, obj: Object, opts: Object) -> int:
    """Seconds that the object may still live; only pods that were given to a node have any."""
    if not strategy_of(resource).graceful:
        return 0
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    given = opts.get("gracePeriodSeconds")
    grace = int(given if given is not None else spec.get("terminationGracePeriodSeconds", 30))
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    return max(grace, 0) if grace >= 0 else 1


async def delete_collection(ask: Ask, parts: Parts) -> Response:
    resource = ask.resource
    form = negotiate(ask.request.headers.get("accept", ""))
    match, _ = matcher(ask)
    ask.options = options.delete_options(ask)
    items = resource.collection.select(ask.info.namespace)
    if match:
        items = [item for item in items if match(item)]
    for item in items:
        write = Write(ask, resource, "DELETE", None, item.object(), item.key.rpartition("/")[2])
        await parts.admission.mutate(write, parts)
        await parts.admission.validate(write, parts)
        try:
            await delete_object(ask, parts, resource, item.key, ask.options)
        except StatusError as error:
            if error.code != 404:
                raise
    page = Page(items, parts.cache.revision)
    return rendered(ask, form, 200, _listed(ask, form, page, {"resourceVersion": str(parts.cache.revision)}))
