"""The certificate authority: what it signs, for whom, over real gRPC and TLS; and where its key survives."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mizzen.api.errors import UsageError
from mizzen.istiod.ca import bundle, pki, spiffe
from mizzen.istiod.ca.authenticate import ApiTokenReviewer, KeyTokenReviewer, Unauthenticated, account_of
from mizzen.istiod.ca.authority import Authority, TrustError, TtlError
from mizzen.istiod.ca.persist import FolderKeeper, SecretKeeper
from mizzen.istiod.server.istiod import Istiod
from mizzen.istiod.server.options import ServerOptions
from mizzen.kube import Client
from mizzen.wire import istio_ca
from tests.support.fake_api import FakeApi
from tests.support.poll import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ME = "spiffe://cluster.local/ns/shop/sa/web"


def csr_pem(key: Any = None, uri: str = "spiffe://cluster.local/ns/kube-system/sa/admin") -> str:
    key = key or pki.new_key()
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


@pytest.fixture
def authority() -> Authority:
    return Authority(bundle.self_signed("cluster.local", NOW), "cluster.local")


def test_root(authority: Authority) -> None:
    root = authority.bundle.certificate
    (organization,) = root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert organization.value == "cluster.local"
    assert root.not_valid_after_utc == NOW + timedelta(days=3650)
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    root.verify_directly_issued_by(root)


def test_leaf(authority: Authority) -> None:
    chain = authority.issue(csr_pem(), [ME], 0, NOW)
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    assert chain[1:] == [authority.roots]
    assert uris(leaf) == [ME], "the identity is the caller's, not what the CSR asks for"
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=2)
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=24)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert len(list(leaf.subject)) == 0
    leaf.verify_directly_issued_by(authority.bundle.certificate)


@pytest.mark.parametrize(("asked_s", "hours"), [(3600, 1), (-5, 24), (0, 24), (2160 * 3600, 2160)])
def test_ttl(authority: Authority, asked_s: int, hours: int) -> None:
    leaf = x509.load_pem_x509_certificate(authority.issue(csr_pem(), [ME], asked_s, NOW)[0].encode())
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=hours)


def test_ttl_limits(authority: Authority) -> None:
    with pytest.raises(TtlError):
        authority.issue(csr_pem(), [ME], 2160 * 3600 + 1, NOW)
    late = NOW + timedelta(days=3649, hours=12)
    leaf = x509.load_pem_x509_certificate(authority.issue(csr_pem(), [ME], 0, late)[0].encode())
    assert leaf.not_valid_after_utc == authority.bundle.certificate.not_valid_after_utc, "never outlives its signer"


@pytest.mark.parametrize("text", ["", "nonsense", csr_pem()[:-60], csr_pem().replace("A", "B", 1)])
def test_bad_requests(authority: Authority, text: str) -> None:
    with pytest.raises(pki.CsrError):
        authority.issue(text, [ME], 0, NOW)


def test_weak_keys_are_refused(authority: Authority) -> None:
    with pytest.raises(pki.CsrError, match="2048"):
        authority.issue(csr_pem(rsa.generate_private_key(65537, 1024)), [ME], 0, NOW)


def test_renewal_keeps_the_key(authority: Authority) -> None:
    assert authority.renewed(NOW + timedelta(days=2900)) is None
    later = NOW + timedelta(days=2930)
    renewed = authority.renewed(later)
    assert renewed is not None and renewed.key is authority.bundle.key
    old = x509.load_pem_x509_certificate(authority.issue(csr_pem(), [ME], 0, later)[0].encode())
    told = []
    authority.roots_changed.append(lambda: told.append(1))
    authority.use(renewed)
    old.verify_directly_issued_by(renewed.certificate)
    assert told == [1]


def intermediate(root: bundle.Bundle) -> dict[str, str]:
    key = pki.new_key()
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mid")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root.key, hashes.SHA256())  # type: ignore[arg-type]
    )
    text = pki.pem(certificate)
    return {"ca-cert.pem": text, "ca-key.pem": pki.key_pem(key), "cert-chain.pem": text, "root-cert.pem": root.roots}


def test_plugged_in_intermediate(tmp_path: Path) -> None:
    files = intermediate(bundle.self_signed("cluster.local", NOW))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = bundle.read_folder(tmp_path)
    assert found is not None and not found.self_signed
    authority = Authority(found, "cluster.local")
    leaf, middle, roots = authority.issue(csr_pem(), [ME], 0, NOW)
    assert (middle, roots) == (files["ca-cert.pem"], files["root-cert.pem"])
    x509.load_pem_x509_certificate(leaf.encode()).verify_directly_issued_by(found.certificate)
    assert authority.renewed(NOW + timedelta(days=3640)) is None, "an operator's CA is the operator's to renew"
    (tmp_path / "ca-key.pem").unlink()
    with pytest.raises(UsageError, match=r"ca-key\.pem missing"):
        bundle.read_folder(tmp_path)


def test_a_key_of_another_certificate_is_refused() -> None:
    one, two = bundle.self_signed("a", NOW).data(), bundle.self_signed("a", NOW).data()
    with pytest.raises(UsageError, match="is not the key of"):
        bundle.from_data({**one, "ca-key.pem": two["ca-key.pem"]}, "there")


async def test_a_folder_keeps_the_key(tmp_path: Path) -> None:
    first = await FolderKeeper(tmp_path / "ca").load("cluster.local")
    second = await FolderKeeper(tmp_path / "ca").load("cluster.local")
    assert first.roots == second.roots and second.self_signed
    assert (tmp_path / "ca" / "ca-key.pem").stat().st_mode & 0o077 == 0


async def test_a_secret_keeps_the_key_and_cacerts_wins() -> None:
    async with FakeApi() as api, Client(api.config) as client:
        first = await SecretKeeper(client, "istio-system").load("cluster.local")
        secret = api.objects["/api/v1/secrets", "istio-system", "istio-ca-secret"]
        assert secret["type"] == "istio.io/ca-root"
        assert set(secret["data"]) == {"ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem", "key.pem"}
        assert (await SecretKeeper(client, "istio-system").load("cluster.local")).roots == first.roots
        data = {n: base64.b64encode(t.encode()).decode() for n, t in intermediate(first).items()}
        await api.put("/api/v1/secrets", {"metadata": {"name": "cacerts", "namespace": "istio-system"}, "data": data})
        assert not (await SecretKeeper(client, "istio-system").load("cluster.local")).self_signed


@pytest.mark.parametrize(
    ("uri", "identity"),
    [
        (ME, spiffe.Identity("cluster.local", "shop", "web")),
        ("spiffe://td/ns/a/sa/b/c", None),
        ("spiffe://td/ns//sa/b", None),
        ("https://td/ns/a/sa/b", None),
    ],
)
def test_spiffe(uri: str, identity: spiffe.Identity | None) -> None:
    assert spiffe.parse(uri) == identity
    assert identity is None or str(identity) == uri


@pytest.mark.parametrize("name", ["", "jo", "system:serviceaccount:a", "system:serviceaccount::b", "system:node:a:b"])
def test_only_service_accounts(name: str) -> None:
    with pytest.raises(Unauthenticated):
        account_of(name)


class Issuer:
    """Signs service-account tokens."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key()
        self.pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def token(self, namespace: str = "shop", name: str = "web", audience: str = "istio-ca", life_s: float = 60) -> str:
        claims = {
            "aud": [audience],
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "exp": time.time() + life_s,
        }
        signed = f"{_b64(json.dumps({'alg': 'ES256'}).encode())}.{_b64(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def test_tokens_by_key() -> None:
    issuer = Issuer()
    reviewer = KeyTokenReviewer(issuer.pem)
    assert await reviewer.account(issuer.token()) == ("shop", "web")
    for bad in (issuer.token(audience="other"), issuer.token(life_s=-5), Issuer().token(), "a.b.c", "no", ""):
        with pytest.raises(Unauthenticated):
            await reviewer.account(bad)


async def test_tokens_by_review(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "good": {
            "authenticated": True,
            "user": {"username": "system:serviceaccount:shop:web", "groups": ["system:serviceaccounts"]},
        },
        "person": {"authenticated": True, "user": {"username": "jo", "groups": ["system:authenticated"]}},
        "bad": {"authenticated": False, "error": "expired"},
    }
    async with FakeApi() as api, Client(api.config) as client:

        async def create(_: Any, review: dict[str, Any]) -> dict[str, Any]:
            assert review["spec"]["audiences"] == ["istio-ca"]
            return {"status": answers[review["spec"]["token"]]}

        monkeypatch.setattr(client, "create", create)
        reviewer = ApiTokenReviewer(client)
        assert await reviewer.account("good") == ("shop", "web")
        for token in ("person", "bad"):
            with pytest.raises(Unauthenticated):
                await reviewer.account(token)


@pytest.fixture(params=["mizzen", "grpcio"])
async def istiod(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Istiod, Issuer]]:
    issuer = Issuer()
    (tmp_path / "config").mkdir()
    (tmp_path / "key.pem").write_bytes(issuer.pem)
    here = dict.fromkeys(("grpc_addr", "secure_grpc_addr", "http_addr", "https_addr", "monitoring_addr"), "127.0.0.1:0")
    options = ServerOptions(
        config_dir=(tmp_path / "config",),
        token_key=tmp_path / "key.pem",
        ca_dir=tmp_path / "ca",
        ctrlz_addr="",
        grpc_server=request.param,
        **here,  # type: ignore[arg-type]
    )
    server = Istiod(options)
    try:
        await server.start()
        yield server, issuer
    finally:
        await server.stop()


def secure_channel(server: Istiod, **credentials: Any) -> Any:
    assert server._authority is not None
    trusted = grpc.ssl_channel_credentials(server._authority.roots.encode(), **credentials)
    name = [("grpc.ssl_target_name_override", "istiod.istio-system.svc")]
    return grpc.aio.secure_channel(f"127.0.0.1:{server.ports['secure_grpc']}", trusted, name)


def create_certificate(channel: Any) -> Any:
    return channel.unary_unary(
        istio_ca.FULL_METHOD,
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=istio_ca.CertificateResponse.FromString,
    )


async def test_csr_flow_with_a_token_then_with_the_certificate(istiod: tuple[Istiod, Issuer]) -> None:
    server, issuer = istiod
    key = pki.new_key()
    request = istio_ca.CertificateRequest(csr=csr_pem(key), validity_duration=3600)
    async with secure_channel(server) as channel:
        metadata = [("authorization", f"Bearer {issuer.token()}")]
        chain = (await create_certificate(channel)(request, metadata=metadata)).cert_chain
    assert uris(x509.load_pem_x509_certificate(chain[0].encode())) == [ME]
    async with secure_channel(
        server, private_key=pki.key_pem(key).encode(), certificate_chain=chain[0].encode()
    ) as channel:
        renewed = (await create_certificate(channel)(request)).cert_chain
    assert uris(x509.load_pem_x509_certificate(renewed[0].encode())) == [ME]
    assert "citadel_server_success_cert_issuance_count 2" in server.metrics.render()


@pytest.mark.parametrize("token", ["", "nonsense", "other audience"])
async def test_no_certificate_for_strangers(istiod: tuple[Istiod, Issuer], token: str) -> None:
    server, issuer = istiod
    if token == "other audience":
        token = issuer.token(audience="vault")
    async with secure_channel(server) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            metadata = [("authorization", f"Bearer {token}")] if token else None
            await create_certificate(channel)(istio_ca.CertificateRequest(csr=csr_pem()), metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_foreign_client_certificate_ends_the_handshake(istiod: tuple[Istiod, Issuer]) -> None:
    server, _ = istiod
    key = pki.new_key()
    foreign = Authority(bundle.self_signed("cluster.local", datetime.now(UTC)), "cluster.local")
    chain = foreign.issue(csr_pem(key), [ME], 0)[0]
    async with secure_channel(
        server, private_key=pki.key_pem(key).encode(), certificate_chain=chain.encode()
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await create_certificate(channel)(istio_ca.CertificateRequest(csr=csr_pem()))
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_the_plaintext_port_signs_nothing(istiod: tuple[Istiod, Issuer]) -> None:
    server, issuer = istiod
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            metadata = [("authorization", f"Bearer {issuer.token()}")]
            await create_certificate(channel)(istio_ca.CertificateRequest(csr=csr_pem()), metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_webhooks_serve_our_certificate(istiod: tuple[Istiod, Issuer]) -> None:
    import aiohttp

    server, _ = istiod
    assert server._authority is not None
    context = ssl.create_default_context(cadata=server._authority.roots)
    url = f"https://localhost:{server.ports['https']}/validate"
    good = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "v", "namespace": "shop"},
        "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
    }
    async with aiohttp.ClientSession() as session:
        for obj, allowed in ((good, True), ({**good, "spec": {"hostss": []}}, False), ({**good, "extra": 1}, False)):
            review = {"request": {"uid": "1", "operation": "CREATE", "object": obj, "resource": {"group": "g"}}}
            async with session.post(url, json=review, ssl=context) as answer:
                response = (await answer.json())["response"]
            assert (response["uid"], response["allowed"]) == ("1", allowed)
    assert "galley_validation_failed" in server.metrics.render()


def test_another_ca_is_taken_only_when_the_old_root_stays_trusted(authority: Authority) -> None:
    other = bundle.self_signed("cluster.local", NOW)
    assert authority.replacement(None) is None
    assert authority.replacement(authority.bundle) is None
    with pytest.raises(TrustError, match="does not trust the old root"):
        authority.replacement(other)
    both = bundle.from_data({**other.data(), "root-cert.pem": other.roots + authority.roots}, "there")
    assert authority.replacement(both) is both
    later = bundle.self_signed("cluster.local", NOW + timedelta(days=2930), authority.bundle.key)
    assert authority.replacement(later) is later, "another istiod has renewed the same key's root"


async def test_a_changed_folder_is_followed(
    istiod: tuple[Istiod, Issuer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = istiod
    old = server.authority.bundle
    later = bundle.self_signed("cluster.local", datetime.now(UTC), old.key)
    bundle.write_folder(tmp_path / "ca", later)
    monkeypatch.setattr("mizzen.istiod.server.istiod.CA_CHECK_S", 0.01)
    task = asyncio.ensure_future(server._keep_ca(server.authority))
    try:
        await until(lambda: server.authority.roots == later.roots)
    finally:
        task.cancel()
    _, writer = await asyncio.open_connection(
        "127.0.0.1",
        server.ports["https"],
        ssl=ssl.create_default_context(cadata=later.roots),
        server_hostname="localhost",
    )
    writer.close()
