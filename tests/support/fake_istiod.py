"""A control plane of a few lines: signs certificates and serves fixed resources over ADS, with TLS and tokens checked.

For tests of the agent. Messages by xds-protos; nothing of mizzen's own server is used.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from envoy.service.discovery.v3 import discovery_pb2

from mizzen.wire import istio_ca

PEM = serialization.Encoding.PEM
ADS = "envoy.service.discovery.v3.AggregatedDiscoveryService"


def raw(data: bytes) -> bytes:
    return data


class FakeIstiod:
    """resources: {type URL: {name: message}}. lifetime_s: of the certificates that it signs."""

    def __init__(self, token: str, lifetime_s: float = 3600) -> None:
        self.token, self.lifetime_s = token, lifetime_s
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate(self.key.public_key(), [x509.DNSName("root")], ca=True)
        self.resources: dict[str, dict[str, Any]] = {}
        self.signed: list[str] = []
        self.metadata: list[dict[str, str]] = []
        self.requests: list[Any] = []
        self.port = 0
        self._server: Any = None

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(PEM)

    def _certificate(self, public: Any, names: list[Any], *, ca: bool = False) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(issuer if ca else x509.Name([]))
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=1))
            .not_valid_after(now + datetime.timedelta(seconds=86400 if ca else self.lifetime_s))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, spiffe: str) -> tuple[bytes, bytes]:
        """(key, certificate) as PEM, without being asked over the wire."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._certificate(key.public_key(), [x509.UniformResourceIdentifier(spiffe)])
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private, made.public_bytes(PEM)

    async def start(self) -> None:
        server_key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(server_key.public_key(), [x509.DNSName("localhost")])
        private = server_key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        credentials = grpc.ssl_server_credentials([(private, certificate.public_bytes(PEM))])
        self._server = grpc.aio.server()
        sign = grpc.unary_unary_rpc_method_handler(
            self._sign,
            request_deserializer=istio_ca.CertificateRequest.FromString,
            response_serializer=istio_ca.CertificateResponse.SerializeToString,
        )
        methods = {}
        for name, handler, request in (
            ("StreamAggregatedResources", self._stream, discovery_pb2.DiscoveryRequest),
            ("DeltaAggregatedResources", self._delta, discovery_pb2.DeltaDiscoveryRequest),
        ):
            methods[name] = grpc.stream_stream_rpc_method_handler(
                handler, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
            )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(istio_ca.SERVICE, {istio_ca.METHOD: sign}),
                grpc.method_handlers_generic_handler(ADS, methods),
            )
        )
        self.port = self._server.add_secure_port(f"localhost:{self.port}", credentials)
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _check(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.metadata.append(metadata)
        if metadata.get("authorization") != f"Bearer {self.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")

    async def _sign(self, request: Any, context: Any) -> Any:
        await self._check(context)
        csr = x509.load_pem_x509_csr(request.csr.encode())
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        leaf = self._certificate(csr.public_key(), list(names))
        self.signed.append(names.get_values_for_type(x509.UniformResourceIdentifier)[0])
        chain = [leaf.public_bytes(PEM).decode(), self.root_pem.decode()]
        return istio_ca.CertificateResponse(cert_chain=chain)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await self._check(context)
        async for request in requests:
            self.requests.append(request)
            if request.response_nonce or request.type_url not in self.resources:
                continue
            answer = discovery_pb2.DiscoveryResponse(version_info="1", nonce="n1", type_url=request.type_url)
            for message in self.resources[request.type_url].values():
                answer.resources.add().Pack(message)
            yield answer

    async def _delta(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        await self._check(context)
        async for request in requests:
            self.requests.append(request)
            if request.response_nonce or request.type_url not in self.resources:
                continue
            answer = discovery_pb2.DeltaDiscoveryResponse(
                system_version_info="1", nonce="n1", type_url=request.type_url
            )
            for name, message in self.resources[request.type_url].items():
                item = answer.resources.add(name=name, version="1")
                item.resource.Pack(message)
            yield answer


def place(folder: Path, istiod: FakeIstiod) -> None:
    """The files that a pod has: token, root certificate, labels."""
    for name, data in (
        ("var/run/secrets/istio/root-cert.pem", istiod.root_pem),
        ("var/run/secrets/tokens/istio-token", istiod.token.encode()),
        ("etc/istio/pod/labels", b'app="reviews"\n'),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


async def until_cancelled() -> None:
    await asyncio.Event().wait()
