"""One view of types for server-side apply, over built-in structs and custom resources' schemas alike.

`Shape` says of a place in an object whether it is a scalar, a struct or map, or a list, and how it is owned.
Source: structured-merge-diff's schema; x-kubernetes-list-type, -list-map-keys, -map-type.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple

from ..schema.facts import Field, Struct, Type, struct


class Shape:
    """`kind`: scalar, map (also structs), list. `keys`: of a keyed list; `set`: a list of distinct scalars."""

    __slots__ = ("_fields", "_of", "atomic", "closed", "defaults", "keys", "kind", "set")

    def __init__(
        self, kind: str, *, atomic: bool = False, keys: tuple[str, ...] = (), set_: bool = False, closed: bool = False
    ) -> None:
        self.kind, self.atomic, self.keys, self.set, self.closed = kind, atomic, keys, set_, closed
        self.defaults: dict[str, Any] = {}
        self._fields: Any = {}
        self._of: Any = None

    def field(self, name: str) -> Shape | None:
        """The shape of a member; None when the type does not have it."""
        found = self._fields(name) if callable(self._fields) else self._fields.get(name)
        if found is not None:
            return found  # type: ignore[no-any-return]
        if self._of is not None:
            return self.of
        return None if self.closed else UNKNOWN

    @property
    def of(self) -> Shape:
        """The shape of items, or of a map's values."""
        found = self._of() if callable(self._of) else self._of
        return found if found is not None else UNKNOWN


SCALAR = Shape("scalar")
UNKNOWN = Shape("unknown")  # told by the value: maps are granular, lists atomic


def shape_for(value: Any, shape: Shape) -> Shape:
    """The shape, made up from the value where nothing is declared."""
    if shape is not UNKNOWN:
        return shape
    if isinstance(value, dict):
        return _OPEN_MAP
    return _ATOMIC_LIST if isinstance(value, list) else SCALAR


_OPEN_MAP = Shape("map")
_ATOMIC_LIST = Shape("list", atomic=True)


@cache
def struct_shape(name: str) -> Shape:
    facts = struct(name)
    made = Shape("map", atomic=facts.atomic, closed=True)
    made._fields = lambda one: _member(name, one)
    return made


@cache
def _member(owner: str, name: str) -> Shape | None:
    facts: Struct = struct(owner)
    field = facts.fields.get(name)
    return None if field is None else _field_shape(field)


def _field_shape(field: Field) -> Shape:
    made = _type_shape(field.type)
    if field.type.name == "list":
        out = Shape(
            "list",
            atomic=field.relation != "associative",
            keys=field.keys,
            set_=field.relation == "associative" and not field.keys,
        )
        of = field.type.of
        assert of is not None
        out._of = lambda: _type_shape(of)
        if field.keys and of.name == "struct":
            facts = struct(of.struct)
            out.defaults = {
                key: facts.fields[key].default for key in field.keys if facts.fields[key].default is not None
            }
        return out
    if field.relation == "atomic" and made.kind == "map":
        out = Shape("map", atomic=True)
        out._fields, out._of = made._fields, made._of
        return out
    return made


def _type_shape(type_: Type) -> Shape:
    if type_.name == "struct":
        return struct_shape(type_.struct)
    if type_.name == "map":
        of = type_.of
        assert of is not None
        made = Shape("map")
        made._of = lambda: _type_shape(of)
        return made
    if type_.name == "list":
        of = type_.of
        assert of is not None
        made = Shape("list", atomic=True)
        made._of = lambda: _type_shape(of)
        return made
    return UNKNOWN if type_.name == "any" else SCALAR


class _SchemaShapes(NamedTuple):
    """Shapes of an OpenAPI schema are built lazily, for schemas may be deep."""

    schema: dict[str, Any]


def schema_shape(schema: dict[str, Any] | None) -> Shape:
    """The shape of a custom resource's (part of a) schema."""
    if not schema or schema.get("x-kubernetes-int-or-string"):
        return UNKNOWN
    kind = schema.get("type")
    if kind == "object" or "properties" in schema or "additionalProperties" in schema:
        preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        if not properties and not extra:
            return UNKNOWN if preserve else Shape("map", closed=True)
        made = Shape("map", atomic=schema.get("x-kubernetes-map-type") == "atomic", closed=not preserve and not extra)
        made._fields = {name: schema_shape(one) for name, one in properties.items()}
        if isinstance(extra, dict):
            made._of = schema_shape(extra)
        return made
    if kind == "array":
        relation = schema.get("x-kubernetes-list-type", "atomic")
        made = Shape(
            "list",
            atomic=relation == "atomic",
            keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
            set_=relation == "set",
        )
        items = schema.get("items") or {}
        made._of = schema_shape(items)
        for key in made.keys:
            default = (items.get("properties") or {}).get(key, {}).get("default")
            if default is not None:
                made.defaults[key] = default
        return made
    return SCALAR if kind else UNKNOWN


class NotTyped(ValueError):
    """The value does not fit its type: an undeclared field, a duplicate key. The message is structured-merge-diff's."""


def item_key(item: Any, place: int, shape: Shape) -> str:
    """How fieldsV1 writes an item of a list: by key, by value, or by place."""
    if shape.keys:
        if not isinstance(item, dict):
            raise NotTyped("associative list with keys may not have non-map elements")
        found = {}
        for key in sorted(shape.keys):
            value = item.get(key, shape.defaults.get(key))
            if value is not None:
                found[key] = value
        if not found:
            names = ", ".join(f'"{key}"' for key in sorted(shape.keys))
            raise NotTyped(
                f"associative list with keys has an element that omits all key fields [{names}]".replace(", ", " ")
            )
        return "k:" + json.dumps(found, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    if shape.set:
        return "v:" + json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    return f"i:{place}"
