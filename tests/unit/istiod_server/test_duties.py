"""Duties end when they are told to, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from mizzen.istiod.server.duties import Duties


async def test_a_duty_that_fails_while_it_is_cancelled_is_over() -> None:
    """A TaskGroup that is cancelled, and in which a task fails then, raises that failure alone."""
    begun = asyncio.Event()

    async def breaks_off() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise RuntimeError("TaskGroup is finished")

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(breaks_off())
            begun.set()

    async def run(lead: Any) -> None:
        await lead()

    election = SimpleNamespace(name="istio-leader", run=run)
    duty = asyncio.create_task(Duties._lead(cast(Any, None), cast(Any, election), work))
    await begun.wait()
    await asyncio.sleep(0)
    duty.cancel()
    done, _ = await asyncio.wait({duty}, timeout=3)
    assert done and duty.cancelled()
