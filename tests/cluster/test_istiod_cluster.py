"""istiod on our API server: what it keeps there, who it gives certificates to, and istioctl's view of it. No
root needed.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from cryptography import x509

from mizzen.istiod.ca import pki
from mizzen.istiod.ca.secret_access import SecretAccess
from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.istiod.xds.types import CDS, EDS, LDS, RDS
from mizzen.kube import ApiError, Client, load
from mizzen.kube.resource import (
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    MUTATING_WEBHOOKS,
    NAMESPACES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from mizzen.wire import istio_ca
from tests.support.ads_client import AdsClient, names
from tests.support.poll import until

CRDS = Path(__file__).parents[2] / "mizzen" / "api" / "crd"
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", True, "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", True, "RoleBinding")
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices", True, "VirtualService")


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of an API server of our own."""
    folder = tmp_path_factory.mktemp("apiserver")
    path = folder / "kubeconfig"
    command = [sys.executable, "-m", "mizzen", "apiserver", "--data-dir", str(folder), "--secure-port", "0"]
    process = subprocess.Popen([*command, "--kubeconfig", str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield path
    process.terminate()
    process.wait(10)


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    async with Client(load(kubeconfig)) as c:
        for file in CRDS.glob("networking.istio.io_virtualservices.yaml"):
            await ignore_existing(c.create(CUSTOM_RESOURCE_DEFINITIONS, yaml.safe_load(file.read_text())))
        for name in ("istio-system", "shop"):
            await ignore_existing(c.create(NAMESPACES, {"metadata": {"name": name}}))
        for namespace, name in (("shop", "web"), ("istio-system", "default")):
            await ignore_existing(c.create(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": namespace}}))
        yield c


async def ignore_existing(call: Any) -> None:
    try:
        await call
    except ApiError as error:
        if not error.already_exists:
            raise


@pytest.fixture
async def istiod(kubeconfig: Path, client: Client) -> AsyncIterator[Istiod]:
    here = dict.fromkeys(("grpc_addr", "secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr"), "127.0.0.1:0")
    server = Istiod(ServerOptions(kubeconfig=str(kubeconfig), ctrlz_addr="", **here))  # type: ignore[arg-type]
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def token_of(client: Client, namespace: str, name: str, audience: str = "istio-ca") -> str:
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"audiences": [audience], "expirationSeconds": 3600},
    }
    answer = await client.create(SERVICE_ACCOUNTS, request, subresource="token")
    return str(answer["status"]["token"])


def secure_channel(server: Istiod) -> Any:
    credentials = grpc.ssl_channel_credentials(server.authority.roots.encode())
    options = [("grpc.ssl_target_name_override", "istiod.istio-system.svc")]
    return grpc.aio.secure_channel(f"127.0.0.1:{server.ports['secure_grpc']}", credentials, options)


async def test_roots_are_everywhere_and_the_ca_survives(istiod: Istiod, client: Client, kubeconfig: Path) -> None:
    for namespace in ("shop", "kube-system", "istio-system"):

        async def written(namespace: str = namespace) -> str:
            found = await client.find(CONFIG_MAPS, "istio-ca-root-cert", namespace)
            return str(found["data"]["root-cert.pem"]) if found else ""

        async with asyncio.timeout(10):
            while await written() != istiod.authority.roots:
                await asyncio.sleep(0.02)
    assert await client.find(CONFIG_MAPS, "istio-ca-root-cert", "kube-public") is None
    secret = await client.get(SECRETS, "istio-ca-secret", "istio-system")
    assert base64.b64decode(secret["data"]["root-cert.pem"]).decode() == istiod.authority.roots


async def test_webhooks_of_our_revision_trust_us(istiod: Istiod, client: Client) -> None:
    def configuration(name: str, revision: str) -> dict[str, Any]:
        webhook = {
            "name": "x.istio.io",
            "clientConfig": {"service": {"name": "istiod", "namespace": "istio-system", "path": "/inject"}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
        }
        meta = {"name": name, "labels": {"istio.io/rev": revision}}
        return {"metadata": meta, "webhooks": [webhook]}

    for name, revision in (("ours", "default"), ("theirs", "canary")):
        await client.create(MUTATING_WEBHOOKS, configuration(name, revision))
    try:
        expected = base64.b64encode(istiod.authority.roots.encode()).decode()
        async with asyncio.timeout(10):
            while (await client.get(MUTATING_WEBHOOKS, "ours"))["webhooks"][0]["clientConfig"].get(
                "caBundle"
            ) != expected:
                await asyncio.sleep(0.02)
        theirs = await client.get(MUTATING_WEBHOOKS, "theirs")
        assert theirs["webhooks"][0]["clientConfig"].get("caBundle") != expected
    finally:
        for name in ("ours", "theirs"):
            await client.delete(MUTATING_WEBHOOKS, name)


async def test_a_service_account_gets_its_certificate_and_no_other_token_does(istiod: Istiod, client: Client) -> None:
    from tests.support.sds_server import _csr

    request = istio_ca.CertificateRequest(csr=_csr(pki.new_key()), validity_duration=3600)
    async with secure_channel(istiod) as channel:
        create = channel.unary_unary(
            istio_ca.FULL_METHOD,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=istio_ca.CertificateResponse.FromString,
        )
        token = await token_of(client, "shop", "web")
        chain = (await create(request, metadata=[("authorization", f"Bearer {token}")])).cert_chain
        leaf = x509.load_pem_x509_certificate(chain[0].encode())
        sans = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert sans.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/shop/sa/web"]
        for bad in (await token_of(client, "shop", "web", "vault"), "nonsense"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await create(request, metadata=[("authorization", f"Bearer {bad}")])
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_changes_reach_a_proxy_and_istioctl_sees_it(istiod: Istiod, client: Client, kubeconfig: Path) -> None:
    token = await token_of(client, "shop", "web")
    node = "sidecar~10.1.1.1~web.shop~shop.svc.cluster.local"
    metadata = {"NAMESPACE": "shop", "SERVICE_ACCOUNT": "web", "CLUSTER_ID": "Kubernetes", "PROXY_CONFIG": {}}
    async with secure_channel(istiod) as channel:
        proxy = AdsClient(channel, node, metadata, delta=True, token=token)
        for kind in (CDS, LDS):
            await proxy.ask(kind)
            await proxy.ack(await proxy.next())
        service = {"metadata": {"name": "api", "namespace": "shop"}, "spec": {"ports": [{"name": "http", "port": 80}]}}
        await client.create(SERVICES, service)
        cluster = "outbound|80||api.shop.svc.cluster.local"
        seen: dict[str, list[str]] = {}
        while LDS not in seen or CDS not in seen:
            response = await proxy.next()
            seen[response.type_url] = names(response)
            await proxy.ack(response)
        assert cluster in seen[CDS]
        await proxy.ask(EDS, cluster)
        await proxy.ack(await proxy.next())
        await proxy.ask(RDS, "80")
        await proxy.ack(await proxy.next())
        route = {"redirect": {"uri": "/elsewhere"}}
        spec = {"hosts": ["api"], "http": [route]}
        await client.create(VIRTUAL_SERVICES, {"metadata": {"name": "v", "namespace": "shop"}, "spec": spec})
        changed = await proxy.next()
        assert changed.type_url == RDS and b"/elsewhere" in changed.resources[0].resource.value
        await proxy.ack(changed)
        (connection,) = istiod.hub.connections.values()
        await until(lambda: all(watch.status == "SYNCED" for watch in connection.watches.values()))
        assert connection.identity == "spiffe://cluster.local/ns/shop/sa/web"
        await _istioctl(istiod, kubeconfig)
        await client.delete(SERVICES, "api", "shop")
        await client.delete(VIRTUAL_SERVICES, "v", "shop")


async def _istioctl(istiod: Istiod, kubeconfig: Path) -> None:
    where = ["--xds-address", f"127.0.0.1:{istiod.ports['secure_grpc']}", "-c", str(kubeconfig)]
    status = await _run("proxy-status", *where)
    rows = [line.split() for line in status.splitlines()]
    assert rows[0][:4] == ["NAME", "CLUSTER", "ISTIOD", "VERSION"]
    assert rows[1][:3] == ["web.shop", "Kubernetes", "istiod"] and "(CDS,LDS,EDS,RDS)" in rows[1]
    wide = await _run("proxy-status", "-v", "1", *where)
    assert "SYNCED" in wide
    dumped = json.loads(await _run("proxy-status", "-o", "json", *where))
    assert dumped[0]["resources"][0]["node"]["id"].startswith("sidecar~10.1.1.1")
    assert "control plane version: 1.32.0" in await _run("version", *where)


async def _run(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mizzen", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_secrets_are_for_accounts_that_may_list_them(client: Client) -> None:
    identity = "spiffe://cluster.local/ns/shop/sa/web"
    assert not await SecretAccess(client).may_list(identity)
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"]}
    await client.create(ROLES, {"metadata": {"name": "sds", "namespace": "shop"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "sds", "namespace": "shop"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sds"},
        "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}],
    }
    await client.create(ROLE_BINDINGS, binding)
    async with asyncio.timeout(5):
        while not await SecretAccess(client).may_list(identity):
            await asyncio.sleep(0.02)
    assert not await SecretAccess(client).may_list("spiffe://cluster.local/ns/shop/sa/other")
    assert not await SecretAccess(client).may_list(None)
