"""istiod on a Kubernetes API server that is not ours: it lists and watches, outlives the server's restarts, and lists anew when
what it had watched up to is gone from the server's history.

Runs where etcd and kube-apiserver are found: by $ETCD and $KUBE_APISERVER, else by PATH. No package registry
carries kube-apiserver as a program, so that a machine made of packages alone skips this.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.kube import Client, load
from mizzen.kube.resource import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, SERVICES, Resource
from tests.interop.test_grpc_proxyless import free_port
from tests.support.poll import until

CRDS = Path(__file__).parents[2] / "mizzen" / "api" / "crd"
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices", True, "VirtualService")
FOUND = {
    name: os.environ.get(name.upper().replace("-", "_")) or shutil.which(name) for name in ("etcd", "kube-apiserver")
}
LIMIT_S = 60.0

pytestmark = pytest.mark.skipif(not all(FOUND.values()), reason="needs etcd and kube-apiserver")


class Foreign:
    """etcd and a kube-apiserver on it, in a folder; the API server can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.etcd, self.port = folder, f"http://127.0.0.1:{free_port()}", free_port()
        self.kubeconfig = folder / "kubeconfig"
        (folder / "tokens.csv").write_text('secret,admin,1,"system:masters"\n')
        (folder / "accounts.pem").write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        )
        cluster = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": str(folder / "certificates/apiserver.crt"),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": cluster}],
            "users": [{"name": "a", "user": {"token": "secret"}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self._server: subprocess.Popen[bytes] | None = None

    @contextmanager
    def store(self) -> Iterator[None]:
        peer = f"http://127.0.0.1:{free_port()}"
        command = [FOUND["etcd"], "--data-dir", self.folder / "etcd", "--initial-cluster", f"default={peer}"]
        command += ["--listen-client-urls", self.etcd, "--advertise-client-urls", self.etcd]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        process = self._run(command, "etcd.log")
        try:
            yield
        finally:
            self.stop()
            process.terminate()
            process.wait(20)

    def _run(self, command: list[Any], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen([str(part) for part in command], stdout=out, stderr=out)

    def start(self) -> None:
        account = self.folder / "accounts.pem"
        self._server = self._run(
            [
                FOUND["kube-apiserver"],
                f"--etcd-servers={self.etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.port}",
                f"--cert-dir={self.folder / 'certificates'}",
                f"--token-auth-file={self.folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={account}",
                f"--service-account-signing-key-file={account}",
            ],
            "apiserver.log",
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait(20)
            self._server = None

    async def ready(self) -> None:
        """Until it answers that it is."""
        deadline = asyncio.get_running_loop().time() + LIMIT_S
        while not await self._answers():
            assert self._server is not None
            assert self._server.poll() is None, (self.folder / "apiserver.log").read_text()[-2000:]
            assert asyncio.get_running_loop().time() < deadline, "the API server is not ready"
            await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
            writer.write(
                b"GET /readyz HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n"
            )
            head = await reader.readline()
            writer.close()
        except OSError:
            return False
        return b" 200 " in head

    def lose(self, key: str) -> None:
        """A key is deleted, and the history in which that can be seen is compacted away."""
        self._ask("deleterange", {"key": base64.b64encode(key.encode()).decode()})
        made = self._ask("put", {"key": base64.b64encode(b"/elsewhere").decode(), "value": ""})
        self._ask("compaction", {"revision": made["header"]["revision"], "physical": True})

    def _ask(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """etcd's API as JSON."""
        request = urllib.request.Request(f"{self.etcd}/v3/kv/{method}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.load(answer))


@pytest.fixture
async def foreign(tmp_path: Path) -> AsyncIterator[Foreign]:
    made = Foreign(tmp_path)
    with made.store():
        made.start()
        await made.ready()
        yield made


@asynccontextmanager
async def istiod_on(kubeconfig: Path) -> AsyncIterator[Istiod]:
    here = dict.fromkeys(("grpc_addr", "secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr"), "127.0.0.1:0")
    server = Istiod(ServerOptions(kubeconfig=str(kubeconfig), ctrlz_addr="", **here))  # type: ignore[arg-type]
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


def service(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"name": "http", "port": 80}]}}


def has(istiod: Istiod, kind: str, name: str) -> bool:
    return istiod.hub.snapshot is not None and istiod.hub.snapshot.get(kind, ("shop", name)) is not None


async def bookmarked(client: Client, version: str) -> bool:
    """Whether a short watch of what does not change gets a bookmark."""
    events = client.watch(VIRTUAL_SERVICES, "shop", resource_version=version, timeout_s=5)
    found = [event async for event in events]
    return any(event[0] == "BOOKMARK" and event[1]["metadata"]["resourceVersion"] for event in found)


async def test_istiod_keeps_up_with_a_foreign_api_server(foreign: Foreign) -> None:
    async with Client(load(foreign.kubeconfig)) as client:
        for name in ("istio-system", "shop"):
            await client.create(NAMESPACES, {"metadata": {"name": name}})
        for file in sorted(CRDS.glob("networking.istio.io_*.yaml")):
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, yaml.safe_load(file.read_text()))
        await client.create(SERVICES, service("listed"))
        async with istiod_on(foreign.kubeconfig) as istiod:
            await until(lambda: has(istiod, "Service", "listed"), "what was there", LIMIT_S)
            await client.create(SERVICES, service("watched"))
            spec = {"hosts": ["listed"], "http": [{"redirect": {"uri": "/elsewhere"}}]}
            made = await client.create(VIRTUAL_SERVICES, {"metadata": {"name": "v", "namespace": "shop"}, "spec": spec})
            await until(lambda: has(istiod, "Service", "watched"), "a new Service", LIMIT_S)
            await until(lambda: has(istiod, "VirtualService", "v"), "a new VirtualService", LIMIT_S)

            assert await bookmarked(client, made["metadata"]["resourceVersion"]), (
                "a watch that ends is told how far it came"
            )
            foreign.stop()
            foreign.start()
            await foreign.ready()
            assert has(istiod, "Service", "listed"), "nothing is forgotten while the server is away"
            await client.create(SERVICES, service("later"))
            await until(lambda: has(istiod, "Service", "later"), "what came after a restart", LIMIT_S)

            foreign.stop()
            foreign.lose("/registry/services/specs/shop/watched")
            foreign.start()
            await foreign.ready()
            await until(lambda: not has(istiod, "Service", "watched"), "a deletion lost to compaction", LIMIT_S)
            assert has(istiod, "Service", "later")
