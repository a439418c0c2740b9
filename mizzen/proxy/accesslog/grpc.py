"""The gRPC status of a request as the operators %GRPC_STATUS% write it: by number, in camel or snake case."""

from __future__ import annotations

from mizzen.proxy.accesslog.values import Getter
from mizzen.proxy.http.info import StreamInfo
from mizzen.wire.grpc_status import FROM_HTTP, NAMES


def grpc_number(info: StreamInfo) -> int | None:
    for headers in (info.response_trailers, info.response):
        value = None if headers is None else headers.get("grpc-status")
        if value is not None and value.isdigit():
            return int(value)
    return None


GRPC_NAMES = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
]


def is_grpc(info: StreamInfo) -> bool:
    kind = None if info.request is None else info.request.d.get("content-type")
    return kind is not None and (kind == "application/grpc" or kind.startswith("application/grpc+"))


def grpc_status(argument: str) -> Getter:
    def read(info: StreamInfo) -> str | int | None:
        if not is_grpc(info):
            return None
        number = grpc_number(info)
        if number is None and info.code:
            number = FROM_HTTP.get(info.code, 2)
        if number is None:
            return None
        if argument == "NUMBER":
            return number
        names = NAMES if argument == "SNAKE_STRING" else GRPC_NAMES
        return names[number] if number < len(names) else str(number)

    return read
