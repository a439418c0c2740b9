"""What a protobuf message could say besides: the message with one more field set, for every field, at every depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import any_pb2
from google.protobuf.descriptor import FieldDescriptor

from mizzen.proxy.config.load import message_class
from tests.support.recorded import is_map

Rebuild = Callable[[Any], Any]
Variation = tuple[str, str, Callable[[], Any]]
"""Message type, field, and a function that makes the whole message in which that field is set."""


def variations(
    message: Any, rebuild: Rebuild = lambda made: made, seen: frozenset[str] = frozenset()
) -> Iterator[Variation]:
    """One for each field of the message, of the messages in it and of those that could be in it."""
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Any":
        yield from _of_any(message, rebuild, seen)
    if descriptor.full_name.startswith("google.protobuf."):
        return
    for field in descriptor.fields:
        there = _present(message, field)
        made = message if there else clone(message)
        if not there:
            set_field(made, field)
        yield descriptor.full_name, field.name, lambda made=made: rebuild(made)  # type: ignore[misc]
        inner = field.message_type
        if inner is None or (not there and (inner.full_name in seen or is_map(field))):
            continue
        for part, put in _parts(made, field):
            yield from variations(part, lambda new, put=put: rebuild(put(new)), seen | {inner.full_name})  # type: ignore[misc]


def clone(message: Any) -> Any:
    made = type(message)()
    made.CopyFrom(message)
    return made


def _present(message: Any, field: FieldDescriptor) -> bool:
    return bool(message.HasField(field.name)) if field.has_presence else bool(getattr(message, field.name))


def _parts(message: Any, field: FieldDescriptor) -> Iterator[tuple[Any, Rebuild]]:
    """The messages in a field, each with a function that gives a copy of `message` with another in its place."""
    value = getattr(message, field.name)
    if is_map(field):
        whole = field.message_type.fields_by_name["value"].message_type is not None
        keys: list[Any] = list(value)[:3] if whole else []
        places: list[Callable[[Any], Any]] = [lambda held, key=key: held[key] for key in keys]  # type: ignore[misc]
    elif field.is_repeated:
        places = [lambda held, at=at: held[at] for at in range(min(len(value), 6))]  # type: ignore[misc]
    else:
        places = [lambda held: held]
    for place in places:

        def put(new: Any, place: Callable[[Any], Any] = place) -> Any:
            made = clone(message)
            place(getattr(made, field.name)).CopyFrom(new)
            return made

        yield clone(place(value)), put


def _of_any(message: Any, rebuild: Rebuild, seen: frozenset[str]) -> Iterator[Variation]:
    cls = message_class(message.type_url.rpartition("/")[2])
    if cls is None or "TypedStruct" in message.type_url:
        return
    held = cls()
    message.Unpack(held)

    def put(new: Any) -> Any:
        made = any_pb2.Any()
        made.Pack(new)
        return rebuild(made)

    yield from variations(held, put, seen)


def set_field(message: Any, field: FieldDescriptor) -> None:
    """Give a field some value that is not its default."""
    if is_map(field):
        parts = field.message_type.fields_by_name
        key, held = _scalar(parts["key"]), getattr(message, field.name)
        if parts["value"].message_type is not None:
            held[key].SetInParent()
        else:
            held[key] = _scalar(parts["value"])
    elif field.message_type is None:
        if field.is_repeated:
            getattr(message, field.name).append(_scalar(field))
        else:
            setattr(message, field.name, _scalar(field))
    elif field.is_repeated:
        getattr(message, field.name).add()
    else:
        part = getattr(message, field.name)
        part.SetInParent()
        name = field.message_type.full_name
        if name == "google.protobuf.Duration":
            part.seconds = 1
        elif (
            name.startswith("google.protobuf.") and name.endswith("Value") and "value" in part.DESCRIPTOR.fields_by_name
        ):
            part.value = _scalar(part.DESCRIPTOR.fields_by_name["value"])


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[min(1, len(field.enum_type.values) - 1)].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"x"
    return {FieldDescriptor.CPPTYPE_STRING: "x", FieldDescriptor.CPPTYPE_BOOL: True}.get(field.cpp_type, 1)
