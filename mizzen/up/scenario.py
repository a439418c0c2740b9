"""The main job, step by step: what is asked of a mesh and what was measured. The demo prints it; the scenario tests assert it.

Each step takes the bookshop (a `Shop`) and gives `Check`s. Steps do not depend on each other but for the manifests of
samples/bookinfo being applied and ready.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

from mizzen.kube.resource import Object
from mizzen.samples import folder
from mizzen.up.mesh import Mesh, Seen, until

IN_FORCE_S = 15.0  # a change of configuration must show within this time


class Check(NamedTuple):
    """One line of the table."""

    asked: str
    measured: str
    ok: bool


Step = Callable[["Shop"], AsyncIterator[Check]]


class Shop:
    """The bookshop in a mesh. ingress: URL of the gateway; outside: this machine's address as pods reach it."""

    def __init__(self, mesh: Mesh, ingress: str, outside: str) -> None:
        self.mesh, self.ingress, self.outside = mesh, ingress, outside
        self.manifests = folder() / "bookinfo"
        self.steps = self.manifests / "demo"

    async def client(self) -> Object:
        """The pod inside the mesh that calls."""
        return await self.mesh.pod("bookinfo", app="client")

    async def page(self, count: int = 1, **options: object) -> Seen:
        """Requests for the product page through the ingress gateway, counted by the version of reviews."""
        return await self.mesh.call(f"{self.ingress}/productpage", count, by="reviews.answer.version", **options)

    async def ratings(self, count: int = 1, **options: object) -> Seen:
        """Requests for ratings from the client pod."""
        return await self.mesh.call_from(await self.client(), "http://ratings:9080/ratings/0", count, **options)


async def traffic(shop: Shop) -> AsyncIterator[Check]:
    """The page comes through the gateway with all its parts."""
    seen = await until(shop.page, lambda s: s.all_are(200) and _parts(s) == [200, 200], 30.0)
    yield Check("a page through the ingress gateway", f"200, details and reviews {_parts(seen)}", True)


def _parts(seen: Seen) -> list[int]:
    if not isinstance(seen.sample, dict) or "details" not in seen.sample:
        return []
    return [seen.sample["details"]["status"], seen.sample["reviews"]["status"]]


async def mutual_tls(shop: Shop) -> AsyncIterator[Check]:
    """details sees who calls, by certificate; a client without one is refused."""
    seen = await shop.page()
    certificate = seen.sample["details"]["answer"].get("client", "")
    caller = next((part[4:] for part in certificate.split(";") if part.startswith("URI=")), "no identity")
    expected = "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"
    yield Check("details knows its caller by mTLS", caller, caller == expected)
    outsider = await shop.mesh.pod("legacy", app="outsider")
    refused = await shop.mesh.call_from(outsider, "http://details.bookinfo:9080/details/0", 5)
    ok = sum(refused.errors.values()) == 5
    yield Check("a plaintext call from outside the mesh is refused", _outcome(refused), ok)


def _outcome(seen: Seen) -> str:
    parts = [f"{count} × {name}" for name, count in {**seen.statuses, **seen.errors}.items()]
    return ", ".join(parts) or "nothing"


async def canary(shop: Shop) -> AsyncIterator[Check]:
    """90 to 10 over a thousand requests; 4 standard deviations either way."""
    await shop.mesh.apply(shop.steps / "canary.yaml")
    await until(lambda: shop.page(10), lambda s: set(s.by) <= {"v1", "v2"}, IN_FORCE_S)
    seen = await shop.page(1000, concurrency=8)
    share = 100 * seen.by.get("v2", 0) / max(1, seen.total)
    ok = seen.all_are(200) and set(seen.by) == {"v1", "v2"} and 6.2 <= share <= 13.8
    yield Check("10 % of 1000 requests to reviews v2", f"{share:.1f} % ({_outcome(seen)})", ok)


async def one_user(shop: Shop) -> AsyncIterator[Check]:
    """jason sees v3, others v1."""
    await shop.mesh.apply(shop.steps / "user.yaml")
    jason = {"end-user": "jason"}
    await until(lambda: shop.page(5, headers=jason), lambda s: s.by == {"v3": 5}, IN_FORCE_S)
    his, others = await shop.page(20, headers=jason), await shop.page(20)
    ok = his.by == {"v3": 20} and others.by == {"v1": 20}
    yield Check("end-user: jason gets v3, others v1", f"jason {his.by}, others {others.by}", ok)


async def faults(shop: Shop) -> AsyncIterator[Check]:
    """A delay for one user, an abort for half of the others."""
    await shop.mesh.apply(shop.steps / "fault.yaml")
    await until(lambda: shop.ratings(10), lambda s: "555" in s.statuses, IN_FORCE_S)
    slow = await shop.ratings(5, headers={"end-user": "jason"})
    fastest = slow.seconds["p50"]
    yield Check("500 ms of delay injected for jason", f"p50 {fastest * 1000:.0f} ms", 0.5 <= fastest < 0.8)
    seen = await shop.ratings(200, concurrency=4)
    share = seen.statuses.get("555", 0) / seen.total
    yield Check("555 injected into 50 % of requests", f"{100 * share:.0f} % of {seen.total}", 0.36 <= share <= 0.64)


async def retries(shop: Shop) -> AsyncIterator[Check]:
    """A pod that always fails is hidden by retries."""
    await shop.mesh.apply(shop.steps / "failing.yaml", shop.steps / "retry.yaml")
    await shop.mesh.ready("bookinfo")
    failing = await shop.mesh.pod("bookinfo", app="ratings", version="failing")

    async def reached() -> int:
        await shop.ratings(10)
        return await _count(shop.mesh, failing)

    await until(reached, lambda count: count > 0, IN_FORCE_S)
    before = await _count(shop.mesh, failing)
    seen = await shop.ratings(200, concurrency=4)
    tried = await _count(shop.mesh, failing) - before
    ok = seen.all_are(200) and tried > 0
    yield Check("retries hide a failing pod", f"{_outcome(seen)}; the pod failed {tried} of them once", ok)


async def _count(mesh: Mesh, pod: Object) -> int:
    """How many requests the pod's server has seen, asked inside the pod."""
    seen = await mesh.call_from(pod, "http://127.0.0.1:9080/count", by="count")
    return int(seen.sample["count"])


async def ejection(shop: Shop) -> AsyncIterator[Check]:
    """Without retries the failures show, until the pod is ejected."""
    await shop.mesh.apply(shop.steps / "failing.yaml", shop.steps / "outlier.yaml")
    await shop.mesh.ready("bookinfo")
    failing = await shop.mesh.pod("bookinfo", app="ratings", version="failing")
    await until(lambda: shop.ratings(30), lambda s: s.all_are(200), IN_FORCE_S)
    before = await _count(shop.mesh, failing)
    seen = await shop.ratings(200, concurrency=2)
    got = await _count(shop.mesh, failing) - before
    flags = await _ejected(shop)
    ok = seen.all_are(200) and got == 0 and bool(flags)
    yield Check("the failing pod is ejected", f"{_outcome(seen)}, {got} of them to it; {', '.join(flags)}", ok)


async def _ejected(shop: Shop) -> list[str]:
    """Hosts of ratings that the client's proxy keeps out, from its admin page /clusters."""
    result = await shop.mesh.exec(
        await shop.client(),
        sys.executable,
        "-m",
        "mizzen",
        "agent",
        "request",
        "GET",
        "clusters",
        container="istio-proxy",
    )
    found = []
    for line in result.stdout.decode().splitlines():
        if "||ratings.bookinfo" in line and "health_flags" in line and "failed_outlier_check" in line:
            found.append(f"{line.split('::')[1]} failed_outlier_check")
    return found


async def mirroring(shop: Shop) -> AsyncIterator[Check]:
    """Every request arrives at the shadow, too."""
    await shop.mesh.apply(shop.steps / "mirror.yaml")
    await shop.mesh.ready("bookinfo")
    shadow = await shop.mesh.pod("bookinfo", app="reviews-shadow")

    async def mirrored() -> int:
        await shop.page(2)
        return await _count(shop.mesh, shadow)

    await until(mirrored, lambda count: count > 0, IN_FORCE_S)
    before = await _settled(shop.mesh, shadow)
    seen = await shop.page(50)
    copies = await _settled(shop.mesh, shadow) - before
    ok = seen.all_are(200) and copies == 50
    yield Check("50 requests mirrored to the shadow", f"{copies} arrived; callers saw {_outcome(seen)}", ok)


async def _settled(mesh: Mesh, pod: Object) -> int:
    """The count once it has stopped growing: copies are sent without waiting for them."""
    last = -1

    async def ask() -> tuple[int, int]:
        nonlocal last
        before, last = last, await _count(mesh, pod)
        return before, last

    return (await until(ask, lambda pair: pair[0] == pair[1], 10.0, poll_s=0.2))[1]


async def outside(shop: Shop) -> AsyncIterator[Check]:
    """A server that is no part of the mesh, by the name that a ServiceEntry gives it."""
    with socket.socket() as probe:
        probe.bind((shop.outside, 0))
        port = probe.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(folder() / "apps"), "echo", "--port", str(port), "--version", "outside"
    )
    try:
        values = {"EXTERNAL_ADDRESS": shop.outside, "EXTERNAL_PORT": str(port)}
        await shop.mesh.apply(shop.steps / "external.yaml", **values)
        client = await shop.client()

        async def ask() -> Seen:
            return await shop.mesh.call_from(client, "http://library.example.com/hello", 5)

        seen = await until(ask, lambda s: s.by == {"outside": 5}, IN_FORCE_S)
        yield Check("library.example.com outside the mesh", _outcome(seen), seen.all_are(200))
    finally:
        server.terminate()
        await server.wait()


STEPS: tuple[tuple[str, Step], ...] = (
    ("traffic through the ingress gateway", traffic),
    ("mutual TLS", mutual_tls),
    ("a canary", canary),
    ("routing for one user", one_user),
    ("faults", faults),
    ("retries", retries),
    ("outlier ejection", ejection),
    ("mirroring", mirroring),
    ("a service outside the mesh", outside),
)


def manifests() -> list[Path]:
    """The bookshop itself, without the demo's steps."""
    return sorted(path for path in (folder() / "bookinfo").glob("*.yaml"))
