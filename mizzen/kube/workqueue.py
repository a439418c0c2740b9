"""A queue of keys to look at: each waits at most once, is worked by one worker at a time, and failures come back
slower.

Takes keys (`add`, `add_after`, `retry`), gives them one by one (`get`, then `done`). A key added while it is being
worked waits until `done` and is then given again, so that no change is missed and no key is worked twice at once. Time
is the running loop's. Not here: what a key means.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BASE_DELAY_S = 0.05
MAX_DELAY_S = 60.0


class WorkQueue(Generic[K]):
    """Keys in order of arrival. Delays after failures double from base_delay_s to max_delay_s."""

    def __init__(self, base_delay_s: float = BASE_DELAY_S, max_delay_s: float = MAX_DELAY_S) -> None:
        self._base_delay_s, self._max_delay_s = base_delay_s, max_delay_s
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()  # to be worked: those in _ready, and those added while active
        self._active: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is worked (timers may be pending)."""
        return not self._dirty and not self._active

    def add(self, key: K) -> None:
        """Work the key soon. A pending timer for it is moot."""
        self._cancel_timer(key)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._active:
            self._ready.append(key)
            self._wake()

    def add_after(self, key: K, delay_s: float) -> None:
        """Work the key in delay_s seconds, or when an earlier timer or `add` says so."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + delay_s
        pending = self._timers.get(key)
        if key in self._dirty or (pending is not None and pending.when() <= when):
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_at(when, self._fire, key)

    def retry(self, key: K) -> float:
        """Work the key again after its back-off, which grows with each retry; the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s = min(self._base_delay_s * float(1 << min(failures, 30)), self._max_delay_s)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """The key went well: its back-off starts over."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; call `done` with it when it has been worked."""
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # the wake-up was ours; hand it on
                elif waiter in self._waiters:
                    self._waiters.remove(waiter)
                raise
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """The key has been worked; if it was added meanwhile it waits again."""
        self._active.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._wake()

    def close(self) -> None:
        """Drop the timers; the queue is not used any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: K) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
