"""The agent as a process, between a fake istiod and a real proxy: ours, and Envoy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401  (types of the listener)
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from google.protobuf import json_format

from mizzen.agent.bootstrap_listeners import http_listener, mutual_tls
from mizzen.agent.http1 import Response, fetch, serve
from mizzen.api.errors import PeerError
from mizzen.wire.istio import NameTable
from tests.support.fake_istiod import FakeIstiod, place

TOKEN = "a-token"
TYPES = "type.googleapis.com/"
SPIFFE = "spiffe://cluster.local/ns/shop/sa/reviews"
REPOSITORY = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pod:
    """One agent with its files and ports."""

    def __init__(self, folder: Path, istiod: FakeIstiod) -> None:
        self.folder, self.istiod = folder, istiod
        self.ports = {name: free_port() for name in ("admin", "status", "health", "metrics", "listener", "dns")}
        self.process: asyncio.subprocess.Process | None = None

    def resources(self) -> dict[str, dict[str, Any]]:
        """One listener behind mTLS, no clusters, one name."""
        told = http_listener("127.0.0.1", self.ports["listener"], "/", "agent", tls=mutual_tls())
        listener = json_format.ParseDict(told, listener_pb2.Listener())
        names = NameTable()
        entry = names.table["details.shop.svc.cluster.local"]
        entry.ips.append("10.9.8.7")
        entry.registry, entry.shortname, entry.namespace = "Kubernetes", "details", "shop"
        return {
            f"{TYPES}envoy.config.listener.v3.Listener": {listener.name: listener},
            f"{TYPES}envoy.config.cluster.v3.Cluster": {},
            f"{TYPES}istio.networking.nds.v1.NameTable": {"": names},
        }

    async def start(self, kind: str = "sidecar", **more: str) -> None:
        address = f"localhost:{self.istiod.port}"
        config = {
            "discoveryAddress": address,
            "proxyAdminPort": self.ports["admin"],
            "statusPort": self.ports["status"],
            "terminationDrainDuration": "1s",
        }
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "POD_NAME": "reviews-1",
            "POD_NAMESPACE": "shop",
            "SERVICE_ACCOUNT": "reviews",
            "INSTANCE_IP": "127.0.0.1",
            "CA_ADDR": address,
            "PROXY_CONFIG": json.dumps(config),
            "ENVOY_STATUS_PORT": str(self.ports["health"]),
            "ENVOY_PROMETHEUS_PORT": str(self.ports["metrics"]),
            "DNS_PROXY_ADDR": f"127.0.0.1:{self.ports['dns']}",
            **more,
        }
        command = [sys.executable, "-m", "mizzen", "agent", "proxy", kind]
        self.process = await asyncio.create_subprocess_exec(*command, cwd=self.folder, env=environment)

    async def get(self, port: str, path: str, method: str = "GET") -> Response | None:
        """None when nobody answers."""
        with suppress(OSError, PeerError):
            return await fetch("127.0.0.1", self.ports[port], path, method=method, timeout_s=5)
        return None

    async def ready(self) -> None:
        await eventually(lambda: self.answers("status", 200), "readiness")

    async def answers(self, port: str, status: int, path: str = "/healthz/ready") -> bool:
        assert self.process is not None
        assert self.process.returncode is None, "the agent has ended"
        answer = await self.get(port, path)
        return answer is not None and answer.status == status

    async def serial(self) -> str:
        """The serial number of the certificate that the listener shows."""
        context = ssl.create_default_context(cadata=self.istiod.root_pem.decode())
        context.check_hostname = False
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.ports["listener"], ssl=context)
        except OSError:
            return ""
        shown: dict[str, Any] = writer.get_extra_info("peercert")
        writer.close()
        assert ("URI", SPIFFE) in shown["subjectAltName"]
        return str(shown["serialNumber"])

    async def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 15)


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def eventually(condition: Callable[[], Awaitable[object]], what: str, limit_s: float = 30) -> object:
    """Polls until the condition holds."""
    end = asyncio.get_running_loop().time() + limit_s
    while not (value := await condition()):
        assert asyncio.get_running_loop().time() < end, f"{what} did not come within {limit_s} s"
        await asyncio.sleep(0.02)
    return value


@asynccontextmanager
async def pod(folder: Path, lifetime_s: float = 3600) -> AsyncIterator[Pod]:
    istiod = FakeIstiod(TOKEN, lifetime_s)
    await istiod.start()
    place(folder, istiod)
    made = Pod(folder, istiod)
    istiod.resources = made.resources()
    try:
        yield made
    finally:
        if made.process is not None and made.process.returncode is None:
            await made.stop()
        await istiod.stop()


async def test_a_pods_life(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path) as made:
        await made.start(MIZZEN_DATA_PLANE=data_plane, ISTIO_META_DNS_CAPTURE="true", XDS_HEADER_X_ONE="1")
        await made.ready()
        istiod = made.istiod
        assert istiod.signed == [SPIFFE]
        assert all(told["clusterid"] == "Kubernetes" for told in istiod.metadata)
        assert any(told.get("x_one") == "1" for told in istiod.metadata)
        node = next(request.node for request in istiod.requests if request.node.id)
        assert node.id == "sidecar~127.0.0.1~reviews-1.shop~shop.svc.cluster.local"
        assert node.cluster == "reviews.shop"
        assert not any(request.error_detail.message for request in istiod.requests)
        await eventually(made.serial, "the workload's certificate at the listener")
        await eventually(lambda: made.answers("health", 200), "readiness through the proxy")
        merged = await made.get("status", "/stats/prometheus")
        assert merged is not None
        assert b"istio_agent_" in merged.body
        assert b"envoy_server_live" in merged.body
        query = dns.message.make_query("details.", "A")
        answer = await dns.asyncquery.udp(query, "127.0.0.1", port=made.ports["dns"], timeout=3)
        assert "10.9.8.7" in str(answer.answer[0])
        assert await made.stop() == 0


async def test_certificates_rotate(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path, lifetime_s=6) as made:
        await made.start(MIZZEN_DATA_PLANE=data_plane, SECRET_GRACE_PERIOD_RATIO="0.7")
        await made.ready()
        first = await eventually(made.serial, "a certificate")

        async def another() -> bool:
            return await made.serial() not in ("", first)

        await eventually(another, "another certificate")
        assert len(made.istiod.signed) >= 2


async def test_the_control_plane_comes_back(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path) as made:
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        await made.ready()
        istiod = made.istiod
        await istiod.stop()
        seen = len(istiod.requests)
        assert await made.answers("status", 200)
        await istiod.start()

        async def asked_again() -> bool:
            return len(istiod.requests) > seen

        await eventually(asked_again, "requests after the restart")


async def test_sigterm_drains_before_the_end(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path) as made:
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        await made.ready()
        assert made.process is not None
        begun = asyncio.get_running_loop().time()
        made.process.send_signal(signal.SIGTERM)
        await eventually(lambda: made.answers("status", 503), "unreadiness", 5)
        assert await asyncio.wait_for(made.process.wait(), 15) == 0
        assert asyncio.get_running_loop().time() - begun >= 0.9


async def test_quitquitquit_ends_at_once_and_a_dead_proxy_ends_the_agent(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path) as made:
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        await made.ready()
        assert made.process is not None
        await made.get("status", "/quitquitquit", "POST")
        assert await asyncio.wait_for(made.process.wait(), 10) == 0
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        await made.ready()
        os.kill(child_of(made.process.pid), signal.SIGKILL)
        assert await asyncio.wait_for(made.process.wait(), 10) == 137


async def test_without_a_token_nothing_is_ready(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path) as made:
        (tmp_path / "var/run/secrets/tokens/istio-token").unlink()
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        await eventually(lambda: made.answers("status", 503), "the status port")

        async def refused() -> bool:
            return len(made.istiod.metadata) >= 2

        await eventually(refused, "calls without a token")
        assert made.istiod.signed == []


@pytest.mark.no_proxy("a gRPC program without one")
async def test_proxyless_grpc(tmp_path: Path) -> None:
    async with pod(tmp_path) as made:
        out = tmp_path / "certificates"
        await made.start(DISABLE_ENVOY="true", OUTPUT_CERTS=str(out))
        await made.ready()
        bootstrap: Mapping[str, Any] = json.loads((tmp_path / "etc/istio/proxy/grpc-bootstrap.json").read_text())
        assert bootstrap["xds_servers"][0]["server_uri"] == f"unix://{tmp_path}/etc/istio/proxy/XDS"
        assert bootstrap["node"]["metadata"]["GENERATOR"] == "grpc"
        assert {path.name for path in out.iterdir()} == {"key.pem", "cert-chain.pem", "root-cert.pem"}
        assert await made.stop() == 0


async def test_request_and_wait(tmp_path: Path, data_plane: str) -> None:
    async with pod(tmp_path) as made:
        url = f"http://127.0.0.1:{made.ports['status']}/healthz/ready"
        command = [sys.executable, "-m", "mizzen", "agent", "wait", f"--url={url}", "--periodMillis=50"]
        waiting = await asyncio.create_subprocess_exec(*command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        assert await asyncio.wait_for(waiting.wait(), 30) == 0
        refused = [sys.executable, "-m", "mizzen", "agent", "request", "--debug-port=22", "GET", "x"]
        assert await (await asyncio.create_subprocess_exec(*refused, cwd=REPOSITORY)).wait() == 1


async def test_probes_reach_the_application(tmp_path: Path, data_plane: str) -> None:
    async def page(request: Any) -> Response:
        return Response(200 if request.peer == "127.0.0.6" else 403, b"alive")

    application = await serve(page, ["127.0.0.1"], 0)
    port = application.sockets[0].getsockname()[1]
    probers = {"/app-health/app/livez": {"httpGet": {"path": "/", "port": port}}}
    async with pod(tmp_path) as made:
        await made.start(MIZZEN_DATA_PLANE=data_plane, ISTIO_KUBE_APP_PROBERS=json.dumps(probers))
        await eventually(lambda: made.answers("status", 200, "/app-health/app/livez"), "the application's probe")
    application.close()


async def test_mounted_certificates(tmp_path: Path, data_plane: str) -> None:
    """Files in place of a CA; a new file is a new certificate."""
    async with pod(tmp_path) as made:
        folder = tmp_path / "var/run/secrets/workload-spiffe-credentials"
        folder.mkdir(parents=True)

        def mount() -> None:
            key, chain = made.istiod.issue(SPIFFE)
            for name, data in (("key", key), ("cert-chain", chain), ("root-cert", made.istiod.root_pem)):
                (folder / f"{name}.new").write_bytes(data)
            for name in ("key", "cert-chain", "root-cert"):
                (folder / f"{name}.new").replace(folder / f"{name}.pem")

        mount()
        await made.start(MIZZEN_DATA_PLANE=data_plane)
        await made.ready()
        first = await eventually(made.serial, "the mounted certificate")
        mount()

        async def another() -> bool:
            return await made.serial() not in ("", first)

        await eventually(another, "the new certificate")
        assert made.istiod.signed == []


@pytest.mark.no_proxy("the agent ends before it starts one")
async def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    async with pod(tmp_path) as made:
        with socket.create_server(("0.0.0.0", made.ports["status"])):
            command = [sys.executable, "-m", "mizzen", "agent", "proxy"]
            environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
            environment["PROXY_CONFIG"] = json.dumps({"statusPort": made.ports["status"]})
            ended = await asyncio.create_subprocess_exec(
                *command, cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
            )
            _, errors = await asyncio.wait_for(ended.communicate(), 20)
    assert ended.returncode == 1
    assert errors.decode().splitlines()[-1].startswith("mizzen agent proxy: the status port")
    assert b"Traceback" not in errors
