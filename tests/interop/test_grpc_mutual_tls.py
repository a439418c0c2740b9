"""gRPC as its own data plane, with mutual TLS: both programs take certificates of our CA from files, as bootstraps of
Istio's agent say, and istiod tells them by xDS to use them.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mizzen.agent.grpc_bootstrap import LISTENER_TEMPLATE
from mizzen.istiod.ca import pki
from mizzen.istiod.ca.authority import Authority
from tests.interop.test_grpc_proxyless import Client, free_port, running

TARGET = "xds:///echo.shop.svc.cluster.local:7070"
FILES = {"certificate_file": "cert-chain.pem", "private_key_file": "key.pem", "ca_certificate_file": "root-cert.pem"}
CLIENT = """
import sys, grpc
credentials = grpc.xds_channel_credentials()
with grpc.secure_channel(sys.argv[1], credentials) as channel:
    call = channel.unary_unary("/echo.Echo/Say")
    for line in sys.stdin:
        try:
            print(call(line.strip().encode(), timeout=5, wait_for_ready=True).decode(), flush=True)
        except grpc.RpcError as error:
            print(error.code().name, error.details(), flush=True)
"""
# The answer is who the server takes the caller for.
SERVER = """
import sys, grpc
from concurrent import futures
def say(request, context):
    return b"caller " + b",".join(context.auth_context().get("peer_spiffe_id", [b"nobody"]))
server = grpc.server(futures.ThreadPoolExecutor(2), xds=True)
handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
server.add_secure_port(sys.argv[1], grpc.xds_server_credentials(grpc.insecure_server_credentials()))
server.start()
server.wait_for_termination()
"""
MESH = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: echo, namespace: shop}}
spec:
  hosts: [echo.shop.svc.cluster.local]
  ports: [{{number: 7070, name: grpc, protocol: GRPC}}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{{address: 127.0.0.1, ports: {{grpc: {port}}}, serviceAccount: echo}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: shop}}
spec: {{host: echo.shop.svc.cluster.local, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: STRICT}}}}
"""
ONLY_FRIENDS = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: friends, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/friend]}}]}]}
"""


def spiffe(account: str) -> str:
    return f"spiffe://cluster.local/ns/shop/sa/{account}"


def certify(folder: Path, authority: Authority, account: str) -> None:
    """A fresh key and certificate of the mesh's CA, where a program's bootstrap says that they are."""
    folder.mkdir(exist_ok=True)
    key = pki.new_key()
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    chain = authority.issue(csr.public_bytes(Encoding.PEM).decode(), [spiffe(account)], 0)
    texts = {"key.pem": pki.key_pem(key), "cert-chain.pem": "".join(chain[:-1]), "root-cert.pem": chain[-1]}
    for name, text in texts.items():
        fresh = folder / f"{name}.new"
        fresh.write_text(text)
        fresh.replace(folder / name)


def bootstrap(port: int, folder: Path, name: str) -> str:
    """The bootstrap of Istio's agent, but for istiod's address and how often files are looked at."""
    metadata = {"GENERATOR": "grpc", "NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes", "LABELS": {}}
    server: dict[str, Any] = {"server_uri": f"127.0.0.1:{port}", "channel_creds": [{"type": "insecure"}]}
    files = {field: str(folder / file) for field, file in FILES.items()}
    return json.dumps(
        {
            "xds_servers": [server | {"server_features": ["xds_v3"]}],
            "node": {"id": f"sidecar~127.0.0.1~{name}.shop~shop.svc.cluster.local", "metadata": metadata},
            "certificate_providers": {
                "default": {"plugin_name": "file_watcher", "config": {**files, "refresh_interval": "1s"}}
            },
            "server_listener_resource_name_template": LISTENER_TEMPLATE,
        }
    )


@asynccontextmanager
async def program(text: str, config: str, target: str) -> AsyncIterator[Client]:
    env = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": config}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", text, target, env=env, stdin=pipe, stdout=pipe)
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class World:
    """istiod, and a server of STRICT mutual TLS with the certificate of an account."""

    def __init__(self, folder: Path, authority: Authority, xds: int, port: int) -> None:
        self.folder, self.authority, self.xds, self.port = folder, authority, xds, port

    @asynccontextmanager
    async def client(self, account: str) -> AsyncIterator[Client]:
        certificates = self.folder / account
        certify(certificates, self.authority, account)
        async with program(CLIENT, bootstrap(self.xds, certificates, account), TARGET) as made:
            yield made

    def context(self, certificates: Path | None) -> ssl.SSLContext:
        """Of a TLS client that is no gRPC: with somebody's certificate, or with none."""
        made = ssl.create_default_context(cadata=self.authority.roots)
        made.check_hostname = False
        made.set_alpn_protocols(["h2"])
        if certificates is not None:
            made.load_cert_chain(certificates / "cert-chain.pem", certificates / "key.pem")
        return made

    async def hello(self, context: ssl.SSLContext | None) -> tuple[bytes, str]:
        """What the server says first, and its certificate's serial number; nothing when it hangs up."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            said = await asyncio.wait_for(reader.read(9), 10)
            shown = writer.get_extra_info("peercert") or {}
            writer.close()
        except (OSError, ssl.SSLError):
            return b"", ""
        return said, str(shown.get("serialNumber", ""))


@asynccontextmanager
async def world(folder: Path, server: str = "echo") -> AsyncIterator[World]:
    config, port = folder / "config", free_port()
    config.mkdir()
    (config / "mesh.yaml").write_text(MESH.format(port=port))
    async with running(config) as istiod:
        certificates = folder / "server"
        certify(certificates, istiod.authority, server)
        xds = istiod.ports["grpc"]
        async with program(SERVER, bootstrap(xds, certificates, "server"), f"127.0.0.1:{port}"):
            yield World(folder, istiod.authority, xds, port)


async def until(client: Client, begins: str) -> str:
    """Asks until the answer begins so."""
    for _ in range(200):
        answer = await client.say("a")
        if answer.startswith(begins):
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"never {begins}: {answer}")


async def test_the_server_knows_its_callers(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client("alice") as alice, made.client("friend") as friend:
        assert await until(alice, "caller") == f"caller {spiffe('alice')}"
        assert await until(friend, "caller") == f"caller {spiffe('friend')}"
        (tmp_path / "config" / "friends.yaml").write_text(ONLY_FRIENDS)
        await until(alice, "PERMISSION_DENIED")
        assert await until(friend, "caller") == f"caller {spiffe('friend')}"


async def test_nobody_is_let_in_without_a_certificate(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client("alice") as alice:
        await until(alice, "caller")
        said, serial = await made.hello(made.context(tmp_path / "alice"))
        assert said[3:4] == b"\x04", "SETTINGS"
        assert serial
        assert (await made.hello(made.context(None)))[0] == b"", "in TLS"
        assert (await made.hello(None))[0] == b"", "in plaintext"


async def test_a_server_of_another_identity_is_not_called(tmp_path: Path) -> None:
    async with world(tmp_path, server="mallory") as made, made.client("alice") as alice:
        answers = [await alice.say("a") for _ in range(2)]
        assert not [answer for answer in answers if answer.startswith("caller")]


async def test_certificates_rotate_under_a_running_server(tmp_path: Path) -> None:
    async with world(tmp_path) as made, made.client("alice") as alice:
        await until(alice, "caller")
        context = made.context(tmp_path / "alice")
        _, first = await made.hello(context)
        certify(tmp_path / "server", made.authority, "echo")
        for _ in range(400):
            _, serial = await made.hello(context)
            if serial not in ("", first):
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the old certificate stays")
        assert await until(alice, "caller") == f"caller {spiffe('alice')}"
