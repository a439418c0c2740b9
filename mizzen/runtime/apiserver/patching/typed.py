"""What server-side apply does with values of a type: their field sets, comparison, merge, removal. Pure.

Takes trees and shapes, gives sets (fields.py) and new trees. Source: structured-merge-diff's typed package.
"""

from __future__ import annotations

from typing import Any

from .fields import Set
from .shapes import NotTyped, Shape, item_key, shape_for


def field_set(value: Any, shape: Shape, path: str = "") -> Set:
    """The fields that an applied configuration names: leaves, and the items of keyed lists."""
    shape = shape_for(value, shape)
    if shape.atomic or value is None:
        return {}
    if shape.kind == "map" and isinstance(value, dict):
        return {f"f:{name}": field_set(value[name], declared(shape, name, path), f"{path}.{name}") for name in value}
    if shape.kind == "list" and isinstance(value, list):
        out: Set = {}
        for place, item in enumerate(value):
            key = _key(item, place, shape, path)
            if key in out:
                raise NotTyped(f"{path}: duplicate entries for key [{_key_text(key)}]")
            below = {} if shape.set else field_set(item, shape.of, f"{path}[{_key_text(key)}]")
            out[key] = {".": {}, **below} if below else {}
        return out
    return {}


def _key(item: Any, place: int, shape: Shape, path: str) -> str:
    try:
        return item_key(item, place, shape)
    except NotTyped as error:
        raise NotTyped(f"{path}: element {place}: {error}") from None


def _key_text(key: str) -> str:
    import json

    if key.startswith("k:"):
        found = json.loads(key[2:])
        return ",".join(f"{name}={json.dumps(found[name])}" for name in sorted(found))
    return key.partition(":")[2]


def declared(shape: Shape, name: str, path: str) -> Shape:
    found = shape.field(name)
    if found is None:
        raise NotTyped(f"{path}.{name}: field not declared in schema")
    return found


class Comparison:
    """What changed from one value to another, as three sets."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.added: Set = {}
        self.modified: Set = {}
        self.removed: Set = {}

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)


def compare(old: Any, new: Any, shape: Shape) -> Comparison:
    """Nodes that came, leaves that changed, nodes that went; the root itself is never one of them."""
    out = Comparison()
    _compare(old, new, shape, out.added, out.modified, out.removed)
    return out


def all_nodes(value: Any, shape: Shape) -> Set:
    """Every node of a value that is new as a whole, itself included ("." where it has members)."""
    shape = shape_for(value, shape)
    below: Set = {}
    if not shape.atomic:
        if shape.kind == "map" and isinstance(value, dict):
            for name, one in value.items():
                if one is not None:
                    inner = shape.field(name)
                    below[f"f:{name}"] = all_nodes(one, inner) if inner is not None else {}
        elif shape.kind == "list" and isinstance(value, list):
            for place, item in enumerate(value):
                below[_loose_key(item, place, shape)] = {} if shape.set else all_nodes(item, shape.of)
    return {".": {}, **below} if below else {}


def _loose_key(item: Any, place: int, shape: Shape) -> str:
    try:
        return item_key(item, place, shape)
    except NotTyped:
        return f"i:{place}"


def _compare(old: Any, new: Any, shape: Shape, added: Set, modified: Set, removed: Set) -> None:
    """Fills the three sets with what is below this place; both values are there."""
    shape = shape_for(new, shape)
    if shape.kind == "map" and isinstance(old, dict) and isinstance(new, dict):
        old_items, new_items = (
            {f"f:{key}": value for key, value in old.items()},
            {f"f:{key}": value for key, value in new.items()},
        )
    elif shape.kind == "list" and isinstance(old, list) and isinstance(new, list):
        old_items = {_loose_key(item, place, shape): item for place, item in enumerate(old)}
        new_items = {_loose_key(item, place, shape): item for place, item in enumerate(new)}
    else:
        return
    for key, value in new_items.items():
        inner = shape.of if shape.kind == "list" else (shape.field(key[2:]) or shape_for(value, shape.of))
        before = old_items.get(key)
        if value is None:
            continue
        if before is None:
            added[key] = {} if shape.set else all_nodes(value, inner)
        elif before != value:
            _changed(key, before, value, shape_for(value, inner), added, modified, removed)
    for key, value in old_items.items():
        if value is not None and new_items.get(key) is None:
            inner = shape.of if shape.kind == "list" else (shape.field(key[2:]) or shape_for(value, shape.of))
            removed[key] = {} if shape.set else all_nodes(value, inner)


def _changed(key: str, before: Any, value: Any, inner: Shape, added: Set, modified: Set, removed: Set) -> None:
    same_kind = (isinstance(before, dict) and isinstance(value, dict)) or (
        isinstance(before, list) and isinstance(value, list)
    )
    if inner.atomic or inner.kind not in ("map", "list") or not same_kind:
        modified[key] = {}
        return
    parts: tuple[Set, Set, Set] = ({}, {}, {})
    _compare(before, value, inner, *parts)
    for whole, part in zip((added, modified, removed), parts, strict=True):
        if part:
            whole[key] = part


def merge(old: Any, new: Any, shape: Shape) -> Any:
    """The old value with the new one laid over it; neither is changed."""
    shape = shape_for(new, shape)
    if new is None:
        return old
    if shape.atomic or old is None:
        return new
    if shape.kind == "map" and isinstance(old, dict) and isinstance(new, dict):
        out = dict(old)
        for name, value in new.items():
            inner = shape.field(name)
            out[name] = merge(old.get(name), value, inner) if inner is not None else value
        return out
    if shape.kind == "list" and isinstance(old, list) and isinstance(new, list):
        return _merge_lists(old, new, shape)
    return new


def _merge_lists(old: list[Any], new: list[Any], shape: Shape) -> list[Any]:
    """Items that both have come in the new list's order; those of one list alone keep their place in it, the old list's first."""
    old_items = {_loose_key(item, place, shape): item for place, item in enumerate(old)}
    new_items = {_loose_key(item, place, shape): item for place, item in enumerate(new)}
    left, right = list(old_items), list(new_items)
    shared = [key for key in right if key in old_items]
    out: list[Any] = []
    at, to = 0, 0

    def take(key: str) -> None:
        out.append(new_items[key] if shape.set else merge(old_items.get(key), new_items[key], shape.of))
        if shared and shared[0] == key:
            shared.pop(0)

    while at < len(left) or to < len(right):
        if at < len(left) and to < len(right) and left[at] == right[to]:
            take(left[at])
            at, to = at + 1, to + 1
        elif at < len(left) and left[at] in new_items and (to >= len(right) or (shared and shared[0] != left[at])):
            at += 1  # it comes (or came) where the new list has it
        elif at < len(left) and left[at] not in new_items:
            out.append(old_items[left[at]])
            at += 1
        else:
            take(right[to])
            to += 1
    return out


def remove(value: Any, gone: Set, shape: Shape) -> Any:
    """The value without the members of a set (whole subtrees where a node is a member)."""
    shape = shape_for(value, shape)
    if shape.kind == "map" and isinstance(value, dict) and not shape.atomic:
        out = {}
        for name, one in value.items():
            below = gone.get(f"f:{name}")
            if below is None:
                out[name] = one
            elif below and "." not in below:
                inner = shape.field(name)
                out[name] = remove(one, below, inner) if inner is not None else one
        return out
    if shape.kind == "list" and isinstance(value, list) and not shape.atomic:
        kept = []
        for place, item in enumerate(value):
            below = gone.get(_loose_key(item, place, shape))
            if below is None:
                kept.append(item)
            elif below and "." not in below:
                kept.append(remove(item, below, shape.of))
        return kept
    return value
