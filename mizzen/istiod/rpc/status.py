"""How a call ends: gRPC's status codes, and the exception that carries one."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Source: gRPC, "Status codes and their use in gRPC"."""

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


class Refused(Exception):
    """The call is ended with this status."""

    def __init__(self, code: Status, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details
