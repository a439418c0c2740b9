"""Leader election: the rules as a table, and candidates against an API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from mizzen.kube import Client
from mizzen.kube.lease import Election, Observed, Timing, may_take, taken
from mizzen.kube.resource import LEASES
from tests.support.fake_api import FakeApi
from tests.support.poll import until

FAST = Timing(lease_s=1.0, renew_deadline_s=0.4, retry_s=0.05)
LEASE = ("/apis/coordination.k8s.io/v1/leases", "sys", "lock")


def observed(holder: str, since: float = 100.0, duration_s: int = 30) -> Observed:
    return Observed({"holderIdentity": holder, "leaseDurationSeconds": duration_s}, since)


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        (None, 0.0, True),
        (observed(""), 100.0, True),
        (observed("me"), 100.0, True),
        (observed("other"), 129.9, False),
        (observed("other"), 130.0, True),
    ],
)
def test_who_may_take_a_lease(seen: Observed | None, now: float, expected: bool) -> None:
    assert may_take(seen, "me", now) is expected


def test_what_is_written() -> None:
    first = taken({}, "a", 30, "t1")
    assert (first["acquireTime"], first["renewTime"], first["leaseTransitions"]) == ("t1", "t1", 0)
    renewed = taken(first, "a", 30, "t2")
    assert (renewed["acquireTime"], renewed["renewTime"], renewed["leaseTransitions"]) == ("t1", "t2", 0)
    moved = taken(renewed, "b", 30, "t3")
    assert (moved["holderIdentity"], moved["acquireTime"], moved["leaseTransitions"]) == ("b", "t3", 1)


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as one:
        yield one


class Candidate:
    def __init__(self, client: Client, name: str, timing: Timing = FAST, *, own: bool = False) -> None:
        self.election = Election(client, "sys", "lock", name, timing, own=own)
        self.leading = False
        self.task = asyncio.create_task(self.election.run(self.lead))

    async def lead(self) -> None:
        self.leading = True
        try:
            await asyncio.Event().wait()
        finally:
            self.leading = False

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def test_one_leads_and_lets_go(api: FakeApi) -> None:
    async with Client(api.config) as client:
        first = Candidate(client, "first")
        await until(lambda: first.leading)
        second = Candidate(client, "second")
        await asyncio.sleep(0)
        holder = api.objects[LEASE]["spec"]["holderIdentity"]
        assert holder.startswith("first_") and not second.leading
        await first.end()
        await until(lambda: second.leading, limit_s=FAST.lease_s)
        spec = (await client.get(LEASES, "lock", "sys"))["spec"]
        assert spec["holderIdentity"] == second.election.identity
        await second.end()
        assert (await client.get(LEASES, "lock", "sys"))["spec"]["holderIdentity"] == ""


async def test_a_silent_leader_is_replaced_and_stops(api: FakeApi) -> None:
    """The first loses its connection to the API: it stops leading before the second starts."""
    async with Client(api.config) as client:
        broken = Client(api.config)
        first = Candidate(broken, "first")
        await until(lambda: first.leading)
        second = Candidate(client, "second")
        real = broken.raw

        async def unreachable(*_: object, **__: object) -> bytes:
            raise OSError("no route")

        broken.raw = unreachable  # type: ignore[method-assign]
        await until(lambda: not first.leading)
        assert not second.leading
        await until(lambda: second.leading)
        broken.raw = real  # type: ignore[method-assign]
        assert (await client.get(LEASES, "lock", "sys"))["spec"]["leaseTransitions"] == 1
        assert not first.leading
        await first.end()
        await second.end()
        await broken.close()


async def test_one_that_comes_back_does_not_wait_for_itself(api: FakeApi) -> None:
    slow = Timing(lease_s=60.0, renew_deadline_s=0.4, retry_s=0.05)
    async with Client(api.config) as client:
        lost = Candidate(client, "pod-1", slow, own=True)
        await until(lambda: lost.leading)
        lost.election._lease = None  # it ends without a word
        await lost.end()
        back, other = Candidate(client, "pod-1", slow, own=True), Candidate(client, "pod-2", slow, own=True)
        await until(lambda: back.leading, limit_s=2.0)
        assert not other.leading
        await back.end()
        await until(lambda: other.leading, limit_s=2.0)
        await other.end()
