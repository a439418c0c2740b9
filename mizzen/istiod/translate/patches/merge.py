"""Merging protobuf messages as EnvoyFilter's MERGE does.

Set fields of the patch win, messages merge field by field, repeated fields are appended, map entries replaced; a Duration is
replaced as a whole, not field by field. Not here: what is merged into what.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from mizzen.wire.lookup import ensure
from mizzen.wire.schema import message_class

WHOLE = frozenset({"google.protobuf.Duration"})


def merge(target: Any, patch: Any, replace_lists: bool = False) -> None:
    """Merge patch into target. replace_lists: repeated fields of the message itself are replaced instead of appended."""
    for field, value in patch.ListFields():
        kind: Any = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            _merge_map(getattr(target, field.name), value, kind)
        elif field.is_repeated:
            if replace_lists:
                target.ClearField(field.name)
            getattr(target, field.name).extend(value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and kind.full_name not in WHOLE:
            getattr(target, field.name).SetInParent()
            merge(getattr(target, field.name), value)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _merge_map(target: Any, patch: Any, entry: Any) -> None:
    is_message = entry.fields_by_name["value"].type == FieldDescriptor.TYPE_MESSAGE
    for key, value in patch.items():
        if is_message:
            target[key].CopyFrom(value)
        else:
            target[key] = value


def merge_any(target: Any, patch: Any) -> bool:
    """Merge the message in one Any into that in another of the same type; whether it could be done."""
    inner, change = unpacked(target), unpacked(patch)
    if inner is None or change is None or inner.DESCRIPTOR is not change.DESCRIPTOR:
        return False
    merge(inner, change)
    target.value = inner.SerializeToString(deterministic=True)
    return True


def unpacked(packed: Any) -> Any:
    """The message in an Any, None when its type is not known or it cannot be read."""
    name = packed.type_url.rpartition("/")[2]
    if not name or not ensure(name):
        return None
    message: Message = message_class(name)()
    try:
        message.ParseFromString(packed.value)
    except DecodeError:
        return None
    return message
