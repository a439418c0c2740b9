"""Several workers serve as one proxy: connections spread, one admin, one discovery stream, one health checker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mizzen.proxy.stats.hot import Histogram
from mizzen.proxy.stats.store import COUNTER, GAUGE, HISTOGRAM, Stat, Store
from mizzen.proxy.workers.totals import Totals, exported
from tests.unit.proxy.test_hot_restart import address, free_ports, listener

CHECK = {
    "timeout": "1s",
    "interval": "60s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/health"},
}


class Upstream:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.checks = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.checks += head.startswith(b"GET /health")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


class Proxy:
    def __init__(self, folder: Path, upstream: int) -> None:
        self.admin, self.port, self.late = free_ports(3)
        self.unix = str(folder / "listen.sock")
        self.lds = folder / "lds.json"
        self.resources: list[dict[str, Any]] = []
        self.write([])
        endpoint = {"endpoint": {"address": address(upstream)}}
        piped = listener("piped", 0) | {"address": {"pipe": {"path": self.unix}}}
        source = {"resource_api_version": "V3", "path_config_source": {"path": str(self.lds)}}
        bootstrap = {
            "node": {"id": "n", "cluster": "c"},
            "admin": {"address": address(self.admin)},
            "layered_runtime": {"layers": [{"name": "admin", "admin_layer": {}}]},
            "dynamic_resources": {"lds_config": source},
            "static_resources": {
                "listeners": [listener("static", self.port), piped],
                "clusters": [
                    {
                        "name": "up",
                        "type": "STATIC",
                        "health_checks": [CHECK],
                        "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    }
                ],
            },
        }
        self.config = folder / "bootstrap.json"
        self.config.write_text(json.dumps(bootstrap))
        command = [sys.executable, "-m", "mizzen", "proxy", "-c", str(self.config), "--concurrency", "2"]
        self.process = subprocess.Popen([*command, "--drain-time-s", "1"], stderr=subprocess.PIPE)

    def write(self, listeners: list[dict[str, Any]]) -> None:
        kind = {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener"}
        text = json.dumps({"version_info": "1", "resources": [kind | each for each in listeners]})
        fresh = self.lds.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.lds)

    async def page(self, path: str, method: str = "GET") -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{self.admin}{path}") as answer,
        ):
            return await answer.text()

    async def value(self, name: str) -> int:
        try:
            text = await self.page(f"/stats?filter=^{name}$")
        except (OSError, aiohttp.ClientError):
            return -1
        return int(text.rpartition(":")[2] or -1)

    async def becomes(self, name: str, wanted: int) -> None:
        async with asyncio.timeout(60):
            while await self.value(name) != wanted:
                await asyncio.sleep(0.05)

    async def get(self, port: int = 0, **more: Any) -> int:
        """The status of an answer on a connection of its own."""
        async with (
            aiohttp.ClientSession(**more) as session,
            session.get(f"http://127.0.0.1:{port or self.port}/") as answer,
        ):
            await answer.read()
            return answer.status

    async def spread(self, prefix: str, request: Any) -> int:
        """Ask until both workers were asked; how often it was."""
        sent = 0
        async with asyncio.timeout(60):
            while True:
                counts = [await self.value(f"listener.{prefix}.worker_{n}.downstream_cx_total") for n in (0, 1)]
                if min(counts) > 0:
                    assert sum(counts) == sent
                    return sent
                for _ in range(10):
                    assert await request() == 200
                    sent += 1

    def workers(self) -> list[int]:
        """Process ids of the workers beside the main process."""
        nursery = children(self.process.pid)
        return [pid for each in nursery for pid in children(each)]


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def ended(pids: list[int]) -> None:
    async with asyncio.timeout(30):
        while any(alive(pid) for pid in pids):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def proxy(folder: Path) -> AsyncIterator[tuple[Proxy, Upstream]]:
    up = Upstream()
    server = await asyncio.start_server(up.serve, "127.0.0.1", 0)
    made = Proxy(folder, server.sockets[0].getsockname()[1])
    try:
        await made.becomes("listener_manager.workers_started", 2)
        yield made, up
    finally:
        made.process.kill()
        made.process.wait()
        assert made.process.stderr is not None
        made.process.stderr.close()
        server.close()


@pytest.mark.asyncio
async def test_both_serve_and_count_as_one(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (served, up):
        sent = await served.spread(f"127.0.0.1_{served.port}", served.get)
        assert await served.value("http.static.downstream_rq_total") == sent
        assert await served.value("cluster.up.upstream_rq_total") == sent
        hosts = json.loads(await served.page("/clusters?format=json"))["cluster_statuses"][0]["host_statuses"]
        assert {each["name"]: each.get("value") for each in hosts[0]["stats"]}["rq_success"] == str(sent)
        assert up.checks == 1, "active health checks are the main process's alone"
        info = json.loads(await served.page("/server_info"))
        assert info["command_line_options"]["concurrency"] == 2


@pytest.mark.asyncio
async def test_a_pipe_is_one_socket_for_all(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (served, _):
        for _ in range(30):
            assert await served.get(connector=aiohttp.UnixConnector(served.unix)) == 200
        assert await served.value("http.piped.downstream_rq_total") == 30


@pytest.mark.asyncio
async def test_what_discovery_brings_serves_in_all(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (served, _):
        served.write([listener("late", served.late)])
        await served.becomes("listener_manager.total_listeners_active", 3)
        await served.spread(f"127.0.0.1_{served.late}", lambda: served.get(served.late))


@pytest.mark.asyncio
async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (served, up):
        sent = await served.spread(f"127.0.0.1_{served.port}", served.get)
        (before,) = served.workers()
        os.kill(before, signal.SIGKILL)
        await ended([before])
        await served.becomes("listener_manager.workers_started", 2)
        (after,) = served.workers()
        assert after != before and up.checks == 1
        assert await served.value("http.static.downstream_rq_total") == sent, "what it had counted stays"
        assert await served.get() == 200


@pytest.mark.asyncio
async def test_they_drain_and_end_together(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (served, _):
        assert await served.page("/drain_listeners", "POST") == "OK\n"
        async with asyncio.timeout(30):
            while True:
                try:
                    await served.get()
                except aiohttp.ClientConnectorError:
                    break
        everyone = [*children(served.process.pid), *served.workers()]
        served.process.terminate()
        assert await asyncio.to_thread(served.process.wait, 30) == 0
        await ended(everyone)


@pytest.mark.asyncio
async def test_workers_die_with_the_main_process(tmp_path: Path) -> None:
    async with proxy(tmp_path) as (served, _):
        everyone = [*children(served.process.pid), *served.workers()]
        assert len(everyone) == 2
        served.process.kill()
        await ended(everyone)


def test_counts_of_workers_add_up_and_outlive_them() -> None:
    def one(n: int) -> list[Stat]:
        store = Store()
        group: Any = store.group("http.in", ["rq_total"], ["rq_active", "limit"], ["time"])
        group.rq_total, group.rq_active, group.limit = n, n, n
        group.time.record(n)
        manager: Any = store.group("cluster_manager", ["cluster_added"])
        manager.cluster_added = 5
        return store.all()

    totals = Totals()
    totals.told = {1: exported(one(2)), 2: exported(one(3))}
    seen = {stat.name: stat for stat in totals.merged(one(1), None)}
    assert [seen[f"http.in.{name}"].value for name in ("rq_total", "rq_active", "limit")] == [6, 6, 1]
    assert seen["cluster_manager.cluster_added"].value == 5
    histogram = seen["http.in.time"].value
    assert isinstance(histogram, Histogram) and (histogram.count, histogram.total) == (3, 6.0)
    totals.gone(1)
    totals.gone(2)
    seen = {stat.name: stat for stat in totals.merged(one(1), None)}
    assert [seen[f"http.in.{name}"].value for name in ("rq_total", "rq_active")] == [6, 1]
    assert {seen[f"http.in.{name}"].kind for name in ("rq_total", "rq_active", "time")} == {COUNTER, GAUGE, HISTOGRAM}
    totals.reset()
    assert {stat.name: stat.value for stat in totals.merged(one(1), None)}["http.in.rq_total"] == 1
