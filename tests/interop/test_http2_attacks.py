"""HTTP/2 attacks beside Envoy: held by the same limit (the same counter moves), in bounded memory, while others are served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from mizzen.agent.supervisor import find_envoy
from tests.interop.http2_attacks import ATTACKS, Attack
from tests.support.either_proxy import DIRECT, cluster, http_chains, proxy, two_alike

pytestmark = [pytest.mark.skipif(not find_envoy(), reason="no Envoy here"), pytest.mark.timeout(240)]
WATCHED = ("flood", "overflow", "premature_resets", "cx_protocol_error")
MEMORY_MB, CPU_S = 64.0, 3.0
"""What one attack may cost a proxy; the answers that nobody reads would be 800 MB."""


class Outcome(NamedTuple):
    ended: bool
    counters: dict[str, int]
    grown_mb: float
    cpu_s: float
    served: bool
    """Whether another client was, meanwhile and after."""


class Proxy(NamedTuple):
    admin: int
    port: int


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never answers /wait; answers /big with 8 MB."""
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            if b" /big " in request:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n")
                for _ in range(128):
                    writer.write(b"x" * 65536)
                    await writer.drain()
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def bootstrap(upstream: int) -> dict[str, Any]:
    routes = [
        {**DIRECT, "match": {"prefix": "/direct"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}},
    ]
    return two_alike(http_chains(routes), cluster("up", upstream))


async def with_proxy(which: str, folder: Path, work: Callable[[Proxy], Awaitable[Any]]) -> Any:
    server = await asyncio.start_server(_upstream, "127.0.0.1", 0)
    async with server, proxy(which, folder, bootstrap(server.sockets[0].getsockname()[1])) as (admin, ports):
        return await work(Proxy(admin, ports["one"]))


async def _get(port: int, path: str) -> str:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return await answer.text()


async def _counters(admin: int) -> dict[str, int]:
    lines = (await _get(admin, "/stats")).splitlines()
    pairs = (line.split(": ") for line in lines if any(word in line.partition(":")[0] for word in WATCHED))
    return {name: int(value) for name, value in pairs if name.startswith(("http.h.", "http2."))}


async def _write(writer: asyncio.StreamWriter, attack: Attack) -> None:
    for piece in attack.sent():
        writer.write(piece)
        async with asyncio.timeout(2):  # a proxy that reads no more holds the connection as well as one that ends it
            await writer.drain()
        if attack.reads:
            await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


async def attacked(target: Proxy, attack: Attack) -> Outcome:
    before, (memory, cpu) = await _counters(target.admin), _used(target.admin)
    reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=1 << 16)
    reading = asyncio.ensure_future(_read(reader)) if attack.reads else None
    ended = False
    try:
        await _write(writer, attack)
    except (TimeoutError, ConnectionError):
        ended = True
    served = await _get(target.port, "/direct") == "hello"
    peak, _ = _used(target.admin)
    if not ended:
        try:
            await asyncio.wait_for(reading or _read(reader), 6.0 if attack.ends else 0.3)
            ended = True
        except TimeoutError:
            pass
        except ConnectionError:
            ended = True
    writer.transport.abort()
    if reading is not None:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    served &= await _get(target.port, "/direct") == "hello"
    after = await _counters(target.admin)
    moved = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    return Outcome(ended, moved, peak - memory, _used(target.admin)[1] - cpu, served)


def _used(admin: int) -> tuple[float, float]:
    """Megabytes and CPU seconds of the process that listens there."""
    inode = _inode(admin)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
            if any(link == f"socket:[{inode}]" for link in links):
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                return pages * 4096 / 1e6, sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    raise AssertionError("no such process")


def _inode(port: int) -> str:
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return next(row[9] for row in rows if row[1] == f"0100007F:{port:04X}" and row[3] == "0A")


async def every_attack(target: Proxy) -> dict[str, Outcome]:
    return {name: await attacked(target, attack) for name, attack in ATTACKS.items()}


async def test_as_envoy(tmp_path: Path) -> None:
    ours, theirs = await asyncio.gather(
        with_proxy("mizzen", tmp_path / "ours", every_attack), with_proxy("envoy", tmp_path / "theirs", every_attack)
    )
    for name, attack in ATTACKS.items():
        mine, envoy = ours[name], theirs[name]
        assert mine.served and envoy.served, name
        assert mine.ended is attack.ends, (name, mine)
        assert mine.grown_mb < MEMORY_MB and mine.cpu_s < CPU_S, (name, mine)
        assert all(counter in mine.counters for counter in attack.counters), (name, mine)
        if attack.envoy_counts:
            assert mine.counters == envoy.counters and mine.ended is envoy.ended, (name, mine, envoy)
