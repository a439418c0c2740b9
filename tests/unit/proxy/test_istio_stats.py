"""Istio's metrics of what is still open: TCP sessions and gRPC calls are reported as they go on."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from tests.support.poll import until
from tests.support.proxy_ports import admin_port, listener_ports

TYPES = "type.googleapis.com/"
HCM = TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
STATS = {"@type": TYPES + "stats.PluginConfig", "tcp_reporting_duration": "0.05s"}
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int, **more: Any) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}


def tcp_filters() -> list[dict[str, Any]]:
    exchange = {
        "@type": TYPES + "udpa.type.v1.TypedStruct",
        "type_url": TYPES + "envoy.tcp.metadataexchange.config.MetadataExchange",
        "value": {"enable_discovery": True, "protocol": "istio-peer-exchange"},
    }
    proxy = {
        "@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": "tcp",
    }
    return [
        {"name": "istio.metadata_exchange", "typed_config": exchange},
        {"name": "istio.stats", "typed_config": STATS},
        {"name": "tcp", "typed_config": proxy},
    ]


def http_filters() -> list[dict[str, Any]]:
    counts = {
        "@type": TYPES + "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
        "emit_filter_state": True,
        "stats_for_all_methods": False,
    }
    manager = {
        "@type": HCM,
        "stat_prefix": "h",
        "http_filters": [
            {"name": "counts", "typed_config": counts},
            {"name": "istio.stats", "typed_config": STATS},
            {"name": "router", "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}},
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "grpc", "timeout": "0s"}}],
                }
            ]
        },
    }
    return [{"name": "http", "typed_config": manager}]


class Proxy:
    """A proxy process with one inbound TCP and one inbound HTTP listener; `value(metric)` reads its statistics."""

    def __init__(self, tcp: int, http: int, admin: int, session: aiohttp.ClientSession) -> None:
        self.tcp, self.http, self._admin, self._session = tcp, http, admin, session

    async def metrics(self) -> str:
        async with self._session.get(f"http://127.0.0.1:{self._admin}/stats/prometheus") as answer:
            return await answer.text()

    async def lines(self, metric: str) -> dict[str, int]:
        """Labels → value of a metric."""
        found = re.findall(rf"^{metric}(?:{{(.*)}})? (\d+)$", await self.metrics(), re.MULTILINE)
        return {labels: int(value) for labels, value in found}

    async def total(self, metric: str) -> int:
        return sum((await self.lines(metric)).values())

    async def reaches(self, metric: str, value: int) -> None:
        async with asyncio.timeout(20):
            while await self.total(metric) != value:
                await asyncio.sleep(0.02)


async def _grpc_server() -> tuple[grpc.aio.Server, int]:
    async def chat(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    handler = grpc.stream_stream_rpc_method_handler(chat)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Chat", {"Talk": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    upstream = await asyncio.start_server(_echo, "127.0.0.1", 0)
    served, grpc_port = await _grpc_server()

    def listener(name: str, filters: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "name": name,
            "address": address(0),
            "traffic_direction": "INBOUND",
            "filter_chains": [{"filters": filters}],
        }

    config = {
        "node": {"id": "n", "cluster": "c", "metadata": {"ISTIO_VERSION": "1.30.3"}},
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [listener("tcp", tcp_filters()), listener("http", http_filters())],
            "clusters": [
                cluster("tcp", upstream.sockets[0].getsockname()[1]),
                cluster("grpc", grpc_port, typed_extension_protocol_options=HTTP2),
            ],
        },
    }
    file, admin_file = tmp_path / "bootstrap.json", tmp_path / "admin"
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mizzen", "proxy", "-c", str(file), "--admin-address-path", str(admin_file)
    )
    try:
        await until(lambda: admin_port(admin_file), "the admin's address", 20.0)
        admin = admin_port(admin_file)
        async with aiohttp.ClientSession() as session:
            ports = await listener_ports(session, admin, 2)
            yield Proxy(ports["tcp"], ports["http"], admin, session)
    finally:
        process.terminate()
        await process.wait()
        await served.stop(None)
        upstream.close()


async def test_an_open_tcp_session_is_reported_as_it_goes_on(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.tcp)
    writer.write(b"x" * 100)
    assert await reader.readexactly(100)
    await proxy.reaches("istio_tcp_connections_opened_total", 1)
    await proxy.reaches("istio_tcp_received_bytes_total", 100)
    await proxy.reaches("istio_tcp_sent_bytes_total", 100)
    assert await proxy.total("istio_tcp_connections_closed_total") == 0
    writer.write(b"x" * 11)
    assert await reader.readexactly(11)
    await proxy.reaches("istio_tcp_received_bytes_total", 111)
    writer.close()
    await proxy.reaches("istio_tcp_connections_closed_total", 1)
    assert await proxy.total("istio_tcp_connections_opened_total") == 1
    assert await proxy.total("istio_tcp_sent_bytes_total") == 111


async def test_messages_of_an_open_grpc_call_are_reported_as_it_goes_on(proxy: Proxy) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.http}") as channel:
        call = channel.stream_stream("/test.Chat/Talk")()
        for _ in range(3):
            await call.write(b"hello")
            assert await call.read() == b"hello"
        await proxy.reaches("istio_request_messages_total", 3)
        await proxy.reaches("istio_response_messages_total", 3)
        assert await proxy.total("istio_requests_total") == 0
        await call.write(b"again")
        assert await call.read() == b"again"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    await proxy.reaches("istio_requests_total", 1)
    assert await proxy.total("istio_request_messages_total") == 4
    (labels,) = await proxy.lines("istio_request_messages_total")
    assert 'reporter="destination"' in labels
    assert "response_code" not in labels and "request_protocol" not in labels


async def test_the_build_is_told(proxy: Proxy) -> None:
    assert await proxy.lines("istio_build") == {'component="proxy",tag="1.30.3"': 1}
