"""Policies of `load_balancing_policy` beside Envoy: hashes choose the same hosts, weights and turns give the same shares."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mizzen.agent.supervisor import find_envoy
from tests.interop.test_compression import listener
from tests.support.either_proxy import TYPES, address, proxy, with_admin

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
LB = TYPES + "envoy.extensions.load_balancing_policies."
HOSTS = 4
ASKED = 80
WEIGHTED = {"locality_lb_config": {"locality_weighted_lb_config": {}}}
SLOW = {"slow_start_config": {"slow_start_window": "0.001s", "aggression": {"default_value": 1, "runtime_key": "x"}}}


def policy(name: str, message: str, **fields: Any) -> dict[str, Any]:
    typed = {"@type": f"{LB}{name}.v3.{message}", **fields}
    return {
        "policies": [
            {"typed_extension_config": {"name": f"envoy.load_balancing_policies.{name}", "typed_config": typed}}
        ]
    }


HASHED = {
    "ring_hash": policy("ring_hash", "RingHash", minimum_ring_size=64, maximum_ring_size=256),
    "maglev": policy("maglev", "Maglev", table_size=101),
}
SHARED = {
    "round_robin": policy("round_robin", "RoundRobin", **SLOW),
    "round_robin_weighted": policy("round_robin", "RoundRobin", **WEIGHTED),
}
SERVED = {
    "random": policy("random", "Random"),
    "least_request": policy("least_request", "LeastRequest", choice_count=3, **WEIGHTED),
}
POLICIES = HASHED | SHARED | SERVED


def cluster(name: str, ports: list[int]) -> dict[str, Any]:
    """Hosts in two localities, the second of three times the first's weight."""
    half = len(ports) // 2
    localities = [
        {
            "locality": {"zone": f"z{i}"},
            "load_balancing_weight": weight,
            "lb_endpoints": [{"endpoint": {"address": address(port)}} for port in some],
        }
        for i, (weight, some) in enumerate([(1, ports[:half]), (3, ports[half:])])
    ]
    load = {"cluster_name": name, "endpoints": localities}
    return {"name": name, "load_assignment": load, "load_balancing_policy": POLICIES[name]}


def to(cluster_name: str) -> dict[str, Any]:
    made = listener(cluster_name, [])
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    route.update(cluster=cluster_name, hash_policy=[{"header": {"header_name": "x-key"}}])
    return made


@contextlib.asynccontextmanager
async def upstreams() -> AsyncIterator[list[int]]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            text=str(request.url.port and request.transport and request.transport.get_extra_info("sockname")[1])
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    for _ in range(HOSTS):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield [each[1] for each in runner.addresses]
    finally:
        await runner.cleanup()


async def observed(which: str, folder: Path, hosts: list[int]) -> dict[str, list[int]]:
    """The hosts that answered each policy's requests, in order."""
    static = {"listeners": [to(name) for name in POLICIES], "clusters": [cluster(name, hosts) for name in POLICIES]}
    out: dict[str, list[int]] = {}
    async with (
        proxy(which, folder / which, with_admin(static), level="warning") as (_, ports),
        aiohttp.ClientSession() as session,
    ):
        for name in POLICIES:
            out[name] = []
            for i in range(ASKED):
                async with session.get(f"http://127.0.0.1:{ports[name]}/", headers={"x-key": f"k{i}"}) as got:
                    assert got.status == 200, (which, name, await got.text())
                    out[name].append(hosts.index(int(await got.text())))
    return out


async def test_as_envoy(tmp_path: Path) -> None:
    async with upstreams() as hosts:
        ours, theirs = [await observed(which, tmp_path, hosts) for which in ("mizzen", "envoy")]
    for name in HASHED:
        assert ours[name] == theirs[name], name
    for name in SHARED:
        mine, his = Counter(ours[name]), Counter(theirs[name])
        assert all(abs(mine[host] - his[host]) <= 2 for host in range(HOSTS)), (name, mine, his)
    for name in SERVED:
        assert set(ours[name]) == set(theirs[name]) == set(range(HOSTS)), name
