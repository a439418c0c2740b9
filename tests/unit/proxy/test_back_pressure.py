"""A reader that stops reading stops the sender: whatever the protocols between them, the proxy holds no more than its buffers."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.poll import until
from tests.support.proxy_ports import admin_port

TYPES = "type.googleapis.com/"
WHOLE = 200 << 20  # what a sender has to send
MOST = 64 << 20  # what may be under way: the buffers of sockets (up to 6 MB each way and hop) and those of the proxy
GROWTH = 32 << 20  # of the proxy's resident memory, over three buffers of 1 MiB each way and what Python needs for them
PART = os.urandom(1 << 16)  # nothing for a compressor


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, endpoint: dict[str, Any], http2: bool = False) -> dict[str, Any]:
    options = {
        "@type": TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    out: dict[str, Any] = {
        "name": name,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}],
        },
    }
    if http2:
        out["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    return out


def manager(to: str, *filters: dict[str, Any]) -> dict[str, Any]:
    router = {"name": "r", "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}
    return {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "http_filters": [*filters, router],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }


def bootstrap(folder: Path, port: int) -> dict[str, Any]:
    gzip = {"@type": TYPES + "envoy.extensions.compression.gzip.compressor.v3.Gzip"}
    library = {"name": "gzip", "typed_config": gzip}
    compressor = {
        "@type": TYPES + "envoy.extensions.filters.http.compressor.v3.Compressor",
        "compressor_library": library,
    }
    between = {"pipe": {"path": str(folder / "between")}}
    chains: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "plain": (address(0), manager("up")),
        "http2": (address(0), manager("between")),
        "between": (between, manager("up")),
        "compressed": (address(0), manager("up", {"name": "c", "typed_config": compressor})),
        "tcp": (
            address(0),
            {
                "@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": "t",
                "cluster": "up",
            },
        ),
    }
    return {
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [
                {
                    "name": name,
                    "address": where,
                    "per_connection_buffer_limit_bytes": 1 << 20,
                    "filter_chains": [{"filters": [{"name": "f", "typed_config": config}]}],
                }
                for name, (where, config) in chains.items()
            ],
            "clusters": [cluster("up", address(port)), cluster("between", between, http2=True)],
        },
    }


class Upstream:
    """GET: sends without end. POST: reads nothing behind the head. Upgrades: sends without end."""

    def __init__(self) -> None:
        self.sent = 0
        self.asked = 0
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            if head.startswith(b"POST"):
                writer.transport.pause_reading()
                await self.over.wait()
                return
            if b"upgrade: websocket" in head.lower():
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            else:
                fields = b"content-type: text/plain\r\n" if b"gzip" in head else b""
                writer.write(b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n" % (fields, WHOLE))
            for _ in range(WHOLE // len(PART)):
                writer.write(PART)
                await writer.drain()
                self.sent += len(PART)


class Proxy:
    def __init__(self, pid: int, ports: dict[str, int], up: Upstream) -> None:
        self.pid, self.ports, self.up = pid, ports, up

    def resident(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Proxy]:
    up = Upstream()
    server = await asyncio.start_server(up.serve, "127.0.0.1", 0)
    file, admin = folder / "bootstrap.json", folder / "admin"
    file.write_text(json.dumps(bootstrap(folder, server.sockets[0].getsockname()[1])))
    flags = ["-c", str(file), "--admin-address-path", str(admin), "-l", "error"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "mizzen", "proxy", *flags)
    try:
        await until(lambda: admin_port(admin), "the admin address", 30)
        async with aiohttp.ClientSession() as session:
            ports = await listener_ports_of(session, admin_port(admin))
        yield Proxy(process.pid, ports, up)
    finally:
        up.over.set()
        process.terminate()
        await process.wait()
        server.close()


async def listener_ports_of(session: aiohttp.ClientSession, admin: int) -> dict[str, int]:
    async with asyncio.timeout(20):
        while True:
            async with session.get(f"http://127.0.0.1:{admin}/listeners?format=json") as answer:
                statuses = json.loads(await answer.text()).get("listener_statuses", ())
            ports = {
                each["name"]: each["local_address"]["socket_address"]["port_value"]
                for each in statuses
                if "socket_address" in each["local_address"]
            }
            if len(statuses) == 5:
                return ports
            await asyncio.sleep(0.02)


def still(value: Callable[[], int], for_s: float = 0.5) -> Callable[[], bool]:
    """A condition: the value is above zero and has not changed for some time."""
    last, since = -1, time.monotonic()

    def holds() -> bool:
        nonlocal last, since
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        return now > 0 and time.monotonic() - since > for_s

    return holds


async def download(proxy: Proxy, listener: str, fields: bytes = b"") -> None:
    """A client that reads a little of an answer, and then no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.ports[listener], limit=1 << 16)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n" + fields + b"\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).split()[1] in (b"200", b"101")
    await blocked(proxy, lambda: proxy.up.sent)
    writer.transport.abort()


async def http2_download(proxy: Proxy, listener: str) -> None:
    """curl, which hardly reads."""
    url = f"http://127.0.0.1:{proxy.ports[listener]}/"
    command = ["curl", "-s", "-o", "/dev/null", "--http2-prior-knowledge", "--limit-rate", "1k", url]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await blocked(proxy, lambda: proxy.up.sent)
    finally:
        process.kill()
        await process.wait()


async def upload(proxy: Proxy, listener: str) -> None:
    """A client that sends to an upstream which does not read."""
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.ports[listener])
    writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % WHOLE)
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < WHOLE:
            writer.write(PART)
            await writer.drain()
            sent += len(PART)

    sending = asyncio.create_task(send())
    await blocked(proxy, lambda: sent)
    sending.cancel()
    writer.transport.abort()


async def blocked(proxy: Proxy, sent: Callable[[], int]) -> None:
    await until(still(sent), "the sender's stop", 60)
    assert sent() < MOST, f"{sent() >> 20} MiB were sent to nobody"


CASES: dict[str, Callable[[Proxy], Awaitable[None]]] = {
    "HTTP/1 to HTTP/1": lambda proxy: download(proxy, "plain"),
    "HTTP/1 to HTTP/2 to HTTP/1": lambda proxy: download(proxy, "http2"),
    "HTTP/2 to HTTP/1": lambda proxy: http2_download(proxy, "plain"),
    "HTTP/2 to HTTP/2": lambda proxy: http2_download(proxy, "http2"),
    "compressed": lambda proxy: download(proxy, "compressed", b"accept-encoding: gzip\r\n"),
    "TCP": lambda proxy: download(proxy, "tcp"),
    "WebSocket": lambda proxy: download(proxy, "plain", b"connection: upgrade\r\nupgrade: websocket\r\n"),
    "WebSocket over HTTP/2": lambda proxy: download(proxy, "http2", b"connection: upgrade\r\nupgrade: websocket\r\n"),
    "request, HTTP/1 to HTTP/1": lambda proxy: upload(proxy, "plain"),
    "request, HTTP/1 to HTTP/2 to HTTP/1": lambda proxy: upload(proxy, "http2"),
    "request, TCP": lambda proxy: upload(proxy, "tcp"),
}


@pytest.mark.parametrize("case", CASES)
async def test_who_does_not_read_stops_who_sends(case: str, tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        before = proxy.resident()
        await CASES[case](proxy)
        grown = proxy.resident() - before
        assert grown < GROWTH, f"{grown >> 20} MiB more"
