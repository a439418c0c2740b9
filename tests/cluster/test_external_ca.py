"""Certificates from a signer of the Kubernetes API, and several roots, on our API server. No root needed."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from mizzen.agent.messages import trust_anchors
from mizzen.istiod.ca import bundle, pki
from mizzen.istiod.ca.kubernetes_ra import REQUESTS
from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.xds.types import PCDS
from mizzen.kube import Client, load
from mizzen.kube.resource import SERVICE_ACCOUNTS
from mizzen.wire import istio_ca
from tests.support.ads_client import AdsClient
from tests.support.api_server import KUBECTL, Kubectl, api_server, istiod_on

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl")

SIGNER, OTHER = "signers.example.test/mesh", "signers.example.test/special"
ME = "spiffe://cluster.local/ns/shop/sa/web"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(tmp_path_factory.mktemp("apiserver")) as path:
        yield path


@pytest.fixture
async def client(kubeconfig: Path) -> AsyncIterator[Client]:
    kubectl = Kubectl(kubeconfig)
    for name in ("istio-system", "shop"):
        await kubectl.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
    await kubectl.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop}\n")
    async with Client(load(kubeconfig)) as one:
        yield one


async def mesh_config(kubeconfig: Path, roots: list[dict[str, Any]]) -> None:
    mesh = yaml.safe_dump({"caCertificates": roots})
    metadata = {"name": "istio", "namespace": "istio-system"}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": mesh}}
    await Kubectl(kubeconfig).apply(yaml.safe_dump(config_map))


def csr(uri: str) -> str:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return builder.sign(pki.new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class Signer:
    """Signs what has been approved, as a signer of its own would; counts by signer's name."""

    def __init__(self, client: Client, ca: bundle.Bundle) -> None:
        self._client, self._ca = client, ca
        self.signed: list[str] = []

    async def run(self) -> None:
        while True:
            for request in (await self._client.list(REQUESTS)).items:
                status = request.get("status") or {}
                approved = any(one["type"] == "Approved" for one in status.get("conditions") or ())
                if approved and not status.get("certificate"):
                    await self._sign(request)
            await asyncio.sleep(0.05)

    async def _sign(self, request: dict[str, Any]) -> None:
        asked = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
        names = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        leaf = pki.workload_certificate(
            asked, uris, self._ca.certificate, self._ca.key, datetime.now(UTC), timedelta(hours=1)
        )
        encoded = base64.b64encode(pki.pem(leaf).encode()).decode()
        name = request["metadata"]["name"]
        await self._client.patch(REQUESTS, name, {"status": {"certificate": encoded}}, subresource="status")
        self.signed.append(request["spec"]["signerName"])


async def token(client: Client) -> str:
    spec = {"audiences": ["istio-ca"], "expirationSeconds": 3600}
    request = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}
    return str((await client.create(SERVICE_ACCOUNTS, request, subresource="token"))["status"]["token"])


async def ask(istiod: Istiod, client: Client, uri: str, signer: str = "") -> list[str]:
    credentials = grpc.ssl_channel_credentials(istiod.authority.bundle.roots.encode())
    options = [("grpc.ssl_target_name_override", "istiod.istio-system.svc")]
    request = istio_ca.CertificateRequest(csr=csr(uri), validity_duration=3600)
    if signer:
        request.metadata["CertSigner"] = signer
    async with grpc.aio.secure_channel(f"127.0.0.1:{istiod.ports['secure_grpc']}", credentials, options) as channel:
        create = channel.unary_unary(
            istio_ca.FULL_METHOD,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=istio_ca.CertificateResponse.FromString,
        )
        answer = await create(request, metadata=[("authorization", f"Bearer {await token(client)}")])
        return list(answer.cert_chain)


async def test_another_signs(kubeconfig: Path, client: Client) -> None:
    ca = bundle.self_signed("elsewhere", datetime.now(UTC))
    await mesh_config(kubeconfig, [{"pem": ca.roots, "certSigners": [SIGNER, OTHER]}])
    options = {
        "external_ca": "ISTIOD_RA_KUBERNETES_API",
        "k8s_signer": SIGNER,
        "cert_signer_domain": "signers.example.test",
    }
    signer = Signer(client, ca)
    async with istiod_on(kubeconfig, **options) as istiod, asyncio.TaskGroup() as tasks:
        signing = tasks.create_task(signer.run())
        leaf, roots = await ask(istiod, client, ME)
        x509.load_pem_x509_certificate(leaf.encode()).verify_directly_issued_by(ca.certificate)
        assert roots == ca.roots
        assert ca.roots in istiod.authority.roots, "who verifies peers trusts the signer, too"
        await ask(istiod, client, ME, "special")
        assert signer.signed == [SIGNER, OTHER]
        assert (await client.list(REQUESTS)).items == [], "requests are removed"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(istiod, client, "spiffe://cluster.local/ns/kube-system/sa/admin")
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(istiod, client, ME, "unknown")
        assert "no root certificate of signer signers.example.test/unknown" in str(refused.value.details())
        signing.cancel()


async def test_a_choice_that_is_not_built_is_refused_by_name(kubeconfig: Path, client: Client) -> None:
    with pytest.raises(Exception, match="EXTERNAL_CA=ELSEWHERE: only ISTIOD_RA_KUBERNETES_API is supported"):
        async with istiod_on(kubeconfig, external_ca="ELSEWHERE"):
            pass


async def test_proxies_are_told_of_every_root(kubeconfig: Path, client: Client) -> None:
    foreign = bundle.self_signed("foreign", datetime.now(UTC))
    await mesh_config(kubeconfig, [])
    async with (
        istiod_on(kubeconfig, multiroot=True) as istiod,
        grpc.aio.insecure_channel(f"127.0.0.1:{istiod.ports['grpc']}") as channel,
    ):
        node = "sidecar~10.0.0.1~web.shop~shop.svc.cluster.local"
        proxy = AdsClient(channel, node, {"NAMESPACE": "shop"}, delta=False)
        await proxy.ask(PCDS)
        first = await proxy.next()
        assert trust_anchors(first.resources[0].value) == [istiod.authority.roots]
        await proxy.ack(first)
        await mesh_config(kubeconfig, [{"pem": foreign.roots}])
        second = await proxy.next(10)
        assert set(trust_anchors(second.resources[0].value)) == {istiod.authority.roots, foreign.roots}


async def test_a_plugged_in_ca_is_rotated_over_a_bundle_of_both_roots(
    kubeconfig: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's steps: trust both, sign with the new one, and every namespace's roots follow without a restart."""
    monkeypatch.setattr("mizzen.istiod.server.istiod.CA_CHECK_S", 0.1)
    await mesh_config(kubeconfig, [])
    kubectl = Kubectl(kubeconfig)
    old, new = (bundle.self_signed("cluster.local", datetime.now(UTC)) for _ in range(2))

    async def plug_in(ca: bundle.Bundle, roots: str) -> None:
        data = {k: base64.b64encode(v.encode()).decode() for k, v in {**ca.data(), "root-cert.pem": roots}.items() if v}
        metadata = {"name": "cacerts", "namespace": "istio-system"}
        await kubectl.apply(yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}))

    async def distributed() -> str:
        found = await kubectl.get("configmap", "istio-ca-root-cert", "-n", "shop")
        return str(found["data"]["root-cert.pem"])

    async def follows(roots: str) -> None:
        async with asyncio.timeout(15):
            while await distributed() != roots:
                await asyncio.sleep(0.1)

    await plug_in(old, old.roots)
    async with istiod_on(kubeconfig) as istiod:
        async with asyncio.timeout(15):
            while "istio-ca-root-cert" not in await kubectl("get", "configmaps", "-n", "shop", "-o", "name"):
                await asyncio.sleep(0.1)
        await follows(old.roots)
        await plug_in(new, new.roots)  # too soon: nobody trusts it yet
        await plug_in(old, old.roots + new.roots)
        await follows(old.roots + new.roots)
        leaf = (await ask(istiod, client, ME))[0]
        x509.load_pem_x509_certificate(leaf.encode()).verify_directly_issued_by(old.certificate)
        await plug_in(new, old.roots + new.roots)
        async with asyncio.timeout(15):
            while istiod.authority.bundle.certificate != new.certificate:
                await asyncio.sleep(0.05)
        leaf = (await ask(istiod, client, ME))[0]
        x509.load_pem_x509_certificate(leaf.encode()).verify_directly_issued_by(new.certificate)
    await kubectl("delete", "secret", "cacerts", "-n", "istio-system")
