"""gRPC's status codes: their numbers, their names, and what an HTTP status stands for where gRPC's own is missing.

Source: gRPC, "Status codes and their use in gRPC" and "HTTP to gRPC Status Code Mapping", the latter as Envoy has it.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType


class Status(IntEnum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


NAMES = tuple(status.name for status in Status)
"""By number."""
FROM_HTTP = MappingProxyType({400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14})
"""By HTTP status; any other stands for UNKNOWN."""
