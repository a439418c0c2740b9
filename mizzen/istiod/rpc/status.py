"""How a call ends before its time: the exception that carries a status."""

from __future__ import annotations

from mizzen.wire.grpc_status import Status


class Refused(Exception):
    """The call is ended with this status."""

    def __init__(self, code: Status, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details
