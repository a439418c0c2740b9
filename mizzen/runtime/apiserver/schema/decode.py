"""Reads an object into a built-in kind's shape: what Go's decoder and encoder would make of it.

Takes a JSON tree and a struct, gives a new tree with the struct's fields alone, in its order, empties left out as Go leaves
them out, times and quantities canonical. Unknown fields are collected; a wrong type raises `Mistyped`.
Not here: defaults, validation, what unknown fields lead to (bodies.py).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from .facts import Field, Struct, Type, struct
from .scalars import canonical_quantity, canonical_time

_GO = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_LIMITS = {"int32": 2**31, "int64": 2**63, "uint32": 2**32, "uint16": 2**16, "uint8": 2**8}


class Mistyped(ValueError):
    """A value of the wrong JSON type; the message is encoding/json's."""


class Decoder:
    """One reading of one object; `unknown` holds the paths of fields that the kind does not have."""

    __slots__ = ("unknown",)

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def object(self, shape: Struct, value: dict[str, Any]) -> dict[str, Any]:
        return self._struct(shape, value, "", shape)

    def _struct(self, shape: Struct, value: Any, path: str, _owner: Struct | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Mistyped(
                f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type {_short(shape.name)}"
            )
        out: dict[str, Any] = {}
        fields = shape.fields
        used = 0
        for name, field in fields.items():
            given = value.get(name)
            if given is None:
                if name in value:
                    used += 1
                if not field.omit:
                    out[name] = self._zero(field)
                continue
            used += 1
            read = READERS.get(field.type.name)
            result = read(self, field.type, given, f"{path}.{name}" if path else name)  # type: ignore[misc]
            if not (field.omit and not field.pointer and _empty(result)):
                out[name] = result
        if used != len(value):
            self.unknown += [f"{path}.{name}" if path else name for name in value if name not in fields]
        return out

    def _zero(self, field: Field) -> Any:
        kind = field.type.name
        if field.pointer:
            return None
        if kind == "struct":
            return self._struct(struct(field.type.struct), {}, "")
        return ZEROS.get(kind)


def _empty(value: Any) -> bool:
    return value == "" or value is False or (value == 0 and value is not None) or value == {} or value == []


def _go(value: Any) -> str:
    return "null" if value is None else _GO.get(type(value), "value")


def _place(path: str) -> str:
    return path or "object"


def _short(name: str) -> str:
    return name.replace("/", ".", 1) if name.count("/") > 1 else name.split("/")[-1]


def _read_struct(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    return self._struct(struct(type_.struct), value, path)


def _read_list(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if not isinstance(value, list):
        raise Mistyped(
            f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type []{_type_name(type_.of)}"
        )
    of = type_.of
    assert of is not None
    read = READERS[of.name]
    return [
        read(self, of, item, f"{path}[{place}]") if item is not None else _null_item(self, of)
        for place, item in enumerate(value)
    ]


def _null_item(self: Decoder, of: Type) -> Any:
    if of.name == "struct":
        return self._struct(struct(of.struct), {}, "")
    return ZEROS.get(of.name)


def _read_map(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise Mistyped(
            f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} "
            f"of type map[string]{_type_name(type_.of)}"
        )
    of = type_.of
    assert of is not None
    read = READERS[of.name]
    if of.name == "string":
        for item in value.values():
            if type(item) is not str:
                break
        else:
            return {key: value[key] for key in sorted(value)}
    return {
        key: read(self, of, value[key], f"{path}.{key}") if value[key] is not None else _null_item(self, of)
        for key in sorted(value)
    }


def _read_string(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) is str:
        return value
    raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type string")


def _read_int(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) is int and -_LIMITS[type_.name] <= value < _LIMITS[type_.name]:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    seen = f"number {value}" if type(value) in (int, float) else _go(value)
    raise Mistyped(f"json: cannot unmarshal {seen} into Go struct field {_place(path)} of type {type_.name}")


def _read_float(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) in (int, float):
        return value
    raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type {type_.name}")


def _read_bool(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) is bool:
        return value
    raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type bool")


def _read_any(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    return value


def _read_bytes(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) is not str:
        raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type []uint8")
    try:
        return base64.b64encode(
            base64.b64decode(value.replace("\n", "").replace("\r", "").encode(), validate=True)
        ).decode()
    except (binascii.Error, ValueError):
        good = 0
        while good + 4 <= len(value) and _is_base64(value[good : good + 4]):
            good += 4
        raise Mistyped(f"illegal base64 data at input byte {good}") from None


def _is_base64(text: str) -> bool:
    return all(letter.isalnum() or letter in "+/=" for letter in text)


def _read_quantity(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) not in (str, int, float):
        raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go struct field {_place(path)} of type string")
    try:
        return canonical_quantity(value)
    except ValueError as error:
        raise Mistyped(str(error)) from None


def _read_intstr(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) in (str, int):
        return value
    raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go value of type int32")


def _read_time(self: Decoder, type_: Type, value: Any, path: str) -> Any:
    if type(value) is not str:
        raise Mistyped(f"json: cannot unmarshal {_go(value)} into Go value of type string")
    try:
        return canonical_time(value, micro=type_.name == "microtime")
    except ValueError as error:
        raise Mistyped(str(error)) from None


def _type_name(type_: Type | None) -> str:
    if type_ is None:
        return ""
    if type_.name in ("list", "map"):
        return ("[]" if type_.name == "list" else "map[string]") + _type_name(type_.of)
    if type_.name == "struct":
        package, _, name = type_.struct.rpartition(".")
        return f"{package.split('/')[-1]}.{name}"
    return type_.name


Reader = Callable[[Decoder, Type, Any, str], Any]
READERS: dict[str, Reader] = {
    "struct": _read_struct,
    "list": _read_list,
    "map": _read_map,
    "string": _read_string,
    "int32": _read_int,
    "int64": _read_int,
    "uint32": _read_int,
    "uint16": _read_int,
    "uint8": _read_int,
    "float64": _read_float,
    "float32": _read_float,
    "bool": _read_bool,
    "any": _read_any,
    "bytes": _read_bytes,
    "quantity": _read_quantity,
    "intstr": _read_intstr,
    "time": _read_time,
    "microtime": _read_time,
    "duration": _read_string,
}
ZEROS: dict[str, Any] = {
    "string": "",
    "bytes": "",
    "int32": 0,
    "int64": 0,
    "uint32": 0,
    "float64": 0,
    "bool": False,
    "quantity": "0",
    "intstr": 0,
    "duration": "0s",
}
