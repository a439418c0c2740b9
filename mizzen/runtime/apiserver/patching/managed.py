"""Who manages which fields: metadata.managedFields kept right through updates and applies. Pure.

Takes the object before and after, the manager and the time; gives the entries, or `Conflicts`.
Source: KEP-555; apimachinery's managedfields.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import fields, typed
from .fields import Set
from .shapes import Shape

Object = dict[str, Any]
MAX_UPDATERS = 10
BEFORE_FIRST_APPLY = "before-first-apply"
# Never owned: what the server fills in.
_STRIPPED_METADATA = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion",
)  # fmt: skip
STRIPPED: Set = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in _STRIPPED_METADATA}},
}
STATUS_RESET: Set = {"f:status": {}}


class Manager(NamedTuple):
    """Identity of an entry."""

    name: str
    operation: str  # Apply, Update
    version: str
    subresource: str = ""


class Conflict(NamedTuple):
    manager: Manager
    time: str
    path: str


class Conflicts(Exception):
    def __init__(self, found: list[Conflict]) -> None:
        super().__init__("; ".join(one.path for one in found))
        self.found = found


class Entries:
    """The managed fields of one object, decoded."""

    def __init__(self, encoded: list[Object] | None) -> None:
        self.sets: dict[Manager, Set] = {}
        self.times: dict[Manager, str] = {}
        for one in encoded or ():
            key = Manager(
                one.get("manager", ""), one.get("operation", ""), one.get("apiVersion", ""), one.get("subresource", "")
            )
            found = one.get("fieldsV1") or {}
            self.sets[key] = fields.union(self.sets[key], found) if key in self.sets else found
            self.times[key] = max(one.get("time") or "", self.times.get(key, ""))

    def encoded(self) -> list[Object]:
        keys = sorted(
            self.sets, key=lambda one: (one.operation, self.times.get(one, ""), one.name, one.version, one.subresource)
        )
        out = []
        for key in keys:
            entry = {
                "manager": key.name,
                "operation": key.operation,
                "apiVersion": key.version,
                "time": self.times.get(key) or None,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields.sorted_set(self.sets[key]),
            }
            if key.subresource:
                entry["subresource"] = key.subresource
            if not entry["time"]:
                del entry["time"]
            out.append(entry)
        return out

    def put(self, key: Manager, owned: Set, now: str) -> None:
        if not owned:
            self.sets.pop(key, None)
        elif self.sets.get(key) != owned:
            self.sets[key] = owned
            self.times[key] = now


def stripped(owned: Set, reset: Set | None = None) -> Set:
    out = fields.difference(owned, STRIPPED)
    return fields.without_subtrees(out, reset) if reset else out


def created(
    new: Object, empty: Object, shape: Shape, manager: Manager, now: str, reset: Set | None = None
) -> list[Object]:
    """Entries of a new object: one, of everything that an empty object of the kind does not have."""
    owned = stripped(typed.compare(empty, new, shape).added, reset)
    if not owned:
        return []
    entries = Entries(None)
    entries.put(manager, owned, now)
    return entries.encoded()


def updated(
    old: Object,
    new: Object,
    shape: Shape,
    manager: Manager,
    now: str,
    given: list[Object] | None,
    reset: Set | None = None,
) -> list[Object]:
    """Entries after an update: what changed is the manager's now, and nobody else's."""
    changes = typed.compare(old, new, shape)
    entries = Entries(given)
    if not changes:
        return entries.encoded()
    touched = stripped(fields.union(changes.added, changes.modified), reset)
    removed = changes.removed
    for key in list(entries.sets):
        if key == manager:
            continue
        left = fields.difference(entries.sets[key], fields.union(touched, removed))
        if left != entries.sets[key]:
            if left:
                entries.sets[key] = left
            else:
                entries.sets.pop(key)
    if touched or manager in entries.sets:
        mine = fields.difference(fields.union(entries.sets.get(manager, {}), touched), removed)
        entries.put(manager, mine, now)
    _cap(entries, now)
    return entries.encoded()


def _cap(entries: Entries, now: str) -> None:
    """At most MAX_UPDATERS updaters: the oldest go together into one entry of their version."""
    updaters = [key for key in entries.sets if key.operation == "Update"]
    updaters.sort(key=lambda one: entries.times.get(one, ""))
    while len(updaters) > MAX_UPDATERS:
        oldest = updaters.pop(0)
        bucket = Manager("ancient-changes", "Update", oldest.version)
        if oldest == bucket:
            continue
        entries.put(
            bucket,
            fields.union(entries.sets.get(bucket, {}), entries.sets.pop(oldest)),
            entries.times.get(oldest) or now,
        )
        updaters = sorted(
            (key for key in entries.sets if key.operation == "Update"), key=lambda one: entries.times.get(one, "")
        )
        if len(updaters) <= MAX_UPDATERS:
            return


class Applied(NamedTuple):
    """The merged object (without managedFields) and its entries."""

    object: Object
    entries: list[Object]


def applied(
    live: Object, config: Object, shape: Shape, manager: Manager, now: str, given: list[Object] | None,
    *, force: bool, empty: Object, reset: Set | None = None, first: str = "", yields: Set | None = None,
) -> Applied:  # fmt: skip
    """Server-side apply of a configuration onto the live object. Raises Conflicts, NotTyped.

    first: apiVersion for the entry of what was there before anybody applied; "" when the object is new.
    yields: fields that are taken over without force when no other is in conflict.
    """
    entries = Entries(given)
    if not entries.sets and first:
        there = stripped(typed.compare(empty, live, shape).added, reset)
        if there:
            entries.put(Manager(BEFORE_FIRST_APPLY, "Update", first), there, now)
    mine = stripped(typed.field_set(config, shape), reset)
    last = entries.sets.get(manager)
    merged = typed.merge(live, config, shape)
    entries.put(manager, mine, now)
    if last is not None:
        merged = _pruned(merged, last, entries, shape)
    changes = typed.compare(live, merged, shape)
    touched = stripped(fields.union(changes.added, changes.modified), reset)
    if not changes:  # an apply that changes nothing leaves no time
        before = Entries(given).times.get(manager, "")
        entries.times[manager] = before
    _settle(entries, manager, touched, changes.removed, force, yields or {})
    return Applied(merged, entries.encoded())


def _pruned(merged: Any, last: Set, entries: Entries, shape: Shape) -> Any:
    """Without what the manager applied last time and nobody owns now."""
    owned: Set = {}
    for one in entries.sets.values():
        owned = fields.union(owned, one)
    gone = _unowned(last, owned)
    return typed.remove(merged, gone, shape) if gone else merged


def _unowned(last: Set, owned: Set) -> Set:
    """Members of `last` that are not in `owned`, and that have nothing owned below them."""
    out: Set = {}
    for key, below in last.items():
        if key == ".":
            if not owned:
                out["."] = {}
            continue
        theirs = owned.get(key)
        if theirs is None:
            out[key] = below
        elif theirs:
            left = _unowned(below, theirs)
            if left:
                out[key] = left
        elif below:
            left = {name: one for name, one in below.items() if name != "."}
            if left:
                out[key] = left
    return out


def _settle(entries: Entries, manager: Manager, touched: Set, removed: Set, force: bool, yields: Set) -> None:
    conflicts = []
    for key in list(entries.sets):
        if key == manager:
            continue
        both = fields.intersection(entries.sets[key], touched)
        held = fields.difference(both, yields)
        if held and not force:
            conflicts += [
                Conflict(key, entries.times.get(key, ""), fields.path_text(path)) for path in fields.paths(held)
            ]
            continue
        left = fields.difference(fields.difference(entries.sets[key], both), removed)
        if left:
            entries.sets[key] = left
        else:
            entries.sets.pop(key)
    if conflicts:
        raise Conflicts(conflicts)
