"""What is known of one HTTP/2 stream, and whom a connection tells of what arrives. No rules here: h2_send.py and h2.py have them."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol


class Handler(Protocol):
    def h2_headers(self, stream: H2Stream, fields: list[tuple[bytes, bytes]], end: bool, trailers: bool) -> None: ...
    def h2_data(self, stream: H2Stream, data: bytes, end: bool) -> None: ...
    def h2_reset(self, stream: H2Stream, code: int) -> None: ...
    def h2_goaway(self, last: int, code: int) -> None: ...
    def h2_writable(self, stream: H2Stream) -> None: ...
    def h2_new(self, stream: H2Stream) -> bool: ...
    def h2_settings(self) -> None: ...


class H2Stream:
    """One stream. `app` is what the handler hangs on it."""

    __slots__ = (
        "app",
        "blocked",
        "closed_local",
        "closed_remote",
        "end_queued",
        "got_headers",
        "id",
        "length",
        "queue",
        "queued",
        "receive_window",
        "received",
        "send_window",
        "trailers_out",
        "unacked",
    )

    def __init__(self, number: int, send_window: int, receive_window: int) -> None:
        self.id = number
        self.app: Any = None
        self.send_window = send_window
        self.receive_window = receive_window
        self.unacked = 0  # received bytes whose window was not given back yet
        self.closed_local = self.closed_remote = False
        self.got_headers = False
        self.queue: deque[bytes] | None = None
        self.queued = 0
        self.end_queued = False
        self.trailers_out: list[tuple[str, str]] | None = None  # wait behind queued data
        self.blocked = False
        self.length = -1  # content-length as stated; -1 when not
        self.received = 0
