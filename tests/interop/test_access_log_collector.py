"""Access logs to an OpenTelemetry collector beside Envoy's: the same requests through both, and the same records."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2

from mizzen.agent.supervisor import find_envoy
from tests.interop.test_tracing import scrubbed
from tests.support.either_proxy import HTTP2, TYPES, address, cluster, proxy
from tests.support.poll import until

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
LOG = TYPES + "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"


def text(value: str) -> dict[str, str]:
    return {"string_value": value}


def log(**more: Any) -> dict[str, Any]:
    common = {
        "log_name": "shop",
        "grpc_service": {"envoy_grpc": {"cluster_name": "collector", "authority": "logs.x"}},
        "transport_api_version": "V3",
        "buffer_flush_interval": "0.05s",
    }
    return {"name": "otlp", "typed_config": {"@type": LOG, "common_config": common, **more}}


LOGS = {
    "of text": log(disable_builtin_labels=True, body=text("%REQ(:METHOD)% %REQ(X-H)% %RESPONSE_CODE%")),
    "of attributes": log(
        resource_attributes={"values": [{"key": "env", "value": text("test")}]},
        body={"array_value": {"values": [text("%PROTOCOL%"), text("plain")]}},
        attributes={
            "values": [
                {"key": "path", "value": text("%REQ(:PATH)%")},
                {
                    "key": "in",
                    "value": {"kvlist_value": {"values": [{"key": "flags", "value": text("%RESPONSE_FLAGS%")}]}},
                },
            ]
        },
    ),
}


def bootstrap(name: str, port: int) -> dict[str, Any]:
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    routes = [
        {"match": {"prefix": "/none"}, "route": {"cluster": "empty"}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
    ]
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "access_log": [LOGS[name]],
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    tcp = {
        "@type": TYPES + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "t",
        "cluster": "empty",
        "access_log": [LOGS[name]],
    }
    listeners = [
        {"name": kind, "address": address(0), "filter_chains": [{"filters": [{"name": kind, "typed_config": config}]}]}
        for kind, config in (("http", manager), ("tcp", tcp))
    ]
    return {
        "node": {"id": "n1", "cluster": "c1", "locality": {"zone": "z1"}},
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": listeners,
            "clusters": [
                cluster("collector", port, typed_extension_protocol_options=HTTP2),
                {"name": "empty", "load_assignment": {"cluster_name": "empty"}},
            ],
        },
    }


class Collector:
    def __init__(self) -> None:
        self.records: list[Any] = []

    async def __aenter__(self) -> Collector:
        self._server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        service = "opentelemetry.proto.collector.logs.v1.LogsService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def _export(self, body: bytes, context: Any) -> bytes:
        message = json_format.MessageToDict(logs_service_pb2.ExportLogsServiceRequest.FromString(body))
        for group in message["resourceLogs"]:
            for library in group["instrumentationLibraryLogs"]:
                for record in library["logs"]:
                    assert int(record.pop("timeUnixNano")) > 1e18
                    self.records.append({"resource": group.get("resource", {}), **record})
        return logs_service_pb2.ExportLogsServiceResponse().SerializeToString()


async def observed(which: str, folder: Path, name: str) -> dict[str, Any]:
    async with Collector() as collector, aiohttp.ClientSession() as session:
        out: dict[str, Any] = {}
        async with proxy(which, folder, bootstrap(name, collector.port)) as (admin, ports):
            for path, headers in (("/a?b", {"x-h": "v"}), ("/none", {})):
                async with session.get(f"http://127.0.0.1:{ports['http']}{path}", headers=headers) as answer:
                    await answer.read()
                await until(lambda: collector.records, f"{which}: a record of {path}")
                out[path], collector.records = scrubbed(collector.records), []
            reader, writer = await asyncio.open_connection("127.0.0.1", ports["tcp"])
            assert await reader.read() == b""
            writer.close()
            await until(lambda: collector.records, f"{which}: a record of a session")
            out["tcp"] = scrubbed(collector.records)
            async with session.get(f"http://127.0.0.1:{admin}/stats?filter=access_logs") as answer:
                out["statistics"] = sorted(line for line in (await answer.text()).split("\n") if "logs_" in line)
        return out


@pytest.mark.parametrize("name", LOGS)
async def test_as_envoy(tmp_path: Path, name: str) -> None:
    ours = await observed("mizzen", tmp_path / "mizzen", name)
    theirs = await observed("envoy", tmp_path / "envoy", name)
    assert json.dumps(ours, indent=1, sort_keys=True) == json.dumps(theirs, indent=1, sort_keys=True)
