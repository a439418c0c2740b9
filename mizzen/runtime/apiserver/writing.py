"""Creates, updates, patches and deletes: the way of an object from a request into the store.

Takes an `Ask`, gives the Response. The steps, in order: decode and default (bodies.py), admission changes, preparation and
validation by the kind (kinds/), admission refuses, managed fields, store. Not here: subresources of their own (subresources/).
"""

from __future__ import annotations

import random
import uuid
from typing import Any

import msgspec

from ..store.base import Conflict
from . import bodies, options
from .accept import negotiate
from .admission.base import Write
from .cache import Item
from .context import Ask
from .deleting import finished, remove_finally
from .errors import MODIFIED, StatusError, already_exists, bad_request, conflict, not_found, refused
from .http1 import Response
from .kinds import strategy_of
from .kinds.base import Strategy, validate_metadata, validate_metadata_update
from .ownership import track_create, track_update
from .parts import Parts
from .reading import shaped
from .resources import Resource
from .schema.scalars import now

Object = dict[str, Any]
encode = msgspec.json.encode
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
ATTEMPTS = 8


def item_of(resource: Resource, tree: Object, revision: int = 0) -> Item:
    """A tree that was not stored (a dry run) as an item."""
    meta = tree["metadata"]
    data = encode(tree)
    return Item(resource.key(meta.get("namespace", ""), meta["name"]), revision, revision, data, None)


async def create(ask: Ask, parts: Parts) -> Response:
    info, resource = ask.info, ask.resource
    form = negotiate(ask.request.headers.get("accept", ""))
    options.write_options(ask, "CreateOptions")
    obj = bodies.read(ask, resource)
    ask.options = write_options_object(ask, "CreateOptions")
    item = await create_object(ask, parts, resource, obj)
    assert info is ask.info
    return shaped(ask, form, 201, item)


def write_options_object(ask: Ask, kind: str) -> Object:
    out: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if ask.dry_run:
        out["dryRun"] = ["All"]
    if kind == "PatchOptions" and ask.info.first("force"):
        out["force"] = ask.info.first("force") == "true"
    if ask.info.first("fieldManager"):
        out["fieldManager"] = ask.info.first("fieldManager")
    if ask.info.first("fieldValidation"):
        out["fieldValidation"] = ask.info.first("fieldValidation")
    return out


def fill_metadata(ask: Ask, resource: Resource, obj: Object) -> None:
    """What the server fills in before admission sees the object."""
    meta = obj["metadata"]
    given = meta.get("namespace", "")
    if resource.namespaced:
        if given and given != ask.info.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = ask.info.namespace
    elif given:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    for key in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
        meta.pop(key, None)
    meta["uid"] = str(uuid.uuid4())
    meta["creationTimestamp"] = now()
    if meta.get("generateName") and not meta.get("name"):
        meta["name"] = generated(meta["generateName"])


def generated(stem: str) -> str:
    return stem[:58] + "".join(random.choices(LETTERS, k=5))


def ordered_metadata(meta: Object) -> Object:
    """Metadata in the order in which it is written."""
    return {key: meta[key] for key in _META_ORDER if key in meta}


_META_ORDER = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip


async def create_object(
    ask: Ask, parts: Parts, resource: Resource, obj: Object, manager: str = "", apply: bool = False
) -> Item:
    """Everything between the decoded object and the stored one; apply: managedFields are in it already."""
    strategy = strategy_of(resource)
    fill_metadata(ask, resource, obj)
    if not apply:  # what admission and the server itself add later is nobody's
        obj["metadata"].pop("managedFields", None)
        track_create(ask, resource, obj, manager)
    write = Write(ask, resource, "CREATE", obj, None, obj["metadata"].get("name", ""))
    await parts.admission.mutate(write, parts)
    assert write.new is not None
    obj = write.new
    strategy.prepare_create(ask, obj)
    if strategy.generations:
        obj["metadata"]["generation"] = 1
    problems = validate_metadata(obj, resource.namespaced, strategy.name_rule) + strategy.validate(obj)
    if problems:
        raise refused(resource.kind_group, resource.kind, obj["metadata"].get("name", ""), problems)
    write.name = obj["metadata"]["name"]
    await parts.admission.validate(write, parts)
    for text in strategy.warnings(obj):
        ask.warn(text)
    name = obj["metadata"]["name"]
    key = resource.key(ask.info.namespace, name)
    there = resource.collection.items.get(key)
    undo = parts.allocators.create(resource, obj)
    problems = strategy.allocate(obj, None)
    if problems:
        raise refused(resource.kind_group, resource.kind, name, problems)
    if there is not None:
        undo()
        raise exists(resource, name, there)
    obj["metadata"] = ordered_metadata(obj["metadata"])
    if ask.dry_run:
        undo()
        return item_of(resource, obj)
    try:
        await parts.store.write(resource.prefix + key, encode(obj), 0)
    except Conflict:
        undo()
        raise exists(resource, name, resource.collection.items.get(key)) from None
    return resource.collection.items.get(key) or item_of(resource, obj)


def exists(resource: Resource, name: str, there: Item | None) -> StatusError:
    error = already_exists(resource.group, resource.plural, name)
    if (
        there is not None
        and b'"deletionTimestamp":"' in there.data
        and there.shared["metadata"].get("deletionTimestamp")
    ):
        error.message = f"object is being deleted: {error.message}"
    return error


# updates


async def update(ask: Ask, parts: Parts) -> Response:
    resource = ask.resource
    form = negotiate(ask.request.headers.get("accept", ""))
    options.write_options(ask, "UpdateOptions")
    obj = bodies.read(ask, resource)
    ask.options = write_options_object(ask, "UpdateOptions")
    check_names(ask, obj)
    key = resource.key(ask.info.namespace, ask.info.name)
    strategy = strategy_of(resource)
    there = resource.collection.items.get(key)
    if there is None and strategy.create_on_update and not ask.info.subresource:
        item = await create_object(ask, parts, resource, obj)
        return shaped(ask, form, 201, item)
    given_managed = obj["metadata"].get("managedFields")

    def change(old: Object, item: Item) -> Object:
        new: Object = msgspec.json.decode(encode(obj))
        if given_managed is None:
            new["metadata"]["managedFields"] = old["metadata"].get("managedFields")
        return new

    conditional = "resourceVersion" in obj["metadata"]
    item = await update_object(ask, parts, resource, change, once=conditional)
    return shaped(ask, form, 200, item)


def check_names(ask: Ask, obj: Object) -> None:
    """The name and namespace in a body must be those of the path."""
    name, namespace = obj["metadata"].get("name", ""), obj["metadata"].get("namespace", "")
    if not name:
        raise bad_request(
            f"the name of the object ({ask.info.name} based on URL) was undeterminable: name must be provided"
        )
    if name != ask.info.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({ask.info.name})")
    if namespace and namespace != ask.info.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if ask.resource.namespaced:
        obj["metadata"]["namespace"] = ask.info.namespace


class Change:
    """How an update makes the new object; called again when somebody else was faster."""

    def __call__(self, old: Object, item: Item) -> Object:
        raise NotImplementedError


async def update_object(
    ask: Ask,
    parts: Parts,
    resource: Resource,
    change: Any,
    *,
    once: bool = False,
    applied: bool = False,
    subresource: str | None = None,
) -> Item:
    """Changes the object that the request names. `change(old, item)` gives the new tree (or awaits it).

    once: a conflict is the client's (it named a resourceVersion). applied: the change has set managedFields itself.
    """
    key = resource.key(ask.info.namespace, ask.info.name)
    sub = ask.info.subresource if subresource is None else subresource
    for _ in range(ATTEMPTS):
        item = resource.collection.items.get(key)
        if item is None:
            raise not_found(resource.group, resource.plural, ask.info.name)
        old = item.object()
        new = change(old, item)
        if not isinstance(new, dict):
            new = await new
        _check_version(resource, ask.info.name, new, item)
        new = await _prepared(ask, parts, resource, new, old, sub, applied)
        if _same(new, item):
            return item
        problems = strategy_of(resource).allocate(new, old)
        if problems:
            raise refused(resource.kind_group, resource.kind, ask.info.name, problems)
        if ask.dry_run:
            new["metadata"]["resourceVersion"] = str(item.revision)
            new["metadata"] = ordered_metadata(new["metadata"])
            return item_of(resource, new, item.revision)
        undo = parts.allocators.update(resource, new, old)
        try:
            if finished(new):
                return await remove_finally(parts, resource, new, item)
            await parts.store.write(resource.prefix + key, encode(new), item.revision)
        except Conflict as error:
            undo()
            if once or error.actual == 0:
                raise conflict(resource.group, resource.plural, ask.info.name, MODIFIED) from None
            await settled(parts, resource, key, error.actual)
            continue
        return resource.collection.items.get(key) or item_of(resource, new)
    raise conflict(resource.group, resource.plural, ask.info.name, MODIFIED)


async def settled(parts: Parts, resource: Resource, key: str, revision: int) -> None:
    """Waits until a write that is under way has reached the cache."""
    import asyncio

    for _ in range(200):
        item = resource.collection.items.get(key)
        if item is None or item.revision >= revision:
            return
        await asyncio.sleep(0.001)


def _check_version(resource: Resource, name: str, new: Object, item: Item) -> None:
    meta, old = new["metadata"], item.shared["metadata"]
    uid = meta.get("uid")
    version = meta.pop("resourceVersion", None)
    if version is None and not strategy_of(resource).unconditional_update:
        from .errors import invalid

        problem = invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise refused(resource.group, resource.plural, name, [problem])
    if uid and uid != old["uid"] and version in (None, "", "0"):
        pass
    if version not in (None, "", "0") and version != str(item.revision):
        raise conflict(resource.group, resource.plural, name, MODIFIED)


async def _prepared(
    ask: Ask, parts: Parts, resource: Resource, new: Object, old: Object, sub: str, applied: bool
) -> Object:
    strategy = strategy_of(resource)
    meta, before = new["metadata"], old["metadata"]
    uid = meta.get("uid")
    if uid and uid != before["uid"] and ask.info.verb == "update":
        key = f"/registry/{resource.plural}/{resource.key(ask.info.namespace, ask.info.name)}"
        raise conflict(
            resource.group, resource.plural, ask.info.name,
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: "
            f"UID in precondition: {uid}, UID in object meta: {before['uid']}",
        )  # fmt: skip
    _carry_over(meta, before)
    if resource.namespaced:
        meta.setdefault("namespace", before.get("namespace"))
    before.pop("resourceVersion", None)
    write = Write(ask, resource, "UPDATE", new, old, ask.info.name, sub)
    await parts.admission.mutate(write, parts)
    assert write.new is not None
    new = write.new
    meta = new["metadata"]
    managed = meta.pop("managedFields", None)
    _by_strategy(ask, strategy, new, old, sub)
    _generation(strategy, new, old, sub)
    problems = _problems(strategy, new, old, sub)
    if problems:
        raise refused(resource.kind_group, resource.kind, ask.info.name, problems)
    await parts.admission.validate(write, parts)
    for text in strategy.warnings(new) if not sub else ():
        ask.warn(text)
    if managed is not None:
        meta["managedFields"] = managed
    if not applied:
        track_update(ask, resource, new, old, sub)
    if not meta.get("managedFields"):
        meta.pop("managedFields", None)
    new["metadata"] = ordered_metadata(new["metadata"])
    return new


def _carry_over(meta: Object, before: Object) -> None:
    """What a client need not repeat."""
    for key in ("uid", "creationTimestamp", "generateName"):
        if before.get(key) is not None and (key == "creationTimestamp" or (key == "uid" and not meta.get(key))):
            meta[key] = before[key]
    if not meta.get("generateName") and before.get("generateName"):
        meta.pop("generateName", None)
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(key, None)
        if before.get(key) is not None:
            meta[key] = before[key]
    meta.pop("generation", None)
    if before.get("generation") is not None:
        meta["generation"] = before["generation"]
    meta.pop("selfLink", None)


def _by_strategy(ask: Ask, strategy: Strategy, new: Object, old: Object, sub: str) -> None:
    if sub == "status":
        strategy.prepare_status(ask, new, old)
    elif sub in ("ephemeralcontainers", "resize", "approval"):
        strategy.prepare_part(ask, new, old, sub)
    elif not sub:
        strategy.prepare_update(ask, new, old)


def _generation(strategy: Strategy, new: Object, old: Object, sub: str) -> None:
    if strategy.generations and sub != "status" and strategy.changed(new, old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _problems(strategy: Strategy, new: Object, old: Object, sub: str) -> list[Any]:
    problems = validate_metadata_update(new, old)
    if sub == "status":
        return problems + strategy.validate_status(new, old)
    if sub in ("ephemeralcontainers", "resize", "approval"):
        return problems + strategy.validate_part(new, old, sub)
    return problems + strategy.validate_update(new, old) if not sub else problems


def _same(new: Object, item: Item) -> bool:
    before = item.object()
    before["metadata"].pop("resourceVersion", None)
    if new == before:
        return True
    mine, theirs = dict(new["metadata"]), dict(before["metadata"])
    one, other = mine.pop("managedFields", None), theirs.pop("managedFields", None)
    if one is None or other is None or {**new, "metadata": mine} != {**before, "metadata": theirs}:
        return False
    return _timeless(one) == _timeless(other)


def _timeless(entries: list[Object]) -> list[Object]:
    return [{key: value for key, value in one.items() if key != "time"} for one in entries]
