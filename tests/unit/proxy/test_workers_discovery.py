"""Several workers are one client of a control plane: one stream, and what it brings is in force in all of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from mizzen.proxy.config.load import fill
from tests.unit.proxy.test_hot_restart import TYPES, address, free_ports, listener
from tests.unit.proxy.test_workers import Proxy, Upstream, ended

ADS = {"resource_api_version": "V3", "ads": {}}
METHODS = {False: "StreamAggregatedResources", True: "DeltaAggregatedResources"}
CLUSTER, ENDPOINTS, LISTENER, ROUTES = (
    TYPES + f"envoy.config.{name}"
    for name in (
        "cluster.v3.Cluster",
        "endpoint.v3.ClusterLoadAssignment",
        "listener.v3.Listener",
        "route.v3.RouteConfiguration",
    )
)


class ControlPlane:
    """Sends all it has of a type to whoever asks, and again when it is told to."""

    def __init__(self, delta: bool) -> None:
        self.delta = delta
        self.streams = 0
        self.refused: list[str] = []
        self.resources: dict[str, dict[str, dict[str, Any]]] = {}
        self.pushes: asyncio.Queue[str] = asyncio.Queue()

    async def serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        self.streams += 1
        reading = asyncio.create_task(self._read(requests))
        number = 0
        try:
            while True:
                number += 1
                await context.write(self._response(await self.pushes.get(), str(number)))
        finally:
            reading.cancel()

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            if request.HasField("error_detail"):
                self.refused.append(request.error_detail.message)
            elif not request.response_nonce or getattr(request, "resource_names_subscribe", ()):
                self.pushes.put_nowait(request.type_url)

    def _response(self, kind: str, number: str) -> Any:
        made = {name: packed(kind, each) for name, each in self.resources[kind].items()}
        if not self.delta:
            return discovery_pb2.DiscoveryResponse(
                type_url=kind, version_info=number, nonce=number, resources=made.values()
            )
        resources = [discovery_pb2.Resource(name=name, version=number, resource=each) for name, each in made.items()]
        return discovery_pb2.DeltaDiscoveryResponse(type_url=kind, nonce=number, resources=resources)

    async def start(self) -> tuple[grpc.aio.Server, int]:
        asked: Any = discovery_pb2.DeltaDiscoveryRequest if self.delta else discovery_pb2.DiscoveryRequest
        handler = grpc.stream_stream_rpc_method_handler(
            self.serve, asked.FromString, lambda message: message.SerializeToString()
        )
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {METHODS[self.delta]: handler}),)
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port


def packed(kind: str, value: dict[str, Any]) -> any_pb2.Any:
    out = any_pb2.Any()
    fill(out, {"@type": kind, **value}, "resource")
    return out


def routes(status: int | None) -> dict[str, Any]:
    """To the cluster, or answered with a status."""
    action = {"route": {"cluster": "served"}} if status is None else {"direct_response": {"status": status}}
    host = {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}
    return {"name": "routes", "virtual_hosts": [host]}


class Discovered(Proxy):
    """A proxy that knows only its control plane."""

    def __init__(self, folder: Path, control: int, delta: bool) -> None:
        self.admin, self.port = free_ports(2)
        endpoint = {"endpoint": {"address": address(control)}}
        http2 = {
            "@type": TYPES + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        bootstrap = {
            "node": {"id": "n", "cluster": "c"},
            "admin": {"address": address(self.admin)},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC" if delta else "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
                },
                "cds_config": ADS,
                "lds_config": ADS,
            },
            "static_resources": {
                "clusters": [
                    {
                        "name": "xds",
                        "type": "STATIC",
                        "typed_extension_protocol_options": {
                            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                        },
                        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
                    }
                ]
            },
        }
        config = folder / "bootstrap.json"
        config.write_text(json.dumps(bootstrap))
        command = [sys.executable, "-m", "mizzen", "proxy", "-c", str(config), "--concurrency", "2"]
        self.process = subprocess.Popen(command)

    async def all_answer(self, status: int) -> None:
        """Until thirty connections in a row get this status: both workers have it."""
        row = 0
        async with asyncio.timeout(60):
            while row < 30:
                row = row + 1 if await self.get() == status else 0


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.asyncio
async def test_one_stream_feeds_all(tmp_path: Path, delta: bool) -> None:
    up = Upstream()
    backend = await asyncio.start_server(up.serve, "127.0.0.1", 0)
    control = ControlPlane(delta)
    server, port = await control.start()
    proxy = Discovered(tmp_path, port, delta)
    endpoint = {"endpoint": {"address": address(backend.sockets[0].getsockname()[1])}}
    served = listener("served", proxy.port)
    manager = served["filter_chains"][0]["filters"][0]["typed_config"]
    del manager["route_config"]
    manager["rds"] = {"route_config_name": "routes", "config_source": ADS}
    cluster = {"name": "served", "type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
    control.resources = {
        CLUSTER: {"served": cluster},
        ENDPOINTS: {"served": {"cluster_name": "served", "endpoints": [{"lb_endpoints": [endpoint]}]}},
        LISTENER: {"served": served},
        ROUTES: {"routes": routes(None)},
    }
    try:
        await proxy.becomes("listener_manager.workers_started", 2)
        await proxy.spread(f"127.0.0.1_{proxy.port}", proxy.get)
        control.resources[ROUTES] = {"routes": routes(418)}
        control.pushes.put_nowait(ROUTES)
        await proxy.all_answer(418)
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGKILL)
        await ended([worker])
        await proxy.becomes("listener_manager.workers_started", 2)
        await proxy.all_answer(418)
        assert control.streams == 1 and not control.refused
    finally:
        proxy.process.kill()
        proxy.process.wait()
        await server.stop(None)
        backend.close()
