"""A short way to declare protobuf messages, for those that no installed package has.

`declare(file, package, {"Message": "type name number; repeated type name number"}, enums)` puts them into the default
descriptor pool. A type is a scalar's name, `map<string,string>`-like, or a message's or enum's full or package-local name.
Not here: the messages themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "double": _FIELD.TYPE_DOUBLE,
}
_LINE = re.compile(r"(repeated )?(map<\w+,\s*[\w.]+>|[\w.]+) (\w+) (\d+)")


def pool() -> descriptor_pool.DescriptorPool:
    """The pool that all generated and declared messages are in."""
    return descriptor_pool.Default()


def declare(
    file: str,
    package: str,
    messages: Mapping[str, str],
    enums: Mapping[str, Sequence[str]] | None = None,
    imports: Sequence[str] = (),
) -> None:
    """Put messages into the pool.

    messages: name, or Outer.Inner after Outer → fields separated by `;`; enums: name (may be Outer.Name) → value names.
    """
    proto = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3", dependency=list(imports))
    known: dict[str, Any] = {}
    for name in messages:
        outer, _, inner = name.rpartition(".")
        known[name] = (known[outer].nested_type if outer else proto.message_type).add(name=inner)
    for name, values in (enums or {}).items():
        outer, _, inner = name.rpartition(".")
        enum = (known[outer].enum_type if outer else proto.enum_type).add(name=inner)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in messages.items():
        for line in filter(None, (part.strip() for part in fields.split(";"))):
            _add_field(known[name], line, f"{package}.{name}", package, set(enums or ()))
    pool().Add(proto)


def _add_field(message: Any, line: str, full_name: str, package: str, enums: set[str]) -> None:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(f"{full_name}: not a field: {line!r}")
    repeated, kind, name, number = found[1], found[2], found[3], int(found[4])
    field = message.field.add(
        name=name, number=number, label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
    )
    if kind.startswith("map<"):
        key, value = kind[4:-1].replace(" ", "").split(",")
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, f"{key} key 1", full_name, package, enums)
        _add_field(entry, f"{value} value 2", full_name, package, enums)
        field.label, field.type = _FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE
        field.type_name = f".{full_name}.{entry.name}"
    elif kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_ENUM if kind in enums else _FIELD.TYPE_MESSAGE
        field.type_name = (
            f".{kind}"
            if kind.startswith(("google.", "envoy.", "xds.", "udpa.", "io.prometheus."))
            else f".{package}.{kind}"
        )


def message_class(full_name: str) -> Any:
    """The message class of a declared or imported name."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))
