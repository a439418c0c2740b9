"""WorkQueue: one wait a key, one worker a key, growing back-off; on a virtual clock."""

from __future__ import annotations

import asyncio

from mizzen.kube import WorkQueue
from tests.support.virtual_time import run


def test_a_key_waits_once_and_order_is_kept() -> None:
    async def main() -> list[str]:
        queue: WorkQueue[str] = WorkQueue()
        for key in ("a", "b", "a"):
            queue.add(key)
        assert len(queue) == 2
        return [await queue.get(), await queue.get()]

    assert run(main()) == ["a", "b"]


def test_a_key_added_while_worked_comes_again_after_done() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0, "not given to a second worker"
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.idle

    run(main())


def test_back_off_doubles_to_the_limit_and_forget_resets_it() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(base_delay_s=1, max_delay_s=5)
        assert [queue.retry("a") for _ in range(5)] == [1, 2, 4, 5, 5]
        queue.forget("a")
        assert queue.retry("a") == 1

    run(main())


def test_the_earlier_of_two_timers_wins() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue()
        start = loop.time()
        queue.add_after("a", 60)
        queue.add_after("a", 10)
        queue.add_after("a", 30)
        await queue.get()
        return loop.time() - start

    assert run(main()) == 10


def test_adding_now_makes_a_timer_moot() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 60)
        queue.add("a")
        assert await queue.get() == "a"
        queue.done("a")
        await asyncio.sleep(100)
        assert queue.idle and len(queue) == 0

    run(main())


def test_a_cancelled_waiter_loses_no_key() -> None:
    async def main() -> str:
        queue: WorkQueue[str] = WorkQueue()
        first = asyncio.ensure_future(queue.get())
        second = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        return await asyncio.wait_for(second, 1)

    assert run(main()) == "a"
