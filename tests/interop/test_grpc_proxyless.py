"""gRPC as its own data plane: the xDS client inside grpcio finds its services through our istiod, and keeps up with it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions

# One call for each line read; the answer, or the status, is one line written.
CLIENT = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    call = channel.unary_unary("/echo.Echo/Say")
    for line in sys.stdin:
        try:
            print(call(line.strip().encode(), timeout=10, wait_for_ready=True).decode(), flush=True)
        except grpc.RpcError as error:
            print(error.code().name, error.details(), flush=True)
"""
# A server that istiod tells how to listen.
SERVER = """
import sys, grpc
from concurrent import futures
server = grpc.server(futures.ThreadPoolExecutor(2), xds=True)
say = grpc.unary_unary_rpc_method_handler(lambda request, context: b"served:" + request)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", {"Say": say}),))
credentials = grpc.xds_server_credentials(grpc.insecure_server_credentials())
server.add_secure_port(sys.argv[1], credentials)
server.start()
server.wait_for_termination()
"""
DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-say, namespace: shop}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/echo.Echo/Say]}}]}]
"""
SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: echo, namespace: shop}}
spec:
  hosts: [echo.shop.svc.cluster.local]
  ports: [{{number: 7070, name: grpc, protocol: GRPC}}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {{address: 127.0.0.1, ports: {{grpc: {one}}}, labels: {{version: one}}}}
  - {{address: 127.0.0.1, ports: {{grpc: {two}}}, labels: {{version: two}}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: shop}}
spec:
  host: echo.shop.svc.cluster.local
  subsets: [{{name: one, labels: {{version: one}}}}, {{name: two, labels: {{version: two}}}}]
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: shop}}
spec:
  hosts: [echo.shop.svc.cluster.local]
  http: [{{route: [{{destination: {{host: echo.shop.svc.cluster.local, subset: {subset}}}}}]}}]
"""


@asynccontextmanager
async def backend(name: str) -> AsyncIterator[int]:
    """A gRPC server that answers with its name and what it was sent."""

    async def say(request: bytes, _context: object) -> bytes:
        return name.encode() + b":" + request

    server = grpc.aio.server()
    handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def bootstrap(port: int) -> str:
    """What Istio's agent writes for such a program, with istiod's plaintext port."""
    metadata = {"GENERATOR": "grpc", "NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes", "LABELS": {}}
    server = {
        "server_uri": f"127.0.0.1:{port}",
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    template = "xds.istio.io/grpc/lds/inbound/%s"
    node = {"id": "sidecar~127.0.0.1~client.shop~shop.svc.cluster.local", "metadata": metadata}
    return json.dumps({"xds_servers": [server], "node": node, "server_listener_resource_name_template": template})


class Client:
    """A process of its own: gRPC reads its bootstrap once for the whole process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def say(self, text: str) -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{text}\n".encode())
        return (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode().strip()


@asynccontextmanager
async def program(text: str, port: int, target: str) -> AsyncIterator[Client]:
    env = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap(port)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", text, target, env=env, stdin=pipe, stdout=pipe)
    try:
        yield Client(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("host", ["echo.shop.svc.cluster.local", "echo.shop", "echo"])
async def test_calls_follow_routes_as_they_change(host: str, tmp_path: Path) -> None:
    async with backend("one") as one, backend("two") as two:
        (tmp_path / "service.yaml").write_text(SERVICE.format(one=one, two=two))
        (tmp_path / "route.yaml").write_text(ROUTE.format(subset="one"))
        async with istiod(tmp_path) as port, program(CLIENT, port, f"xds:///{host}:7070") as client:
            assert [await client.say("a"), await client.say("b")] == ["one:a", "one:b"]
            (tmp_path / "route.yaml").write_text(ROUTE.format(subset="two"))
            answers = await until(client, "two:c")
            assert set(answers) <= {"one:c", "two:c"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_a_server_listens_and_refuses_as_istiod_says(tmp_path: Path) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    (tmp_path / "service.yaml").write_text(SERVICE.format(one=port, two=port))
    async with istiod(tmp_path) as port, program(SERVER, port, address), program(CLIENT, port, address) as client:
        assert await client.say("a") == "served:a"
        (tmp_path / "deny.yaml").write_text(DENY)
        answers = await until(client, "PERMISSION_DENIED")
        assert "served:c" not in answers[-1]


async def until(client: Client, expected: str) -> list[str]:
    """Every answer up to the first that begins so."""
    answers: list[str] = []
    for _ in range(200):
        answers.append(await client.say("c"))
        if answers[-1].startswith(expected):
            return answers
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {expected}: {answers[-1]}")


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Istiod]:
    none = dict.fromkeys(("secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr", "ctrlz_addr"), "")
    made = Istiod(ServerOptions(config_dir=(folder,), grpc_addr="127.0.0.1:0", **none))  # type: ignore[arg-type]
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def istiod(folder: Path) -> AsyncIterator[int]:
    async with running(folder) as made:
        yield made.ports["grpc"]
