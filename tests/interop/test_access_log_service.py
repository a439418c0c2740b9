"""Access logs to an access log service (ALS) beside Envoy's: the same requests through both, and the same entries."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from envoy.service.accesslog.v3 import als_pb2
from google.protobuf import json_format

from mizzen.agent.supervisor import find_envoy
from tests.interop.test_tracing import scrubbed
from tests.support.either_proxy import HTTP2, TYPES, address, cluster, proxy
from tests.support.poll import until

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
KINDS = TYPES + "envoy.extensions.access_loggers.grpc.v3."
COMMON = {
    "log_name": "shop",
    "grpc_service": {"envoy_grpc": {"cluster_name": "collector", "authority": "logs.x"}},
    "transport_api_version": "V3",
    "buffer_flush_interval": "0.05s",
    "filter_state_objects_to_log": ["no.such.object"],
    "custom_tags": [
        {"tag": "literal", "literal": {"value": "x"}},
        {"tag": "header", "request_header": {"name": "x-h", "default_value": "d"}},
    ],
}
HTTP_LOG = {
    "name": "envoy.access_loggers.http_grpc",
    "typed_config": {
        "@type": KINDS + "HttpGrpcAccessLogConfig",
        "common_config": COMMON,
        "additional_request_headers_to_log": ["X-H", "x-none"],
        "additional_response_headers_to_log": ["x-answer"],
        "additional_response_trailers_to_log": ["x-trailer"],
    },
}
TCP_LOG = {
    "name": "envoy.access_loggers.tcp_grpc",
    "typed_config": {"@type": KINDS + "TcpGrpcAccessLogConfig", "common_config": COMMON},
}


def bootstrap(port: int, upstream: int) -> dict[str, Any]:
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    routes = [
        {"match": {"prefix": "/none"}, "route": {"cluster": "empty"}},
        {"match": {"prefix": "/refused"}, "route": {"cluster": "refused"}},
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 403, "body": {"inline_string": "no"}}},
        {"match": {"prefix": "/old"}, "route": {"cluster": "up", "prefix_rewrite": "/new"}, "name": "rewritten"},
        {"match": {"prefix": "/up"}, "route": {"cluster": "up"}, "name": "named"},
    ]
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "access_log": [HTTP_LOG],
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    tcp = {
        "@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": "up",
        "access_log": [TCP_LOG],
    }
    listeners = [
        {"name": kind, "address": address(0), "filter_chains": [{"filters": [{"name": kind, "typed_config": config}]}]}
        for kind, config in (("http", manager), ("tcp", tcp))
    ]
    return {
        "node": {"id": "n1", "cluster": "c1", "locality": {"zone": "z1"}, "metadata": {"a": "b"}},
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                cluster("collector", port, typed_extension_protocol_options=HTTP2),
                cluster("up", upstream),
                cluster("refused", 1),
                {"name": "empty", "load_assignment": {"cluster_name": "empty"}},
            ],
        },
    }


class Collector:
    """An access log service."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.identifiers: list[Any] = []

    async def __aenter__(self) -> Collector:
        self._server = grpc.aio.server()
        handler = grpc.stream_unary_rpc_method_handler(self._stream)
        service = "envoy.service.accesslog.v3.AccessLogService"
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"StreamAccessLogs": handler}),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def _stream(self, bodies: Any, context: Any) -> bytes:
        async for body in bodies:
            message = json_format.MessageToDict(
                als_pb2.StreamAccessLogsMessage.FromString(body), preserving_proto_field_name=True
            )
            if "identifier" in message:
                node = message["identifier"].pop("node")
                self.identifiers.append(
                    message["identifier"] | {key: node[key] for key in ("id", "cluster", "locality", "metadata")}
                )
            for kind in ("http_logs", "tcp_logs"):
                self.entries += [plain(entry) for entry in message.get(kind, {}).get("log_entry", [])]
        return als_pb2.StreamAccessLogsResponse().SerializeToString()


TIMES = ("start_time", "duration")


def plain(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with what differs from run to run replaced: that there is a time, and which ports are those of clients."""
    common = entry["common_properties"]
    for message in (common, entry.get("request", {}), entry.get("response", {})):
        for name in [name for name in message if "_wire_bytes_" in name or "stream_header_bytes_" in name]:
            del message[name]
    for name in [name for name in common if name.startswith("time_to_") or name in TIMES]:
        common[name] = "a time"
    for name in [name for name in common if name.endswith("_address")]:
        common[name]["socket_address"]["port_value"] = "a port"
    return entry


async def echo(request: web.Request) -> web.Response:
    return web.Response(text="hello", headers={"x-answer": "yes"})


REQUESTS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/up?q", {"x-h": "v", "referer": "http://r/"}, b""),
    ("POST", "/up", {}, b"12345678"),
    ("GET", "/old", {"x-forwarded-for": "10.1.1.1"}, b""),
    ("GET", "/none", {}, b""),
    ("GET", "/refused", {}, b""),
    ("GET", "/direct", {}, b""),
    ("GET", "/nowhere", {}, b""),
]


async def observed(which: str, folder: Path) -> dict[str, Any]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, keepalive_timeout=60)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    upstream = runner.addresses[0][1]
    out: dict[str, Any] = {}
    try:
        async with (
            Collector() as collector,
            aiohttp.ClientSession(headers={"user-agent": "t"}) as session,
            proxy(which, folder, bootstrap(collector.port, upstream)) as (admin, ports),
        ):
            for method, path, headers, body in REQUESTS:
                where = f"http://127.0.0.1:{ports['http']}{path}"
                more = {"host": "shop.x", "x-request-id": "r1", "date": "x"} | headers
                async with session.request(method, where, headers=more, data=body or None) as answer:
                    await answer.read()
                await until(lambda: collector.entries, f"{which}: an entry of {path}")
                out[f"{method} {path}"], collector.entries = scrubbed(collector.entries), []
            reader, writer = await asyncio.open_connection("127.0.0.1", ports["tcp"])
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert b"hello" in await reader.read()
            writer.close()
            await until(lambda: collector.entries, f"{which}: an entry of a session")
            out["tcp"] = scrubbed(collector.entries)
            out["identifiers"] = collector.identifiers
            async with session.get(f"http://127.0.0.1:{admin}/stats?filter=access_logs") as answer:
                out["statistics"] = sorted(line for line in (await answer.text()).split("\n") if "logs_" in line)
    finally:
        await runner.cleanup()
    return out


async def test_as_envoy(tmp_path: Path) -> None:
    ours = await observed("mizzen", tmp_path / "mizzen")
    theirs = await observed("envoy", tmp_path / "envoy")
    assert json.dumps(ours, indent=1, sort_keys=True) == json.dumps(theirs, indent=1, sort_keys=True)
