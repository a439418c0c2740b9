"""Our proxy or Envoy with the same bootstrap, for tests that compare what the two do; and the parts that bootstraps are made of."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from mizzen.agent.supervisor import find_envoy
from tests.support.poll import until
from tests.support.proxy_ports import admin_port, listener_ports

ENVOY = find_envoy()
TYPES = "type.googleapis.com/"
HTTP2 = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}
ROUTER = {"name": "router", "typed_config": {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}}
DIRECT = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}
"""A route that answers itself."""


def address(port: int) -> dict[str, Any]:
    """An Address on this machine; port 0 = any."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int, **more: Any) -> dict[str, Any]:
    """A Cluster of one endpoint on this machine."""
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    return {"name": name, "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}


def http_chains(routes: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """The filter chain of an HTTP listener (stat_prefix h) with these routes for every host. more: of its connection manager."""
    manager = {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "h",
        "http_filters": [ROUTER],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        **more,
    }
    return [{"filters": [{"name": "http", "typed_config": manager}]}]


def two_alike(chains: list[dict[str, Any]], *clusters: dict[str, Any]) -> dict[str, Any]:
    """A bootstrap whose listeners "one" and "two" have these filter chains."""
    listeners = [{"name": name, "address": address(0), "filter_chains": chains} for name in ("one", "two")]
    return with_admin({"listeners": listeners, "clusters": [*clusters]})


def with_admin(static: dict[str, Any]) -> dict[str, Any]:
    """A bootstrap of static resources."""
    return {"admin": {"address": address(0)}, "static_resources": static}


def _written(folder: Path, bootstrap: dict[str, Any]) -> tuple[Path, Path]:
    """The bootstrap's file, and that for the admin's address; others may be in the folder already."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{len(list(folder.iterdir()))}.json"
    file.write_text(json.dumps(bootstrap))
    return file, file.with_suffix(".admin")


@asynccontextmanager
async def proxy(
    which: str,
    folder: Path,
    bootstrap: dict[str, Any],
    *flags: str,
    level: str = "error",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[int, dict[str, int]]]:
    """The admin's port, and the listeners' by name, of "mizzen" or "envoy". environment: variables beside this process's."""
    file, admin_file = _written(folder, bootstrap)
    ours = [sys.executable, "-m", "mizzen", "proxy"]
    command = ours if which == "mizzen" else [str(ENVOY), "--concurrency", "1", "--use-dynamic-base-id"]
    process = await asyncio.create_subprocess_exec(
        *command, "-c", str(file), "-l", level, "--admin-address-path", str(admin_file), *flags,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    try:
        await until(lambda: admin_port(admin_file), "the admin's address", 20.0)
        async with aiohttp.ClientSession() as session:
            port = admin_port(admin_file)
            yield port, await listener_ports(session, port, len(bootstrap["static_resources"]["listeners"]))
    finally:
        process.terminate()
        await process.wait()
