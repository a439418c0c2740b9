"""Strategic merge patch: merges lists by their declared keys, with Kubernetes' directives.

Takes the object's tree, the patch and the kind's struct, gives the new tree. Directives: $patch (merge, replace, delete),
$deleteFromPrimitiveList/x, $setElementOrder/x, $retainKeys. Source: apimachinery's strategicpatch.
"""

from __future__ import annotations

from typing import Any

from ..schema.facts import Field, Struct, Type, struct

PATCH = "$patch"
DELETE_FROM = "$deleteFromPrimitiveList/"
ORDER = "$setElementOrder/"
RETAIN = "$retainKeys"
Object = dict[str, Any]


class BadDirective(ValueError):
    """The patch itself makes no sense; the message is Kubernetes'."""


def go_map(value: Any) -> str:
    """A value as Go's %v prints it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_map(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(go_map(one) for one in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def strategic_merge(target: Any, patch: Object, shape: Struct | None) -> Any:
    """The target (may be changed) with the patch merged in. Raises BadDirective."""
    if PATCH in patch:
        word = patch[PATCH]
        rest = {key: value for key, value in patch.items() if key != PATCH}
        if word == "replace":
            return rest
        if word == "delete":
            return {}
        if word != "merge":
            raise BadDirective(f"unknown patch type: {word} in map: {go_map(patch)}")
        patch = rest
    out: Object = target if isinstance(target, dict) else {}
    if RETAIN in patch:
        out = {key: value for key, value in out.items() if key in patch[RETAIN]}
    for key, value in patch.items():
        if key == RETAIN or key.startswith((DELETE_FROM, ORDER)):
            continue
        _field(out, key, value, shape, patch)
    for key in patch:
        if key.startswith(DELETE_FROM) and key.removeprefix(DELETE_FROM) not in patch:
            _primitive(out, key.removeprefix(DELETE_FROM), [], patch)
        if key.startswith(ORDER) and key.removeprefix(ORDER) not in patch:
            name = key.removeprefix(ORDER)
            _reorder(out, name, patch[key], _merge_key(shape, name))
    return out


def _merge_key(shape: Struct | None, name: str) -> str:
    field = shape.fields.get(name) if shape else None
    return field.merge_key if field else ""


def _field(out: Object, key: str, value: Any, shape: Struct | None, patch: Object) -> None:
    if value is None:
        out.pop(key, None)
        return
    field = shape.fields.get(key) if shape else None
    if isinstance(value, dict):
        inner = _struct_of(field.type) if field else None
        if field and "replace" in field.strategies:
            out[key] = value
            return
        if value.get(PATCH) == "delete":
            out.pop(key, None)
            return
        out[key] = strategic_merge(out.get(key), value, inner)
        return
    if isinstance(value, list) and field and "merge" in field.strategies:
        if field.merge_key:
            _objects(out, key, value, field, patch)
        else:
            _primitive(out, key, value, patch)
        return
    out[key] = value


def _struct_of(type_: Type) -> Struct | None:
    if type_.name == "struct":
        return struct(type_.struct)
    return None


def _primitive(out: Object, key: str, value: list[Any], patch: Object) -> None:
    gone = patch.get(DELETE_FROM + key) or []
    merged = [one for one in out.get(key) or [] if one not in gone]
    merged += [one for one in value if one not in merged]
    if merged or key in out:
        out[key] = merged
    order = patch.get(ORDER + key)
    if order:
        out[key] = sorted(merged, key=lambda one: order.index(one) if one in order else len(order))


def _objects(out: Object, key: str, value: list[Any], field: Field, patch: Object) -> None:
    name, of = field.merge_key, field.type.of
    inner = _struct_of(of) if of else None
    current = list(out.get(key) or [])
    if any(isinstance(one, dict) and one.get(PATCH) == "replace" for one in value):
        out[key] = [one for one in value if PATCH not in one]
        return
    for one in value:
        if not isinstance(one, dict):
            raise BadDirective(f"expected a map in list {key}, got {go_map(one)}")
        if name not in one:
            raise BadDirective(f"map: {go_map(one)} does not contain declared merge key: {name}")
        same = [place for place, old in enumerate(current) if isinstance(old, dict) and old.get(name) == one[name]]
        word = one.get(PATCH)
        if word == "delete":
            current = [old for place, old in enumerate(current) if place not in same]
        elif word not in (None, "merge"):
            raise BadDirective(f"unknown patch type: {word} in map: {go_map(one)}")
        elif same:
            retain = inner is not None and "retainKeys" in field.strategies and RETAIN in one
            current[same[0]] = (
                strategic_merge(current[same[0]], one, inner) if not retain else _retained(current[same[0]], one, inner)
            )
        else:
            current.append(strategic_merge({}, one, inner))
    out[key] = current
    order = patch.get(ORDER + key)
    if order:
        _reorder(out, key, order, name)


def _retained(old: Object, one: Object, inner: Struct | None) -> Any:
    kept = {key: value for key, value in old.items() if key in one[RETAIN]}
    return strategic_merge(kept, {key: value for key, value in one.items() if key != RETAIN}, inner)


def _reorder(out: Object, key: str, order: list[Any], name: str) -> None:
    """Items named in the order come in that order; others keep their place relative to the items before them."""
    items = out.get(key)
    if not isinstance(items, list):
        return
    wanted = [one.get(name) if isinstance(one, dict) else one for one in order]

    def identity(item: Any) -> Any:
        return item.get(name) if isinstance(item, dict) else item

    named = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    others = [(place, item) for place, item in enumerate(items) if identity(item) not in wanted]
    out[key] = _woven(items, named, others)


def _woven(items: list[Any], named: list[Any], others: list[tuple[int, Any]]) -> list[Any]:
    place_of = {id(item): place for place, item in enumerate(items)}
    result: list[Any] = []
    waiting = list(others)
    for item in named:
        while waiting and waiting[0][0] < place_of[id(item)]:
            result.append(waiting.pop(0)[1])
        result.append(item)
    return result + [item for _, item in waiting]
