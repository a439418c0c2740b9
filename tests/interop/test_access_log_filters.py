"""Filters of access logs beside Envoy's: each log has one filter, and both proxies write the same requests into it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mizzen.agent.supervisor import find_envoy
from tests.interop.test_access_log_service import bootstrap
from tests.support.either_proxy import TYPES, proxy

pytestmark = pytest.mark.skipif(not find_envoy(), reason="no Envoy here")
CEL = TYPES + "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
FILE = TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog"
EXPRESSIONS = [
    "response.code >= 400",
    "response.code == 200 && request.method == 'POST'",
    "request.path == '/up?q'",
    "request.url_path.startsWith('/up')",
    "request.query == 'q'",
    "request.query == ''",
    "request.headers['x-h'] == 'v'",
    "request.headers['X-H'] == 'v'",
    "'x-h' in request.headers",
    "!('x-h' in request.headers)",
    "request.headers['x-none'] == 'v'",
    "request.headers['x-none'] == 'v' || true",
    "request.headers[':path'] == '/up'",
    "has(request.referer)",
    "request.referer == 'http://r/'",
    "request.useragent.matches('^t$')",
    "request.host.endsWith('.x')",
    "request.scheme == 'http'",
    "request.protocol == 'HTTP/1.1'",
    "request.size > 0",
    "request.size == 8",
    "request.total_size > 8",
    "request.id == 'r1'",
    "request.time > timestamp('2020-01-01T00:00:00Z')",
    "request.duration >= duration('0s')",
    "response.size == 5",
    "response.code_details == 'via_upstream'",
    "response.flags != 0",
    "response.flags == 2",
    "response.headers['x-answer'] == 'yes'",
    "response.headers[':status'] == '200'",
    "has(response.grpc_status)",
    "has(response.code)",
    "response.grpc_status == 2",
    "response.grpc_status == 14",
    "response.headers.size() > 0",
    "has(response.backend_latency)",
    "source.address.startsWith('127.0.0.1:')",
    "source.port > 0",
    "destination.port > 0",
    "connection.mtls",
    "!connection.mtls",
    "connection.requested_server_name == ''",
    "has(connection.tls_version)",
    "has(connection.subject_peer_certificate)",
    "has(upstream.address)",
    "upstream.port > 0",
    "has(upstream.transport_failure_reason)",
    "has(upstream.local_address)",
    "upstream.request_attempt_count == 1u",
    "xds.cluster_name == 'up'",
    "has(xds.cluster_name)",
    "xds.route_name == 'named'",
    "has(xds.route_name)",
    "xds.virtual_host_name == 'all'",
    "xds.filter_chain_name == ''",
    "has(metadata.n)",
    "metadata['n']['k'] == 'v'",
    "has(filter_state.x)",
    "unknown.thing == 1",
    "unknown.thing == 1 || response.code == 403",
    "response.code",
    "response.code == 'x'",
    "response.code in [200, 403]",
    "size(request.path) > 5",
    "request.path.contains('e') ? true : false",
    "int(request.headers['content-length']) > 1",
]
COMPARED = {"default_value": 403, "runtime_key": "access.none"}
FILTERS: list[dict[str, Any]] = [
    {"status_code_filter": {"comparison": {"op": op, "value": COMPARED}}} for op in ("EQ", "GE", "LE", "NE")
] + [
    {"duration_filter": {"comparison": {"op": "GE", "value": {"default_value": 10000, "runtime_key": "access.none"}}}},
    {"not_health_check_filter": {}},
    {"traceable_filter": {}},
    {"runtime_filter": {"runtime_key": "access.all"}},
    {"runtime_filter": {"runtime_key": "access.none", "percent_sampled": {"numerator": 0}}},
    {"and_filter": {"filters": [{"not_health_check_filter": {}}, {"response_flag_filter": {"flags": ["UH"]}}]}},
    {"or_filter": {"filters": [{"traceable_filter": {}}, {"response_flag_filter": {"flags": ["UF", "NR"]}}]}},
    {"response_flag_filter": {}},
    {"header_filter": {"header": {"name": "x-h", "string_match": {"prefix": "v"}}}},
    {"header_filter": {"header": {"name": "x-h", "present_match": True, "invert_match": True}}},
    {"grpc_status_filter": {"statuses": ["OK"]}},
    {"grpc_status_filter": {"statuses": ["UNAVAILABLE", "PERMISSION_DENIED"]}},
    {"grpc_status_filter": {"statuses": ["UNAVAILABLE"], "exclude": True}},
    {
        "metadata_filter": {
            "matcher": {"filter": "n", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}}
        }
    },
    {
        "metadata_filter": {
            "matcher": {"filter": "n", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}},
            "match_if_key_not_found": False,
        }
    },
    {"log_type_filter": {"types": ["DownstreamEnd"]}},
    {"log_type_filter": {"types": ["DownstreamEnd"], "exclude": True}},
    {"log_type_filter": {"types": ["DownstreamStart", "TcpConnectionEnd"]}},
]
ALL = [
    *FILTERS,
    *(
        {"extension_filter": {"name": "cel", "typed_config": {"@type": CEL, "expression": text}}}
        for text in EXPRESSIONS
    ),
]
NAMES = [*map(str, FILTERS), *EXPRESSIONS]
REQUESTS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("GET", "/up?q", {"x-h": "v", "referer": "http://r/"}, b""),
    ("POST", "/up", {"x-request-id": "r2"}, b"12345678"),
    ("GET", "/none", {}, b""),
    ("GET", "/refused", {}, b""),
    ("GET", "/direct", {"x-h": "w"}, b""),
    ("GET", "/nowhere", {}, b""),
]


def logs(folder: Path, fmt: str) -> list[dict[str, Any]]:
    config = {"@type": FILE, "log_format": {"text_format_source": {"inline_string": fmt}}}
    return [
        {"name": "file", "filter": each, "typed_config": config | {"path": str(folder / f"{at}.log")}}
        for at, each in enumerate(ALL)
    ]


async def echo(request: web.Request) -> web.Response:
    return web.Response(text="hello", headers={"x-answer": "yes"})


async def observed(which: str, folder: Path) -> dict[str, str]:
    folder.mkdir()  # noqa: ASYNC240
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, keepalive_timeout=60)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = bootstrap(1, runner.addresses[0][1])
    http, tcp = (
        each["filter_chains"][0]["filters"][0]["typed_config"] for each in config["static_resources"]["listeners"]
    )
    http["access_log"], tcp["access_log"] = logs(folder, "%REQ(:PATH)%\n"), logs(folder, "tcp\n")
    try:
        async with (
            aiohttp.ClientSession(headers={"user-agent": "t"}) as session,
            proxy(which, folder / "proxy", config) as (_, ports),
        ):
            for method, path, headers, body in REQUESTS:
                where = f"http://127.0.0.1:{ports['http']}{path}"
                more = {"host": "shop.x", "x-request-id": "r1"} | headers
                async with session.request(method, where, headers=more, data=body or None) as answer:
                    await answer.read()
            reader, writer = await asyncio.open_connection("127.0.0.1", ports["tcp"])
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            assert b"hello" in await reader.read()
            writer.close()
    finally:
        await runner.cleanup()
    return {name: (folder / f"{at}.log").read_text().replace("\n", " ") for at, name in enumerate(NAMES)}


async def test_as_envoy(tmp_path: Path) -> None:
    ours = await observed("mizzen", tmp_path / "mizzen")
    theirs = await observed("envoy", tmp_path / "envoy")
    different = {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}
    assert not different, different
