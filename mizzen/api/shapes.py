"""Shapes: what a value of a msgspec type looks like as JSON, with every difference named by its path.

Compiled once for each type from its annotations (`shape`), then used to check values (`Shape.check` yields every error,
where msgspec stops at the first and cannot name a mapping's key), and to write CRD schemas (crds.py).
Source: the Kubernetes rules for structural schemas. Not here: the rules on top of types (schema_rules.py), defaults.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
import re2
from msgspec import inspect

from mizzen.api import schema_rules
from mizzen.api.errors import Invalid
from mizzen.api.schema_rules import Rule
from mizzen.api.types import Duration


class Shape:
    """Any value at all."""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        """Every way in which value, found at path, differs from the shape."""
        return iter(())


class Text(Shape):
    """A string, perhaps with bounds of its length in characters, a pattern, or a format."""

    def __init__(
        self, shortest: int = 0, longest: int | None = None, pattern: str | None = None, form: str = ""
    ) -> None:
        self.shortest, self.longest, self.pattern, self.form = shortest, longest, pattern, form
        self._compiled = re2.compile(pattern) if pattern else None

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, str):
            yield Invalid(path, f"a string is expected, not {described(value)}")
        elif len(value) < self.shortest:
            yield Invalid(path, "must not be empty" if self.shortest == 1 else f"at least {self.shortest} characters")
        elif self.longest is not None and len(value) > self.longest:
            yield Invalid(path, f"has {len(value)} characters, at most {self.longest} are allowed")
        elif self._compiled is not None and not self._compiled.search(value):
            yield Invalid(path, f"{value!r} does not match {self.pattern}")


class Choice(Shape):
    """One of a few strings."""

    def __init__(self, values: tuple[str | int, ...]) -> None:
        self.values = values

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if value not in self.values:
            known = tuple(str(choice) for choice in self.values)
            hint = nearest(value, known) if isinstance(value, str) else ""
            yield Invalid(path, f"{described(value)} is none of {', '.join(known)}{hint}")


class Number(Shape):
    """A number, perhaps whole, perhaps with bounds (inclusive)."""

    def __init__(self, whole: bool, least: float | None = None, most: float | None = None) -> None:
        self.whole, self.least, self.most = whole, least, most

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or (self.whole and not whole(value)):
            yield Invalid(path, f"{'an integer' if self.whole else 'a number'} is expected, not {described(value)}")
        elif self.least is not None and value < self.least:
            yield Invalid(path, f"{value} is less than {self.least:g}")
        elif self.most is not None and value > self.most:
            yield Invalid(path, f"{value} is more than {self.most:g}")


def whole(value: float) -> bool:
    """Whether a number is an integer of 64 bits, which is all that Kubernetes reads as one."""
    return -(2**63) <= value < 2**63 and (isinstance(value, int) or value.is_integer())


class Truth(Shape):
    """true or false."""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, bool):
            yield Invalid(path, f"true or false is expected, not {described(value)}")


class Span(Shape):
    """A duration of at least some nanoseconds, or of any length (None); perhaps only in some of Go's forms."""

    def __init__(self, least: int | None = None) -> None:
        self.least = least
        self.pattern = ""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, str):
            yield Invalid(path, f"a duration such as 1.5s is expected, not {described(value)}")
            return
        try:
            span = Duration.parse(value)
        except ValueError as error:
            yield Invalid(path, str(error))
            return
        if self.pattern and not re2.search(self.pattern, value):
            yield Invalid(path, f"{value!r} does not match {self.pattern}")
        if self.least is not None and span.nanos < self.least:
            yield Invalid(path, f"{value} is less than {Duration(self.least)}")


class Instant(Shape):
    """A moment, by RFC 3339."""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        try:
            msgspec.convert(value, type=datetime)
        except msgspec.ValidationError:
            yield Invalid(path, f"a time such as 2026-01-31T12:00:00Z is expected, not {described(value)}")


class IntOrString(Shape):
    """An integer or a string."""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield Invalid(path, f"an integer or a string is expected, not {described(value)}")


class FreeObject(Shape):
    """A JSON object with any content."""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, Mapping):
            yield Invalid(path, f"an object is expected, not {described(value)}")


class Ruled(Shape):
    """A shape with rules on top, which are looked at when the value is otherwise right."""

    def __init__(self, inner: Shape, rules: tuple[Rule, ...]) -> None:
        self.inner, self.rules = inner, rules

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        sound = True
        for error in self.inner.check(value, path):
            sound = False
            yield error
        if sound:
            yield from broken(self.rules, value, path)


class Items(Shape):
    """A list. key: the field of its items by which it is a mapping, if it is one."""

    def __init__(self, item: Shape, fewest: int = 0, most: int | None = None) -> None:
        self.item, self.fewest, self.most = item, fewest, most
        self.key = ""

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, list | tuple):
            yield Invalid(path, f"a list is expected, not {described(value)}")
            return
        yield from too_many(len(value), self.fewest, self.most, path)
        for at, item in enumerate(value):
            yield from self.item.check(item, f"{path}[{at}]")
        if self.key:
            keys = [item.get(self.key) if isinstance(item, Mapping) else None for item in value]
            for at, key in enumerate(keys):
                if key is not None and key in keys[:at]:
                    yield Invalid(f"{path}[{at}].{self.key}", f"{described(key)} stands twice")


class Entries(Shape):
    """A mapping from any string."""

    def __init__(self, value: Shape, fewest: int = 0, most: int | None = None) -> None:
        self.value, self.fewest, self.most = value, fewest, most
        self.key_rule: Rule | None = None

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, Mapping):
            yield Invalid(path, f"an object is expected, not {described(value)}")
            return
        present = {key: entry for key, entry in value.items() if entry is not None}
        yield from too_many(len(present), self.fewest, self.most, path)
        for key, entry in present.items():
            if not isinstance(key, str):
                yield Invalid(f"{path}[{key}]", "a key has to be a string")
                continue
            if self.key_rule is not None and not self.key_rule.holds(key):
                yield Invalid(f"{path}[{key}]", f"{key!r}: {self.key_rule.message}")
            yield from self.value.check(entry, f"{path}[{key}]")


class Fields(Shape):
    """An object with known fields.

    aliases: further names that a schema takes for a field. proto_names: the names that protobuf's JSON reader takes.
    """

    def __init__(self, type_: type, is_open: bool) -> None:
        self.type = type_
        self.is_open = is_open
        self.rules = schema_rules.OBJECT_RULES.get(type_, ())
        self.aliases = schema_rules.PROTO_NAMES.get(type_, {})
        self.fields: dict[str, Shape] = {}
        self.required: tuple[str, ...] = ()
        self.proto_names: dict[str, str] = {}

    def check(self, value: Any, path: str) -> Iterator[Invalid]:
        if not isinstance(value, Mapping):
            yield Invalid(path, f"an object is expected, not {described(value)}")
            return
        sound = True
        for error in self.check_fields(value, path):
            sound = False
            yield error
        if sound:
            yield from broken(self.rules, without_nulls(value), path) if self.rules else ()

    def check_fields(self, value: Mapping[str, Any], path: str) -> Iterator[Invalid]:
        """The errors of the single fields."""
        for name, entry in value.items():
            shape = self.fields.get(str(name)) or self.fields.get(self.aliases.get(str(name), ""))
            if shape is None:
                if not self.is_open:
                    yield Invalid(joined(path, name), f"unknown field{nearest(str(name), tuple(self.fields))}")
            elif entry is not None:
                yield from shape.check(entry, joined(path, name))
        for name in self.required:
            if value.get(name) is None:
                yield Invalid(joined(path, name), "is required")

    def tidied(self, value: Any) -> Any:
        """The value without fields that are null, and with each field under its own name."""
        if not isinstance(value, Mapping):
            return value
        result = {}
        for name, entry in value.items():
            known = self.aliases.get(str(name), str(name))
            if entry is not None or (self.is_open and known not in self.fields):
                result[known] = tidied(self.fields.get(known), entry)
        return result


def tidied(form: Shape | None, value: Any) -> Any:
    """The value without fields that are null: as good as absent where a field may stand. Free JSON stays as it is."""
    if isinstance(form, Ruled):
        return tidied(form.inner, value)
    if isinstance(form, Fields):
        return form.tidied(value)
    if isinstance(form, Items) and isinstance(value, list | tuple):
        return [tidied(form.item, item) for item in value]
    if isinstance(form, Entries) and isinstance(value, Mapping):
        messages = isinstance(form.value, Fields)  # a message that is null is there, and empty
        given = {key: {} if entry is None and messages else entry for key, entry in value.items()}
        return {key: tidied(form.value, entry) for key, entry in given.items() if entry is not None}
    return value


def without_nulls(value: Any) -> Any:
    """A JSON value as rules see it: fields and entries that are null are not there."""
    if isinstance(value, Mapping):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def broken(rules: tuple[Rule, ...], value: Any, path: str) -> Iterator[Invalid]:
    """The rules that a value breaks."""
    for rule in rules:
        if not rule.holds(value):
            blame = rule.blame if isinstance(rule.blame, str) else rule.blame(value)
            yield Invalid(joined(path, blame) if blame else path, rule.message)


def joined(path: str, name: object) -> str:
    """The path of a field of the object at path."""
    return f"{path}.{name}" if path else str(name)


def nearest(word: str, known: tuple[str, ...]) -> str:
    """ " (did you mean X?)" for the nearest of the known words, or nothing."""
    folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower().replace("_", ""), list(folded), n=1, cutoff=0.5)
    return f" (did you mean {folded[close[0]]}?)" if close else ""


def described(value: Any) -> str:
    """A value in an error message: short, as JSON would show it."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def too_many(count: int, fewest: int, most: int | None, path: str) -> Iterator[Invalid]:
    """The error of a list or mapping with too few or too many entries."""
    if count < fewest:
        yield Invalid(path, f"has {count} entries, at least {fewest} are needed")
    elif most is not None and count > most:
        yield Invalid(path, f"has {count} entries, at most {most} are allowed")


@cache
def shape(type_: Any) -> Shape:
    """The shape of a type's values. Types that hold themselves are fine."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _struct(type_)
    return _shape(inspect.type_info(type_))


_STRUCTS: dict[type, Fields] = {}
# lightkube's models say `dict` of these; Kubernetes says map of strings.
STRING_MAPS = frozenset(
    {
        "ConfigMap.data",
        "LabelSelector.matchLabels",
        "ObjectMeta.annotations",
        "ObjectMeta.labels",
        "PodSpec.nodeSelector",
        "ReplicationControllerSpec.selector",
        "Scheduling.nodeSelector",
        "Secret.data",
        "Secret.stringData",
        "ServiceSpec.selector",
    }
)


def _struct(type_: type[msgspec.Struct]) -> Fields:
    known = _STRUCTS.get(type_)
    if known is not None:
        return known
    fields = _STRUCTS[type_] = Fields(type_, not forbids_unknown(type_))
    required = []
    for field in msgspec.structs.fields(type_):
        fields.fields[field.encode_name] = _ruled(type_, field.encode_name, _annotation(field.type))
        fields.proto_names[field.name.rstrip("_")] = field.encode_name
        if field.required:
            required.append(field.encode_name)
    fields.required = tuple(required)
    return fields


def _ruled(owner: type, name: str, form: Shape) -> Shape:
    """The shape of a field with the rules that schema_rules.py has for it."""
    where = owner, name
    if f"{owner.__name__}.{name}" in STRING_MAPS and owner.__module__.startswith("lightkube."):
        return Entries(Text())
    if isinstance(form, Span) and owner.__module__.startswith("mizzen.api.gateway_api"):
        form.pattern = schema_rules.GATEWAY_API_DURATION
    if isinstance(form, Span) and owner.__module__ in schema_rules.DURATION_MODULES:
        form.least = None if where in schema_rules.ANY_DURATION else schema_rules.LEAST_NANOS
    if isinstance(form, Items):
        form.key = schema_rules.MAP_LISTS.get(where, "")
        if where in schema_rules.ITEM_RULES:
            form.item = Ruled(form.item, schema_rules.ITEM_RULES[where])
    elif isinstance(form, Entries):
        form.key_rule = schema_rules.KEY_RULES.get(where)
        if where in schema_rules.ITEM_RULES:
            form.value = Ruled(form.value, schema_rules.ITEM_RULES[where])
    rules = schema_rules.FIELD_RULES.get(where)
    return Ruled(form, rules) if rules else form


def forbids_unknown(type_: type[msgspec.Struct]) -> bool:
    """Whether unknown fields are errors: in ours as the type says, in lightkube's always (it would drop them)."""
    return type_.__struct_config__.forbid_unknown_fields or type_.__module__.startswith("lightkube.")


def _annotation(type_: Any) -> Shape:
    return shape(type_) if isinstance(type_, type) and issubclass(type_, msgspec.Struct) else _shape(_info(type_))


@cache
def _info(type_: Any) -> inspect.Type:
    return inspect.type_info(type_)


def _shape(info: inspect.Type) -> Shape:  # one branch for each kind of type
    match info:
        case inspect.Metadata():
            return _shape(info.type)
        case inspect.StructType():
            return _struct(info.cls)
        case inspect.StrType():
            return Text(info.min_length or 0, info.max_length, info.pattern)
        case inspect.LiteralType():
            return Choice(tuple(value for value in info.values if isinstance(value, str | int)))
        case inspect.IntType():
            return Number(True, info.ge, info.le)
        case inspect.FloatType():
            return Number(False, info.ge, info.le)
        case inspect.BoolType():
            return Truth()
        case inspect.DateTimeType():
            return Instant()
        case inspect.VarTupleType() | inspect.ListType():
            return Items(_shape(info.item_type), info.min_length or 0, info.max_length)
        case inspect.DictType():
            if isinstance(info.value_type, inspect.AnyType):
                return FreeObject()
            return Entries(_shape(info.value_type), info.min_length or 0, info.max_length)
        case inspect.CustomType() if info.cls is Duration:
            return Span()
        case inspect.UnionType():
            members = [member for member in info.types if not isinstance(member, inspect.NoneType)]
            if len(members) == 1:
                return _shape(members[0])
            if {type(member) for member in members} == {inspect.IntType, inspect.StrType}:
                return IntOrString()
            return Shape()
        case _:
            return Shape()
