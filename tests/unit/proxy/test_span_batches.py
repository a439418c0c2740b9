"""Spans on their way to a collector: when batches go, and that one which never answers holds a bounded number of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from mizzen.proxy.tracing.context import Context
from mizzen.proxy.tracing.reporter import MAX_UNANSWERED, Batches, Done
from mizzen.proxy.tracing.span import Span
from tests.support.poll import until


def span() -> Span:
    return Span(Context("1" * 32, "2" * 16), "x", True)


async def test_batches() -> None:
    sent: list[list[Span]] = []
    waiting: list[Done] = []
    late: list[int] = []
    dropped: list[int] = []

    def send(spans: list[Span], done: Done) -> None:
        sent.append(spans)
        waiting.append(done)

    runtime = {"tracing.x.min_flush_spans": 2, "tracing.x.flush_interval_ms": 20}
    server: Any = SimpleNamespace(runtime=runtime, loop=asyncio.get_running_loop())
    batches = Batches(server, "x", send, lambda: late.append(1), dropped=lambda: dropped.append(1))
    batches.add(span())
    assert not sent
    batches.add(span())
    assert [len(each) for each in sent] == [2] and not late
    batches.add(span())
    await until(lambda: len(sent) == 2)
    assert late == [1] and len(sent[1]) == 1
    for _ in range(100):
        batches.add(span())
    assert len(sent) == MAX_UNANSWERED and len(dropped) == 100 - 2 * (MAX_UNANSWERED - 2)
    waiting[0]()
    batches.add(span())
    batches.add(span())
    assert len(sent) == MAX_UNANSWERED + 1
