"""Hot restarts: while one process takes over from another, no connection is refused and no request fails."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mizzen.proxy.hot_restart.carried import Carried, Exported
from mizzen.proxy.hot_restart.link import Flags, receive, send
from mizzen.proxy.stats.store import Store
from tests.support.poll import until

TYPES = "type.googleapis.com/"
CLIENTS = 4


def free_ports(count: int) -> list[int]:
    with_ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in with_ports]
    for each in with_ports:
        each.close()
    return ports


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, port: int) -> dict[str, Any]:
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [
            {"name": "r", "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
    return {"name": name, "address": address(port), "filter_chains": [chain]}


class Place:
    """The files and ports of a proxy that is restarted: one listener of the bootstrap, one of discovery."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.admin, self.static, self.dynamic = free_ports(3)
        discovered = {"@type": TYPES + "envoy.config.listener.v3.Listener", **listener("dynamic", self.dynamic)}
        (folder / "lds.json").write_text(json.dumps({"version_info": "1", "resources": [discovered]}))
        endpoint = {"endpoint": {"address": address(upstream)}}
        bootstrap = {
            "node": {"id": "n", "cluster": "c"},
            "admin": {"address": address(self.admin)},
            "dynamic_resources": {
                "lds_config": {"resource_api_version": "V3", "path_config_source": {"path": str(folder / "lds.json")}}
            },
            "static_resources": {
                "listeners": [listener("static", self.static)],
                "clusters": [
                    {
                        "name": "up",
                        "type": "STATIC",
                        "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    }
                ],
            },
        }
        self.config = folder / "bootstrap.json"
        self.config.write_text(json.dumps(bootstrap))
        self.socket = folder / "socket"

    def start(self, epoch: int, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "mizzen", "proxy", "-c", str(self.config), "--restart-epoch", str(epoch)]
        return subprocess.Popen([*command, "--socket-path", str(self.socket), "--drain-time-s", "1", *more])

    async def page(self, path: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.admin}{path}") as answer,
        ):
            return await answer.text()

    async def epoch(self) -> int:
        """Of the process that the admin address belongs to, once it is live; -1 before."""
        try:
            info = json.loads(await self.page("/server_info"))
        except (OSError, aiohttp.ClientError):
            return -1
        return int(info["command_line_options"]["restart_epoch"]) if info["state"] == "LIVE" else -1

    async def live(self, epoch: int) -> None:
        async with asyncio.timeout(60):
            while await self.epoch() != epoch:
                await asyncio.sleep(0.05)

    async def counter(self, name: str) -> int:
        text = await self.page(f"/stats?filter=^{name}$")
        return int(text.rpartition(":")[2] or 0)


class Upstream:
    """Answers at once, but /long until it is told to end."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while True:
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except asyncio.IncompleteReadError:
                    return
                if not head.startswith(b"GET /long"):
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    continue
                writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegin\r\n")
                await self.end.wait()
                writer.write(b"3\r\nend\r\n0\r\n\r\n")


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[Upstream, int]]:
    up = Upstream()
    server = await asyncio.start_server(up.serve, "127.0.0.1", 0)
    try:
        yield up, server.sockets[0].getsockname()[1]
    finally:
        up.end.set()
        server.close()


class Load:
    """New connections without a pause, and one that is kept while the proxy lets it."""

    def __init__(self, ports: list[int]) -> None:
        self.done = 0
        self.stop = asyncio.Event()
        self.tasks = [asyncio.create_task(self._new(port)) for port in ports for _ in range(CLIENTS)]
        self.tasks += [asyncio.create_task(self._kept(port)) for port in ports]

    async def _new(self, port: int) -> None:
        while not self.stop.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"ok"), answer
            self.done += 1

    async def _kept(self, port: int) -> None:
        while not self.stop.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                closes = False
                while not closes and not self.stop.is_set():
                    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                    head = await reader.readuntil(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200"), head
                    assert await reader.readexactly(2) == b"ok"
                    closes = b"connection: close" in head
                    self.done += 1
                    await asyncio.sleep(0.002)

    async def end(self) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)


async def test_nothing_fails_while_one_process_takes_over_from_another(tmp_path: Path) -> None:
    async with upstream() as (up, port):
        place = Place(tmp_path, port)
        processes = [place.start(0)]
        try:
            await place.live(0)
            async with asyncio.timeout(20):
                while "dynamic" not in await place.page("/listeners"):
                    await asyncio.sleep(0.05)
            load = Load([place.static, place.dynamic])
            reader, writer = await asyncio.open_connection("127.0.0.1", place.static)
            writer.write(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
            await reader.readuntil(b"begin")
            await until(lambda: load.done > 50, "requests")
            processes.append(place.start(1, "--parent-shutdown-time-s", "600"))
            await place.live(1)
            assert await place.page("/hot_restart_version") == "mizzen.1"
            seen = load.done
            await until(lambda: load.done > seen + 50, "requests")
            up.end.set()
            assert (await reader.readuntil(b"\r\n0\r\n\r\n")).endswith(b"3\r\nend\r\n0\r\n\r\n")
            writer.close()
            processes.append(place.start(2, "--parent-shutdown-time-s", "0.5"))
            await until(lambda: processes[0].poll() is not None, "the grandparent's end, for its child has a child", 30)
            await place.live(2)
            await until(lambda: processes[1].poll() is not None, "the parent's end", 30)
            seen = load.done
            await until(lambda: load.done > seen + 50, "requests")
            await load.end()
            counted = sum([await place.counter(f"http.{name}.downstream_rq_2xx") for name in ("static", "dynamic")])
            assert [each.returncode for each in processes] == [0, 0, None] and counted == load.done + 1
            assert await place.counter("server.hot_restart_epoch") == 2
            assert await place.counter("server.parent_connections") == 0
        finally:
            for each in processes:
                each.terminate()
                each.wait(20)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("socket")]


async def test_without_a_parent(tmp_path: Path) -> None:
    async with upstream() as (_, port):
        place = Place(tmp_path, port)
        refused = place.start(1)
        await until(lambda: refused.poll() is not None, "the refusal", 30)
        assert refused.returncode == 1
        started = place.start(1, "--skip-hot-restart-on-no-parent")
        try:
            await place.live(1)
            assert (os.stat(f"{place.socket}_0_1").st_mode & 0o777) == 0o600
            second = place.start(1, "--skip-hot-restart-on-no-parent")
            await until(lambda: second.poll() is not None, "the refusal", 30)
            assert second.returncode == 1, "this epoch has a process"
        finally:
            started.terminate()
            started.wait(20)


def test_statistics_are_carried_over() -> None:
    parent, child = Store(), Store()
    counts = parent.group("a", ["total"], ["cx_active", "membership_total"])
    counts.total, counts.cx_active, counts.membership_total = 5, 2, 3
    parent.labelled.counters[("istio_requests_total", (("k", "v"),))] = 7
    exported, child.carried = Exported(), Carried()
    child.group("a", ["total"], ["cx_active", "membership_total"]).membership_total = 1
    child.carried.take(json.loads(json.dumps(exported.news(parent.all()))))
    counts.total += 1
    child.carried.take(json.loads(json.dumps(exported.news(parent.all()))))
    found = {stat.name: (stat.value, stat.tags) for stat in child.all()}
    assert found == {
        "a.total": (6, None),
        "a.cx_active": (2, None),
        "a.membership_total": (1, None),
        "istio_requests_total.k.v": (7, (("k", "v"),)),
    }
    child.carried.take([])
    assert {stat.name: stat.value for stat in child.all()}["a.cx_active"] == 0
    child.reset_counters()
    assert {stat.name: stat.value for stat in child.all()}["a.total"] == 0


def test_descriptors_go_with_a_message() -> None:
    one, other = socket.socketpair()
    with one, other, socket.create_server(("127.0.0.1", 0)) as listening:
        send(one, {"ask": "x" * 100_000}, (listening.fileno(),))
        message, fds = receive(other)
        with socket.socket(fileno=fds[0]) as received:
            assert len(message["ask"]) == 100_000 and received.getsockname() == listening.getsockname()
        one.close()
        with pytest.raises(ConnectionError):
            receive(other)


def test_names_of_epochs() -> None:
    assert Flags(3, 1, "@s").name(0) == "\0s_3_0" and Flags(3, 1, "/run/s").name(1) == "/run/s_3_1"
