"""Field ownership of writes: which entry of metadata.managedFields a request is, and what it changes there.

Takes the request and the object (changed in place). The algebra is patching/managed.py's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from .context import Ask
from .options import manager_name
from .patching import managed
from .patching.fields import Set
from .patching.managed import Manager
from .patching.shapes import UNKNOWN, Shape, struct_shape
from .resources import Resource
from .schema.decode import Decoder
from .schema.facts import struct
from .schema.scalars import now

Object = dict[str, Any]


def shape_of(resource: Resource) -> Shape:
    if resource.custom is not None:
        shape: Shape = resource.custom.shape
        return shape
    return struct_shape(resource.struct.name) if resource.struct else UNKNOWN


@cache
def _empty_struct(name: str) -> Object:
    return Decoder().object(struct(name), {})


def empty_of(resource: Resource) -> Object:
    """An object of the kind with nothing in it: what exists before any field is set."""
    if resource.custom is not None or resource.struct is None:
        return {}
    return _empty_struct(resource.struct.name)


def reset_fields(resource: Resource, sub: str) -> Set | None:
    """What a write of the resource (or subresource) cannot set, so that nobody owns it by writing it."""
    from .kinds import strategy_of

    if sub == "status":
        return (
            {"f:spec": {}, "f:metadata": {"f:deletionTimestamp": {}, "f:deletionGracePeriodSeconds": {}}}
            if resource.custom is None
            else {"f:spec": {}}
        )
    return managed.STATUS_RESET if strategy_of(resource).status or "status" in resource.subs else None


def track_create(ask: Ask, resource: Resource, obj: Object, manager: str = "") -> None:
    who = Manager(manager or manager_name(ask), "Update", resource.api_version)
    entries = managed.created(obj, empty_of(resource), shape_of(resource), who, now(), reset_fields(resource, ""))
    if entries:
        obj["metadata"]["managedFields"] = entries


def track_update(ask: Ask, resource: Resource, new: Object, old: Object, sub: str) -> None:
    """Entries after an update. An object whose entries were taken away is not tracked again until somebody applies."""
    given = new["metadata"].get("managedFields")
    if not given:
        new["metadata"].pop("managedFields", None)
        return
    if all(not one for one in given):
        new["metadata"].pop("managedFields", None)
        return
    who = Manager(
        manager_name(ask),
        "Update",
        resource.api_version,
        sub if sub in ("status", "scale", "ephemeralcontainers", "resize", "approval") else "",
    )
    before = {**old, "metadata": {**old["metadata"], "managedFields": None}}
    after = {**new, "metadata": {**new["metadata"], "managedFields": None}}
    entries = managed.updated(before, after, shape_of(resource), who, now(), given, reset_fields(resource, sub))
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)
