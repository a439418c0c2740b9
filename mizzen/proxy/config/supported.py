"""The gate that every configuration message passes: a field that is set and that this proxy does not serve is refused by name.

Takes messages as they came (a resource, or what an Any holds, which the gate is given when it is unpacked). Which fields
are served is data (fields.py, no_effect.py); what values they may have, their readers say.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.fields import FIELDS
from mizzen.proxy.config.no_effect import NO_EFFECT, OPAQUE
from mizzen.wire import newer

LEAF, ONE, MANY, MAP = range(4)
_kinds: dict[str, dict[str, int]] = {}
_lenient = False


def ignore_unknown(lenient: bool) -> None:
    """Whether fields that this proxy's messages do not have are passed over (--ignore-unknown-dynamic-fields)."""
    global _lenient
    _lenient = lenient


def check(message: Any, where: str) -> None:
    """Raise Unsupported that names the first field which is set and not served: `where.field.field`.

    A field that is newer than the messages here is told by its number.
    """
    descriptor = message.DESCRIPTOR
    kinds = _kinds.get(descriptor.full_name)
    if kinds is None:
        kinds = _kinds_of(descriptor)
    if not _lenient and len(unknown := UnknownFieldSet(message)):
        _newer(descriptor.full_name, {unknown[at].field_number for at in range(len(unknown))}, where)
    for field, value in message.ListFields():
        name = field.name
        kind = kinds.get(name)
        if kind is None:
            raise Unsupported(f"{where}.{name}")
        if kind == ONE:
            check(value, f"{where}.{name}")
        elif kind == MANY:
            for each in value:
                check(each, f"{where}.{name}")
        elif kind == MAP:
            for key in value:
                check(value[key], f"{where}.{name}[{key}]")


def _newer(name: str, numbers: set[int], where: str) -> None:
    """Fields that the message's class does not have: those of wire.newer that are listed are served."""
    served = FIELDS.get(name, "").split()
    known = {field.number: field.name for field in newer.FIELDS if field.message == name}
    for number in sorted(numbers):
        if number not in known:
            raise Unsupported(f"{where}: field {number} of {name}, which is newer than this proxy")
        if known[number] not in served:
            raise Unsupported(f"{where}.{known[number]}")


def _kinds_of(descriptor: Any) -> dict[str, int]:
    """How each field that may be set is gone into."""
    kinds = dict.fromkeys(NO_EFFECT.get(descriptor.full_name, {}), LEAF)
    for name in FIELDS.get(descriptor.full_name, "").split():
        if name in descriptor.fields_by_name:  # else it is one of wire.newer
            kinds[name] = _kind_of(descriptor.fields_by_name[name])
    _kinds[descriptor.full_name] = kinds
    return kinds


def _kind_of(field: Any) -> int:
    message = field.message_type
    if message is None or message.full_name in OPAQUE:
        return LEAF
    if not message.GetOptions().map_entry:
        return MANY if field.is_repeated else ONE
    value = message.fields_by_name["value"].message_type
    return LEAF if value is None or value.full_name in OPAQUE else MAP
