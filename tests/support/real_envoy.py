"""A real Envoy as a sidecar or gateway of an istiod in this process, in a network namespace of its own.

Envoy reaches istiod through a socket file, so its listeners may bind what ports they like. Needs root.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp

ENVOY = Path(sys.executable).parent / "envoy"


def bootstrap(folder: Path, istiod: Path, node_id: str, metadata: dict[str, Any], delta: bool) -> dict[str, Any]:
    """A bootstrap with ADS towards a socket file, and the static clusters that istiod's resources mention."""

    def cluster(name: str, address: dict[str, Any], http2: bool = False) -> dict[str, Any]:
        endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
        out: dict[str, Any] = {
            "name": name,
            "type": "STATIC",
            "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
        }
        if http2:
            out["typed_extension_protocol_options"] = {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                }
            }
        return out

    nowhere = {"socket_address": {"address": "127.0.0.1", "port_value": 15020}}
    ads = {"envoy_grpc": {"cluster_name": "xds-grpc"}}
    source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": node_id, "cluster": "test", "metadata": metadata},
        "admin": {"address": {"pipe": {"path": str(folder / "admin.sock")}}},
        "dynamic_resources": {
            "lds_config": source,
            "cds_config": source,
            "ads_config": {
                "api_type": "DELTA_GRPC" if delta else "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [ads],
            },
        },
        "static_resources": {
            "clusters": [
                cluster("xds-grpc", {"pipe": {"path": str(istiod)}}, http2=True),
                cluster("sds-grpc", {"pipe": {"path": str(folder / "sds.sock")}}, http2=True),
                cluster("prometheus_stats", nowhere),
                cluster("agent", nowhere),
            ]
        },
    }


class Envoy:
    """`async with Envoy(…)`: the process, ended with the block. `log`: what it printed."""

    def __init__(self, folder: Path, istiod: Path, node_id: str, metadata: dict[str, Any], *, delta: bool) -> None:
        self._folder, self.log_file = folder, folder / "envoy.log"
        self._config = folder / "bootstrap.json"
        self._ips = str(metadata["INSTANCE_IPS"]).split(",")
        folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(json.dumps(bootstrap(folder, istiod, node_id, metadata, delta)))

    async def __aenter__(self) -> Envoy:
        setup = " && ".join(["ip link set lo up", *(f"ip addr add {ip} dev lo" for ip in self._ips)])
        command = f"{setup} && exec {ENVOY} -c {self._config} --concurrency 1 -l warning --use-dynamic-base-id"
        with self.log_file.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "unshare", "-n", "sh", "-c", command, stdout=log, stderr=log, start_new_session=True
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def clusters(self) -> set[str]:
        """Names of the clusters that Envoy has."""
        found = await self._admin("clusters?format=json")
        return {cluster["name"] for cluster in found["cluster_statuses"]}

    async def config_dump(self) -> dict[str, Any]:
        return await self._admin("config_dump")

    async def _admin(self, path: str) -> dict[str, Any]:
        connector = aiohttp.UnixConnector(str(self._folder / "admin.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://admin/{path}") as answer,
        ):
            found: dict[str, Any] = await answer.json(content_type=None)
            return found

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")
