"""CRI (runtime.v1): message classes, enum values and the two services' method tables, built from schema.py on first use.

`cri.PodSandboxConfig(...)` is a upb message class, `cri.CONTAINER_RUNNING` an enum's number. `client(channel)` gives an
object with one coroutine method per rpc; `handlers(implementation)` the gRPC generic handlers of a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mizzen.wire.cri import schema

PACKAGE = "runtime.v1"
FIELD = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": FIELD.TYPE_STRING,
    "bytes": FIELD.TYPE_BYTES,
    "bool": FIELD.TYPE_BOOL,
    "int32": FIELD.TYPE_INT32,
    "uint32": FIELD.TYPE_UINT32,
    "int64": FIELD.TYPE_INT64,
    "uint64": FIELD.TYPE_UINT64,
}


def _lines(text: str) -> Iterator[tuple[str, list[str]]]:
    for line in text.strip().splitlines():
        name, _, rest = line.partition(":")
        yield name, rest.split()


def _add_field(message: descriptor_pb2.DescriptorProto, text: str, enums: set[str]) -> None:
    name, _, rest = text.partition("=")
    number, _, kind = rest.rstrip("*").partition(":")
    field = message.field.add(name=name, number=int(number), label=FIELD.LABEL_OPTIONAL)
    if rest.endswith("*") or kind == "map":
        field.label = FIELD.LABEL_REPEATED
    if kind == "map":
        entry_name = "".join(part.title() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        for index, key in enumerate(("key", "value"), 1):
            entry.field.add(name=key, number=index, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING)
        field.type, field.type_name = FIELD.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry_name}"
    elif (scalar := SCALARS.get(kind or "string")) is not None:
        field.type = scalar
    else:
        field.type = FIELD.TYPE_ENUM if kind in enums else FIELD.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="mizzen/cri/runtime_v1.proto", package=PACKAGE, syntax="proto3")
    values: dict[str, Any] = {}
    enums = set()
    for name, items in _lines(schema.ENUMS):
        enums.add(name)
        enum = file.enum_type.add(name=name)
        for item in items:
            key, _, number = item.partition("=")
            enum.value.add(name=key, number=int(number))
            values[key] = int(number)
    for name, items in _lines(schema.MESSAGES):
        message = file.message_type.add(name=name)
        for item in items:
            _add_field(message, item, enums)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    built = pool.FindFileByName(file.name)
    for name, descriptor in built.message_types_by_name.items():
        values[name] = message_factory.GetMessageClass(descriptor)
    return values


_names: dict[str, Any] = {}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if not _names:
        _names.update(_build())
    try:
        return _names[name]
    except KeyError:
        raise AttributeError(f"CRI has no {name!r}") from None


def _types(method: str) -> tuple[Any, Any]:
    if method == "GetContainerEvents":
        return __getattr__("GetEventsRequest"), __getattr__("ContainerEventResponse")
    return __getattr__(f"{method}Request"), __getattr__(f"{method}Response")


class CriClient:
    """One awaitable method per rpc of both services, e.g. `await client.ListContainers(cri.ListContainersRequest())`.

    `GetContainerEvents(request)` gives an async iterator. Raises grpc.aio.AioRpcError.
    """

    def __init__(self, channel: Any) -> None:
        for service, methods in (("RuntimeService", schema.RUNTIME_METHODS), ("ImageService", schema.IMAGE_METHODS)):
            for method in methods:
                request, response = _types(method)
                stub = channel.unary_unary(
                    f"/{PACKAGE}.{service}/{method}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString,
                )
                setattr(self, method, stub)
        request, response = _types("GetContainerEvents")
        self.GetContainerEvents = channel.unary_stream(
            f"/{PACKAGE}.RuntimeService/GetContainerEvents",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def handlers(implementation: Any) -> list[Any]:
    """The generic handlers for grpc.aio.Server.add_generic_rpc_handlers.

    implementation: has `async def <Method>(self, request, context)` for each rpc it serves, and an async generator
    `GetContainerEvents`; what it lacks answers UNIMPLEMENTED.
    """
    import grpc

    found = []
    for service, methods in (("RuntimeService", schema.RUNTIME_METHODS), ("ImageService", schema.IMAGE_METHODS)):
        table = {}
        for method in methods:
            if (function := getattr(implementation, method, None)) is not None:
                request, response = _types(method)
                table[method] = grpc.unary_unary_rpc_method_handler(
                    function, request_deserializer=request.FromString, response_serializer=response.SerializeToString
                )
        if service == "RuntimeService" and hasattr(implementation, "GetContainerEvents"):
            request, response = _types("GetContainerEvents")
            table["GetContainerEvents"] = grpc.unary_stream_rpc_method_handler(
                implementation.GetContainerEvents,
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )
        found.append(grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", table))
    return found
