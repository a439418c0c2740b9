"""Messages to a collector on one client-streaming gRPC call: begun when the first goes, begun again after it ended.

What waits for the call to open, or for the collector to read, is bounded. Not here: what the messages say.
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.filters.grpc_service import GrpcService
from mizzen.proxy.xds.grpc import Call

MAX_WAITING = 1 << 20  # bytes, Envoy's default limit of a stream's buffer


class _Stream(Call):
    """A call that tells when its connection takes no more."""

    full = False

    def pause_request(self) -> None:
        self.full = True

    def resume_request(self) -> None:
        self.full = False


class Stream:
    """The call of one logger or sink. service: a core.v3.GrpcService; server: has `clusters`."""

    def __init__(self, service: Any, server: Any, method: str) -> None:
        self._service, self._method = GrpcService(service, server), method
        self._call: _Stream | None = None
        self._waiting: list[bytes] = []
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether there is a call, which has had its first message."""
        return self._call is not None

    @property
    def full(self) -> bool:
        """Whether the collector, or the way there, takes no more for now."""
        return self._size > MAX_WAITING or (self._call is not None and self._call.full)

    def send(self, message: bytes) -> None:
        """Send, or keep until the call is open. Lost when the call ends before, or when there is no such cluster."""
        call = self._call or self._begin()
        if call is None or self._call is None:
            return
        if call.connection is None:
            self._waiting.append(message)
            self._size += len(message)
            return
        call.send(message)
        call.connection.flush()

    def _begin(self) -> _Stream | None:
        call = self._call = self._service.prepared(_Stream, self._method, self._opened, _ignored, self._ended)
        if call is not None:
            call.start()
        return call

    def _opened(self) -> None:
        call = self._call
        waiting, self._waiting, self._size = self._waiting, [], 0
        if call is None or call.connection is None:
            return
        for message in waiting:
            call.send(message)
        call.connection.flush()

    def _ended(self, status: int, text: str) -> None:
        self._call = None
        self._waiting, self._size = [], 0


def _ignored(answer: bytes) -> None:
    """What the collector says is of no consequence."""
