"""The public suite of HTTP/2 (h2spec, 145 cases) against the proxy, over h2c and TLS. Runs where there is one: $H2SPEC, else PATH."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.poll import until
from tests.support.proxy_ports import admin_port, listener_ports

H2SPEC = os.environ.get("H2SPEC") or shutil.which("h2spec")
PKI = Path(__file__).parents[1] / "answers" / "proxy" / "pki"
TYPES = "type.googleapis.com/"
CASES = 145
pytestmark = [pytest.mark.skipif(not H2SPEC, reason="no h2spec here"), pytest.mark.timeout(200)]


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name: str, socket: dict[str, Any] | None) -> dict[str, Any]:
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "codec_type": "HTTP2",
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": manager}]}
    if socket is not None:
        chain["transport_socket"] = {"name": "tls", "typed_config": socket}
    return {"name": name, "address": address(0), "filter_chains": [chain]}


def bootstrap(upstream: int) -> dict[str, Any]:
    certificate = {
        "certificate_chain": {"filename": str(PKI / "server-a.pem")},
        "private_key": {"filename": str(PKI / "server-a.key")},
    }
    tls = {
        "@type": TYPES + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2"], "tls_certificates": [certificate]},
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]
    return {
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [listener("h2c", None), listener("tls", tls)],
            "clusters": [{"name": "up", "load_assignment": {"cluster_name": "up", "endpoints": endpoints}}],
        },
    }


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="hello " * 20)


async def test_every_case(tmp_path: Path) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    file, admin_file = tmp_path / "bootstrap.json", tmp_path / "admin"
    file.write_text(json.dumps(bootstrap(runner.addresses[0][1])))
    command = [sys.executable, "-m", "mizzen", "proxy", "-c", str(file), "--admin-address-path", str(admin_file)]
    process = await asyncio.create_subprocess_exec(*command, "-l", "critical")
    try:
        await until(lambda: admin_port(admin_file), "the admin's address", 20.0)
        async with aiohttp.ClientSession() as session:
            ports = await listener_ports(session, admin_port(admin_file), 2)
        for name, flags in (("h2c", ()), ("tls", ("-t", "-k"))):
            suite = await asyncio.create_subprocess_exec(
                str(H2SPEC),
                "-h",
                "127.0.0.1",
                "-p",
                str(ports[name]),
                "-o",
                "5",
                *flags,
                stdout=asyncio.subprocess.PIPE,
            )
            out = (await suite.communicate())[0].decode()
            found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", out)
            assert found is not None and found.groups() == (str(CASES), str(CASES), "0", "0"), f"{name}\n{out}"
    finally:
        process.terminate()
        await process.wait()
        await runner.cleanup()
