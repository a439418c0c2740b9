"""The overload manager beside Envoy's: the same pressure on both, and the same is refused, told and counted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mizzen.agent.supervisor import find_envoy
from tests.support.either_proxy import TYPES, address, http_chains, proxy
from tests.support.poll import until

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
ACTION, POINT = "envoy.overload_actions.", "envoy.load_shed_points."
ACTIONS = {
    "requests": "stop_accepting_requests",
    "keepalive": "disable_http_keepalive",
    "connections": "stop_accepting_connections",
    "reject": "reject_incoming_connections",
    "timeouts": "reduce_timeouts",
    "heap": "shrink_heap",
}
POINTS = {
    "accept": "tcp_listener_accept",
    "decode": "http_connection_manager_decode_headers",
    "h1": "http1_server_abort_dispatch",
    "h2": "http2_server_go_away_on_dispatch",
}
COUNTED = (
    "http.h.downstream_rq_overload_close",
    "http.h.downstream_cx_overload_disable_keepalive",
    "http.h.downstream_cx_idle_timeout",
    "listener.l.downstream_cx_overload_reject",
)


def overload_manager(folder: Path) -> dict[str, Any]:
    """One resource for each action and point, whose pressure is in the file of its name."""
    injected = TYPES + "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig"
    scale = {
        "@type": TYPES + "envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
        "timer_scale_factors": [{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "0.3s"}],
    }
    scaled = {"name": "timeouts", "scaled": {"scaling_threshold": 0.5, "saturation_threshold": 0.9}}

    def fired(name: str) -> list[dict[str, Any]]:
        return [scaled if name == "timeouts" else {"name": name, "threshold": {"value": 0.9}}]

    return {
        "refresh_interval": "0.05s",
        "resource_monitors": [
            {"name": name, "typed_config": {"@type": injected, "filename": str(folder / name / "value")}}
            for name in (*ACTIONS, *POINTS)
        ],
        "actions": [
            {
                "name": ACTION + action,
                "triggers": fired(name),
                **({"typed_config": scale} if name == "timeouts" else {}),
            }
            for name, action in ACTIONS.items()
        ],
        "loadshed_points": [{"name": POINT + point, "triggers": fired(name)} for name, point in POINTS.items()],
    }


def bootstrap(folder: Path) -> dict[str, Any]:
    line = "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n"
    log = {
        "@type": TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(folder / "log"),
        "log_format": {"text_format_source": {"inline_string": line}},
    }
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hi"}}}]
    chains = http_chains(routes, drain_timeout="0.05s", access_log=[{"name": "log", "typed_config": log}])
    bypass = {"name": "b", "bypass_overload_manager": True, "address": address(0), "filter_chains": chains}
    return {
        "admin": {"address": address(0)},
        "overload_manager": overload_manager(folder),
        "static_resources": {
            "listeners": [{"name": "l", "stat_prefix": "l", "address": address(0), "filter_chains": chains}, bypass]
        },
    }


class Proxy:
    def __init__(self, folder: Path, session: aiohttp.ClientSession, admin: int, ports: dict[str, int]) -> None:
        self.folder, self.session, self.admin, self.ports = folder, session, admin, ports
        self.turn = False

    async def stats(self, names: str) -> dict[str, str]:
        async with self.session.get(f"http://127.0.0.1:{self.admin}/stats?filter={names}") as answer:
            return dict(line.split(": ", 1) for line in (await answer.text()).splitlines() if ": " in line)

    async def press(self, name: str, pressure: float) -> None:
        """Put a resource under pressure, and wait until the proxy has read its monitors once more after that."""
        await self._told(name, pressure)
        self.turn = not self.turn
        await self._told("heap", 0.01 if self.turn else 0.02)

    async def _told(self, name: str, pressure: float) -> None:
        put(self.folder, name, pressure)
        async with asyncio.timeout(10):
            while await self.stats(f"^overload.{name}.pressure$") != {
                f"overload.{name}.pressure": str(int(pressure * 100))
            }:
                await asyncio.sleep(0.02)

    async def get(self, listener: str, http2: bool = False) -> list[str]:
        """What curl has of an answer: status, whether the connection ends, body. Empty for none."""
        version = ["--http2-prior-knowledge"] if http2 else []
        url = f"http://127.0.0.1:{self.ports[listener]}/"
        command = ["curl", "-s", "-i", "-m", "10", *version, url]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        text = (await process.communicate())[0].decode()
        if not text:
            return []
        head, _, body = text.partition("\r\n\r\n")
        return [head.split()[1], "close" if "connection: close" in head else "stays", body]

    async def waits(self) -> list[str]:
        """Of a client that comes while none is accepted, and of one that did when they are again."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["l"])
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        seen = await self.get("b")
        try:
            async with asyncio.timeout(0.3):
                early = await reader.read(1)
        except TimeoutError:
            early = b""
        await self.press("connections", 0)
        answer = await reader.read()
        writer.close()
        return [*seen, early.decode(), answer.decode().split()[1]]

    async def idle(self) -> str:
        """Of a client that asks for nothing more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["l"])
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await reader.readuntil(b"hi")
        await self.press("timeouts", 0.95)
        async with asyncio.timeout(10):
            rest = await reader.read()
        writer.close()
        await self.press("timeouts", 0)
        return rest.decode()


def put(folder: Path, name: str, pressure: float) -> None:
    """As Envoy has it: the file is replaced, not written to."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "new").write_text(str(pressure))
    (folder / name / "new").rename(folder / name / "value")


@asynccontextmanager
async def running(which: str, folder: Path) -> AsyncIterator[Proxy]:
    os.mkdir(folder)
    for name in (*ACTIONS, *POINTS):
        put(folder, name, 0)
    quick = ("--file-flush-interval-msec", "20")
    async with (
        proxy(which, folder / "proxy", bootstrap(folder), *quick) as (admin, ports),
        aiohttp.ClientSession() as session,
    ):
        yield Proxy(folder, session, admin, ports)


async def observed(which: str, folder: Path) -> dict[str, Any]:
    async with running(which, folder) as proxy:
        out: dict[str, Any] = {"names": sorted(await proxy.stats("^overload"))}
        for name in ("requests", "keepalive", "reject", "accept", "decode", "h1"):
            await proxy.press(name, 0.95)
            answers = [await proxy.get("l"), await proxy.get("l", http2=True), await proxy.get("b")]
            out[name] = answers, {**await proxy.stats("^overload.envoy.*(active|scale|shed)"), **await counted(proxy)}
            await proxy.press(name, 0)
        await proxy.press("h2", 0.95)
        out["h2"] = await proxy.get("l"), await proxy.get("l", http2=True)
        await proxy.press("h2", 0)
        await proxy.press("connections", 0.95)
        out["connections"] = await proxy.waits()
        await proxy.press("timeouts", 0.7)
        out["half"] = await proxy.stats("^overload.*reduce_timeouts")
        await proxy.press("timeouts", 0)
        out["idle"] = await proxy.idle(), await counted(proxy)
        file, lines = folder / "log", 19
        await until(lambda: file.read_text().count("\n") >= lines, f"the log of {which}")

        out["log"] = sorted(file.read_text().splitlines())
        return out


async def counted(proxy: Proxy) -> dict[str, str]:
    return await proxy.stats("^(" + "|".join(COUNTED) + ")$")


async def test_the_same_is_refused_as_by_envoy(tmp_path: Path) -> None:
    ours, theirs = await asyncio.gather(*(observed(which, tmp_path / which) for which in ("mizzen", "envoy")))
    for what, seen in theirs.items():
        assert ours[what] == seen, what
