"""Structural schemas at work: pruning, defaulting, validation of objects.

Takes (parts of) an openAPIV3Schema and values; changes values in place or gives problems. CEL rules are rules.py's.
Source: apiextensions-apiserver's structural schemas; kube-openapi's validation (texts).
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import re
import uuid
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import re2

from ..errors import Problem, duplicate, invalid, required, show, too_many
from ..schema.scalars import canonical_time

Schema = dict[str, Any]
META_FIELDS = frozenset(("apiVersion", "kind", "metadata"))


def prune(
    value: Any, schema: Schema | None, path: str, unknown: list[str], *, root: bool = False, keep: bool = False
) -> None:
    """Takes out what the schema does not name; paths of what went are added to `unknown`."""
    schema = schema or {}
    if isinstance(value, list):
        for place, item in enumerate(value):
            prune(item, schema.get("items"), f"{path}[{place}]", unknown, keep=keep and not schema.get("items"))
        return
    if not isinstance(value, dict):
        return
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    preserve = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or (keep and not schema)
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in list(value):
        here = f"{path}.{key}" if path else key
        if embedded and key in META_FIELDS:
            continue
        if key in properties:
            prune(value[key], properties[key], here, unknown)
        elif isinstance(extra, dict):
            prune(value[key], extra, here, unknown)
        elif extra is True or preserve:
            continue
        else:
            del value[key]
            unknown.append(here)


def default(value: Any, schema: Schema | None) -> None:
    """Fills in defaults, outermost first; null where it may not be counts as absent."""
    if not schema:
        return
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        for key, one in properties.items():
            if value.get(key) is None and "default" in one and (key not in value or not one.get("nullable")):
                value[key] = copy.deepcopy(one["default"])
            if key in value:
                default(value[key], one)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for key in value:
                if key not in properties:
                    default(value[key], extra)
    elif isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, dict):
            for item in value:
                default(item, items)


def drop_nulls(value: Any, schema: Schema | None) -> None:
    """Takes out nulls where they may not be (fields and entries that are not nullable), before defaulting."""
    if isinstance(value, dict) and schema:
        properties = schema.get("properties") or {}
        for key in list(value):
            one = properties.get(key) or schema.get("additionalProperties")
            if not isinstance(one, dict):
                continue
            if value[key] is None and not one.get("nullable"):
                del value[key]
            else:
                drop_nulls(value[key], one)
    elif isinstance(value, list) and schema and isinstance(schema.get("items"), dict):
        for item in value:
            drop_nulls(item, schema["items"])


_KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}


def json_type(value: Any) -> str:
    return "null" if value is None else _KINDS.get(type(value), "object")


class Validation:
    """One validation of one value; `problems` collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def run(self, value: Any, schema: Schema, path: str) -> list[Problem]:
        self._value(value, schema, path)
        return self.problems

    def _value(self, value: Any, schema: Schema, path: str) -> None:
        if value is None and schema.get("nullable"):
            return
        if not self._type(value, schema, path):
            return
        enum = schema.get("enum")
        if enum is not None and value not in enum:
            from ..errors import unsupported

            self.problems.append(
                unsupported(path, value, enum)
                if isinstance(value, str)
                else Problem(
                    path,
                    "FieldValueNotSupported",
                    f"Unsupported value: {show(value)}: supported values: {', '.join(show(one) for one in enum)}",
                )
            )
        if isinstance(value, str):
            self._string(value, schema, path)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self._number(value, schema, path)
        elif isinstance(value, list):
            self._list(value, schema, path)
        elif isinstance(value, dict):
            self._object(value, schema, path)
        self._combined(value, schema, path)

    def _type(self, value: Any, schema: Schema, path: str) -> bool:
        wanted, have = schema.get("type"), json_type(value)
        if schema.get("x-kubernetes-int-or-string"):
            if have in ("integer", "string"):
                return True
            self._mistyped(path, have, "integer,string")
            return False
        if not wanted or wanted == have or (wanted == "number" and have == "integer"):
            return True
        if wanted == "integer" and isinstance(value, float) and value.is_integer():
            return True
        self._mistyped(path, have, wanted)
        if wanted == "integer" and have == "number":
            self.problems.append(
                Problem(
                    "<nil>",
                    "FieldValueInvalid",
                    f'Invalid value: "": Checked value must be of type integer (default format) in {path}',
                )
            )
        return False

    def _mistyped(self, path: str, have: str, wanted: str) -> None:
        self.problems.append(
            Problem(
                path,
                "FieldValueTypeInvalid",
                f'Invalid value: "{have}": {path} in body must be of type {wanted}: "{have}"',
            )
        )

    def _string(self, value: str, schema: Schema, path: str) -> None:
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            self.problems.append(
                Problem(path, "FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} bytes")
            )
        if "minLength" in schema and len(value) < schema["minLength"]:
            self.problems.append(
                invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
            )
        if schema.get("pattern") and not _matches(schema["pattern"], value):
            self.problems.append(invalid(path, value, f"{path} in body should match '{schema['pattern']}'"))
        form = schema.get("format")
        if form and not _formatted(form, value):
            self.problems.append(
                Problem(
                    path,
                    "FieldValueTypeInvalid",
                    f"Invalid value: {show(value)}: {path} in body must be of type {form}: {show(value)}",
                )
            )

    def _number(self, value: float, schema: Schema, path: str) -> None:
        if "maximum" in schema:
            strict = bool(schema.get("exclusiveMaximum"))
            if value > schema["maximum"] or (strict and value == schema["maximum"]):
                word = "less than" if strict else "less than or equal to"
                self.problems.append(
                    invalid(path, value, f"{path} in body should be {word} {_plain(schema['maximum'])}")
                )
        if "minimum" in schema:
            strict = bool(schema.get("exclusiveMinimum"))
            if value < schema["minimum"] or (strict and value == schema["minimum"]):
                word = "greater than" if strict else "greater than or equal to"
                self.problems.append(
                    invalid(path, value, f"{path} in body should be {word} {_plain(schema['minimum'])}")
                )
        step = schema.get("multipleOf")
        if step and (Fraction(str(value)) / Fraction(str(step))).denominator != 1:
            self.problems.append(invalid(path, value, f"{path} in body should be a multiple of {_plain(step)}"))
        if schema.get("format") == "int32" and not -(2**31) <= value < 2**31:
            self.problems.append(
                Problem(
                    "<nil>",
                    "FieldValueInvalid",
                    f'Invalid value: "": Checked value must be of type integer with format int32 in {path}',
                )
            )

    def _list(self, value: list[Any], schema: Schema, path: str) -> None:
        if "maxItems" in schema and len(value) > schema["maxItems"]:
            self.problems.append(too_many(path, len(value), schema["maxItems"]))
        if "minItems" in schema and len(value) < schema["minItems"]:
            self.problems.append(
                invalid(path, len(value), f"{path} in body should have at least {schema['minItems']} items")
            )
        items = schema.get("items")
        if isinstance(items, dict):
            for place, item in enumerate(value):
                self._value(item, items, f"{path}[{place}]")

    def _object(self, value: dict[str, Any], schema: Schema, path: str) -> None:
        prefix = f"{path}." if path else ""
        if "maxProperties" in schema and len(value) > schema["maxProperties"]:
            self.problems.append(too_many(path, len(value), schema["maxProperties"]))
        if "minProperties" in schema and len(value) < schema["minProperties"]:
            self.problems.append(
                invalid(path, len(value), f"{path} in body should have at least {schema['minProperties']} properties")
            )
        for name in schema.get("required") or ():
            if name not in value:
                self.problems.append(required(f"{prefix}{name}"))
        if schema.get("x-kubernetes-embedded-resource"):
            for name in ("apiVersion", "kind"):
                if not value.get(name):
                    self.problems.append(required(f"{prefix}{name}"))
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, one in value.items():
            inner = properties.get(key)
            if inner is None and isinstance(extra, dict):
                inner = extra
            if inner is not None and not (not path and key in META_FIELDS):
                self._value(one, inner, f"{prefix}{key}")

    def _combined(self, value: Any, schema: Schema, path: str) -> None:
        for one in schema.get("allOf") or ():
            self._value(value, one, path)
        if schema.get("anyOf") and not any(_fits(value, one, path) for one in schema["anyOf"]):
            self.problems.append(
                Problem(
                    "<nil>",
                    "FieldValueInvalid",
                    f'Invalid value: "": "{path}" must validate at least one schema (anyOf)',
                )
            )
        if schema.get("oneOf"):
            fitting = sum(_fits(value, one, path) for one in schema["oneOf"])
            if fitting != 1:
                found = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
                self.problems.append(
                    Problem(
                        "<nil>",
                        "FieldValueInvalid",
                        f'Invalid value: "": "{path}" must validate one and only one schema (oneOf). {found}',
                    )
                )
        if schema.get("not") and _fits(value, schema["not"], path):
            self.problems.append(
                Problem("<nil>", "FieldValueInvalid", f'Invalid value: "": "{path}" must not validate the schema (not)')
            )


def _fits(value: Any, schema: Schema, path: str) -> bool:
    return not Validation().run(value, schema, path)


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    try:
        return re2.compile(text)
    except re2.error:
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _pattern(pattern)
    return compiled is None or compiled.search(value) is not None


_DATE, _DURATION = re.compile(r"^\d{4}-\d\d-\d\d\Z"), re.compile(r"^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d|w))+\Z|^0\Z")
_EMAIL, _HOST = re.compile(r"^[^@\s]+@[^@\s]+\Z"), re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?\Z")


def _formatted(form: str, value: str) -> bool:
    """Whether a string has the format; formats that are not known are not looked at."""
    try:
        match form:
            case "date-time":
                canonical_time(value)
            case "date":
                return bool(_DATE.match(value))
            case "duration":
                return bool(_DURATION.match(value))
            case "ipv4":
                ipaddress.IPv4Address(value)
            case "ipv6":
                ipaddress.IPv6Address(value)
            case "cidr":
                ipaddress.ip_network(value, strict=False)
            case "uuid" | "uuid3" | "uuid4" | "uuid5":
                uuid.UUID(value)
            case "uri":
                return bool(urlsplit(value).scheme)
            case "byte":
                base64.b64decode(value, validate=True)
            case "email":
                return bool(_EMAIL.match(value))
            case "hostname":
                return bool(_HOST.match(value))
            case "mac":
                return bool(re.match(r"^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\Z", value))
    except ValueError:
        return False
    return True


def list_problems(value: Any, schema: Schema | None, path: str) -> Iterator[Problem]:
    """Items that come twice in lists of type set or map."""
    if not schema:
        return
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for key, one in value.items():
            yield from list_problems(
                one,
                properties.get(key) or (extra if isinstance(extra, dict) else None),
                f"{path}.{key}" if path else key,
            )
    elif isinstance(value, list):
        kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or ()
        seen: list[Any] = []
        for place, item in enumerate(value):
            if kind in ("set", "map"):
                mark = (
                    {key: item.get(key) for key in keys if key in item}
                    if kind == "map" and isinstance(item, dict)
                    else item
                )
                if mark in seen:
                    yield duplicate(f"{path}[{place}]", mark)
                seen.append(mark)
            yield from list_problems(item, schema.get("items"), f"{path}[{place}]")
