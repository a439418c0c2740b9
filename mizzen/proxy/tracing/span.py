"""One span: what a tracer's driver makes for a request, and the connection manager fills."""

from __future__ import annotations

import time
from typing import Any, Protocol

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.tracing.context import Context


class Span:
    """start, end: seconds since the epoch. server: the side that is called, else the one that calls."""

    __slots__ = ("context", "end", "name", "server", "shared", "start", "tags")

    def __init__(self, context: Context, name: str, server: bool, shared: bool = False) -> None:
        self.context = context
        self.name = name
        self.server = server
        self.shared = shared  # one span for both sides (Zipkin)
        self.start = time.time()
        self.end = 0.0
        self.tags: dict[str, str] = {}


SPAN = "tracing span"  # in a stream's state


def span_of(info: Any) -> Span | None:
    """The span of a request; None when it has none, and for TCP sessions."""
    state = getattr(info, "state", None)
    found: Span | None = state.get(SPAN) if state else None
    return found


class Driver(Protocol):
    """A kind of tracer with its exporter."""

    def start(self, headers: RequestHeaders, name: str, server: bool, sampled: bool) -> Span | None:
        """A span that goes on with the trace in the headers, or begins one."""

    def inject(self, span: Span, headers: RequestHeaders) -> None:
        """Say upstream which trace this is."""

    def finish(self, span: Span) -> None:
        """The span is over: send it if it is sampled."""


Reporter = Any
