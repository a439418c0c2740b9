"""Spans on their way to a collector: gathered, sent in batches, dropped and counted when there are too many.

A batch goes when `minimum` spans wait, or after `interval_s`. Source: Envoy's runtime keys tracing.<driver>.min_flush_spans
and flush_interval_ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.tracing.span import Span

MINIMUM, INTERVAL_MS, LIMIT = 5, 5000, 1024
MAX_UNANSWERED = 16  # batches
Done = Callable[[], None]


def _nothing() -> None: ...


class Batches:
    """send: takes the spans of one batch, and what to call once there is an answer or none will come.

    dropped: told of a span that found no room among `limit`, or came while too many batches had no answer yet.
    """

    def __init__(
        self, server: Any, driver: str, send: Callable[[list[Span], Done], None], on_timer: Callable[[], None],
        limit: int = LIMIT, dropped: Callable[[], None] = _nothing,
    ) -> None:  # fmt: skip
        self._server, self._send, self._on_timer = server, send, on_timer
        self._limit, self._dropped = limit, dropped
        self._keys = (f"tracing.{driver}.min_flush_spans", f"tracing.{driver}.flush_interval_ms")
        self._spans: list[Span] = []
        self._timer: Any = None
        self._unanswered = 0

    def _runtime(self, key: str, default: int) -> int:
        value = self._server.runtime.get(key)
        return int(value) if isinstance(value, (int, float)) else default

    def add(self, span: Span) -> None:
        if len(self._spans) >= self._limit:
            self._dropped()
            return
        self._spans.append(span)
        if len(self._spans) >= self._runtime(self._keys[0], MINIMUM):
            self.flush()
        elif self._timer is None:
            self._timer = self._server.loop.call_later(self._runtime(self._keys[1], INTERVAL_MS) / 1000, self._late)

    def _late(self) -> None:
        self._timer = None
        self._on_timer()
        self.flush()

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        spans, self._spans = self._spans, []
        if not spans:
            return
        if self._unanswered >= MAX_UNANSWERED:
            for _ in spans:
                self._dropped()
            return
        self._unanswered += 1
        self._send(spans, self._answered)

    def _answered(self) -> None:
        self._unanswered -= 1
