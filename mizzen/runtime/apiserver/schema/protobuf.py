"""Reads objects that clients send as Kubernetes' protobuf (application/vnd.kubernetes.protobuf), which kubectl does for some kinds.

Takes bytes, gives the JSON tree that they stand for; field numbers come with the facts. Only reading: answers go out as JSON,
which those clients take as well. Source: apimachinery's runtime.Unknown envelope; the protobuf wire format.
"""

from __future__ import annotations

import base64
import json
import struct as packing
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from .facts import Field, Type, struct, struct_of

MAGIC = b"k8s\x00"
Tree = dict[str, Any]


class Malformed(ValueError):
    """Bytes that are not such a message."""


class Envelope(NamedTuple):
    api_version: str
    kind: str
    raw: bytes
    content_type: str


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise Malformed("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an integer, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise Malformed("unexpected EOF")
            yield number, data[at : at + size]
            at += size
        elif wire == 1:
            yield number, data[at : at + 8]
            at += 8
        elif wire == 5:
            yield number, data[at : at + 4]
            at += 4
        else:
            raise Malformed(f"illegal wireType {wire}")


def envelope(body: bytes) -> Envelope:
    """The outer message of a body. Raises Malformed."""
    if not body.startswith(MAGIC):
        raise Malformed("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    version = kind = content = ""
    raw = b""
    for number, value in _fields(body[4:]):
        if number == 1:
            meta = {inner: text.decode() for inner, text in _fields(value)}
            version, kind = meta.get(1, ""), meta.get(2, "")
        elif number == 2:
            raw = value
        elif number == 4:
            content = value.decode()
    return Envelope(version, kind, raw, content)


def decode(body: bytes) -> Tree:
    """The object in a body, with apiVersion and kind. Raises Malformed."""
    outer = envelope(body)
    if outer.content_type == "application/json":
        tree: Tree = json.loads(outer.raw)
        return tree
    shape = struct_of(outer.api_version, outer.kind)
    if shape is None and outer.kind.endswith("Options"):
        shape = struct("meta/v1.DeleteOptions")
    if shape is None:
        raise Malformed(f'no kind "{outer.kind}" is registered for version "{outer.api_version}"')
    return {"kind": outer.kind, "apiVersion": outer.api_version, **_message(shape.name, outer.raw)}


@cache
def _by_number(name: str) -> dict[int, Any]:
    """Fields of a struct by number; an embedded message is a dict of its own."""
    out: dict[int, Any] = {}
    for field in struct(name).fields.values():
        node = out
        for step in field.numbers[:-1]:
            node = node.setdefault(step, {})
        if field.numbers:
            node[field.numbers[-1]] = field
    return out


def _message(name: str, data: bytes) -> Tree:
    out: Tree = {}
    _fill(out, _by_number(name), data)
    return out


def _fill(out: Tree, table: dict[int, Any], data: bytes) -> None:
    for number, value in _fields(data):
        field = table.get(number)
        if isinstance(field, dict):
            _fill(out, field, value)
        elif field is not None:
            _put(out, field, value)


def _put(out: Tree, field: Field, value: Any) -> None:
    type_ = field.type
    if type_.name == "list":
        assert type_.of is not None
        items = out.setdefault(field.name, [])
        if isinstance(value, bytes) and type_.of.name in ("int32", "int64", "bool"):
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                items.append(_scalar(type_.of, one))
        else:
            items.append(_scalar(type_.of, value))
    elif type_.name == "map":
        assert type_.of is not None
        entry = dict(_fields(value))
        out.setdefault(field.name, {})[entry.get(1, b"").decode()] = _scalar(type_.of, entry.get(2, b""))
    else:
        out[field.name] = _scalar(type_, value)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _scalar(type_: Type, value: Any) -> Any:
    match type_.name:
        case "struct":
            return _message(type_.struct, value)
        case "string":
            return value.decode()
        case "int32" | "int64" | "uint32":
            return _signed(value)
        case "bool":
            return bool(value)
        case "bytes":
            return base64.b64encode(value).decode()
        case "float64":
            return packing.unpack("<d", value)[0]
        case "quantity":
            return dict(_fields(value)).get(1, b"0").decode() or "0"
        case "time" | "microtime":
            return _time(value, type_.name == "microtime")
        case "intstr":
            parts = dict(_fields(value))
            return parts.get(3, b"").decode() if parts.get(1) else _signed(parts.get(2, 0))
        case "duration":
            return f"{_signed(dict(_fields(value)).get(1, 0)) / 1e9:g}s"
        case "any":
            raw = dict(_fields(value)).get(1, b"null")
            return json.loads(raw) if raw else None
        case "list":  # a named list type travels as a message of its own
            assert type_.of is not None
            return [_scalar(type_.of, one) for number, one in _fields(value) if number == 1]
    raise Malformed(f"unknown type {type_.name}")


def _time(value: bytes, micro: bool) -> str | None:
    parts = dict(_fields(value))
    if not parts:
        return None
    moment = datetime.fromtimestamp(_signed(parts.get(1, 0)) + parts.get(2, 0) / 1e9, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
