"""Fields that Envoy has and the installed xds-protos does not know yet.

`set_field` writes one into a message as an unknown field, so that it travels; `newer_json` reads a message with these fields
known. One row per field in FIELDS; a row goes when the package has caught up.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from mizzen.wire.schema import pool

_FIELD = descriptor_pb2.FieldDescriptorProto
MAX_PAYLOAD = 127
"""The longest message whose length is one byte on the wire: enough for what is here."""


class Field(NamedTuple):
    """message: full name; name and number of the field, at most 15; type: full name of its message, "" = a boolean."""

    message: str
    name: str
    number: int
    type: str = ""


HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
RETRY_BUDGET = "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget"
FIELDS: tuple[Field, ...] = (
    Field(f"{HCM}.Tracing", "no_context_propagation", 13),
    Field(RETRY_BUDGET, "budget_interval", 3, "google.protobuf.Duration"),
)


def set_field(message: Message, name: str, value: Message | None = None) -> None:
    """Set a field of FIELDS, whether or not the message's class knows it: to a message, or a boolean one to true."""
    field = next(f for f in FIELDS if f.message == message.DESCRIPTOR.full_name and f.name == name)
    if value is None:
        message.MergeFromString(bytes((field.number << 3, 1)))
        return
    payload = value.SerializeToString()
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{name}: more than {MAX_PAYLOAD} bytes")
    message.MergeFromString(bytes((field.number << 3 | 2, len(payload))) + payload)


def flag(message: Message, name: str) -> bool:
    """Whether a boolean field of FIELDS is set to true."""
    return bool(_value(message, name))


def submessage(message: Message, name: str, kind: type[Message]) -> Message | None:
    """What a field of FIELDS holds, as a message of the kind; None when it is not set."""
    data = _value(message, name)
    return None if data is None else kind.FromString(data)


def _value(message: Message, name: str) -> Any:
    number = next(f.number for f in FIELDS if f.message == message.DESCRIPTOR.full_name and f.name == name)
    unknown = UnknownFieldSet(message)
    found = [unknown[at].data for at in range(len(unknown)) if unknown[at].field_number == number]
    return found[-1] if found else None


def newer_json(message: Message) -> dict[str, Any]:
    """protobuf's JSON mapping with the original field names, the fields of FIELDS included."""
    newer = _newer_pool()
    descriptor = newer.FindMessageTypeByName(message.DESCRIPTOR.full_name)
    copy: Message = message_factory.GetMessageClass(descriptor)()
    copy.ParseFromString(message.SerializeToString())
    out: dict[str, Any] = json_format.MessageToDict(copy, preserving_proto_field_name=True, descriptor_pool=newer)
    return out


class _Newer:
    """Files of the default pool with the missing fields added."""

    def FindFileByName(self, name: str) -> descriptor_pb2.FileDescriptorProto:
        return _patched(pool().FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> descriptor_pb2.FileDescriptorProto:
        return _patched(pool().FindFileContainingSymbol(symbol))


@cache
def _newer_pool() -> descriptor_pool.DescriptorPool:
    return descriptor_pool.DescriptorPool(_Newer())


def _patched(file: Any) -> descriptor_pb2.FileDescriptorProto:
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for field in FIELDS:
        message = _find(proto, field.message)
        if message is not None and field.name not in [known.name for known in message.field]:
            added = message.field.add(name=field.name, number=field.number, label=_FIELD.LABEL_OPTIONAL)
            added.type = _FIELD.TYPE_MESSAGE if field.type else _FIELD.TYPE_BOOL
            if field.type:
                added.type_name = f".{field.type}"
    return proto


def _find(file: descriptor_pb2.FileDescriptorProto, full_name: str) -> Any:
    prefix = f"{file.package}."
    if not full_name.startswith(prefix):
        return None
    found: Any = None
    inside: Any = file.message_type
    for name in full_name.removeprefix(prefix).split("."):
        found = next((message for message in inside if message.name == name), None)
        if found is None:
            return None
        inside = found.nested_type
    return found
