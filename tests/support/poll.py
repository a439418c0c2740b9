"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], what: str = "the condition", limit_s: float = 10.0) -> None:
    """Let the loop run until the condition holds; fail with its last value after limit_s."""
    deadline = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {limit_s} s (last: {value!r})")
        await asyncio.sleep(0.01)
