"""A real gRPC client that does without a proxy: its xDS goes through the agent's socket."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import grpc.aio
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from google.protobuf import json_format

from tests.scenarios.test_agent import TYPES, pod

HOST = "greeter.shop.svc.cluster.local:7070"
CLUSTER = "outbound|7070||greeter.shop.svc.cluster.local"
CLIENT = f"""
import grpc
with grpc.insecure_channel("xds:///{HOST}") as channel:
    call = channel.unary_unary("/greeter.Greeter/Hello", request_serializer=None, response_deserializer=None)
    print(call(b"you", timeout=20, wait_for_ready=True).decode())
"""
HCM = f"{TYPES}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ADS: dict[str, Any] = {"ads": {}, "resource_api_version": "V3"}


async def hello(request: bytes, context: Any) -> bytes:
    return b"hello " + request


async def greeter() -> tuple[Any, int]:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(hello)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("greeter.Greeter", {"Hello": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


def resources(port: int) -> dict[str, dict[str, Any]]:
    router = {"name": "router", "typed_config": {"@type": f"{TYPES}envoy.extensions.filters.http.router.v3.Router"}}
    manager = {"@type": HCM, "rds": {"route_config_name": CLUSTER, "config_source": ADS}, "http_filters": [router]}
    hosts = [{"name": HOST, "domains": [HOST], "routes": [{"match": {"prefix": ""}, "route": {"cluster": CLUSTER}}]}]
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoint: dict[str, Any] = {"health_status": "HEALTHY", "endpoint": {"address": address}}
    locality = {"locality": {"region": "r"}, "load_balancing_weight": 1, "lb_endpoints": [endpoint]}
    cluster = {"name": CLUSTER, "type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
    told: list[tuple[Any, str, dict[str, Any]]] = [
        (listener_pb2.Listener, HOST, {"name": HOST, "api_listener": {"api_listener": manager}}),
        (route_pb2.RouteConfiguration, CLUSTER, {"name": CLUSTER, "virtual_hosts": hosts}),
        (cluster_pb2.Cluster, CLUSTER, cluster),
        (endpoint_pb2.ClusterLoadAssignment, CLUSTER, {"cluster_name": CLUSTER, "endpoints": [locality]}),
    ]
    return {
        f"{TYPES}{kind.DESCRIPTOR.full_name}": {name: json_format.ParseDict(value, kind())}
        for kind, name, value in told
    }


async def test_a_client_finds_its_server_through_the_agent(tmp_path: Path) -> None:
    server, port = await greeter()
    async with pod(tmp_path) as made:
        made.istiod.resources = resources(port)
        await made.start(DISABLE_ENVOY="true", OUTPUT_CERTS=str(tmp_path / "certificates"))
        await made.ready()
        environment = {**os.environ, "GRPC_XDS_BOOTSTRAP": str(tmp_path / "etc/istio/proxy/grpc-bootstrap.json")}
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, env=environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(client.communicate(), 40)
        assert output.decode().strip() == "hello you"
        node = next(request.node for request in made.istiod.requests if request.node.id)
        assert node.metadata["GENERATOR"] == "grpc"
    await server.stop(None)
