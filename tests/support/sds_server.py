"""A workload's SDS server on a socket file, as Istio's agent has one: `default` and `ROOTCA` from an authority."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from mizzen.istiod.ca import pki
from mizzen.istiod.ca.authority import Authority

SERVICE = "envoy.service.secret.v3.SecretDiscoveryService"


class SdsServer:
    """`async with SdsServer(path, authority, identity)`."""

    def __init__(self, path: Path, authority: Authority, identity: str) -> None:
        self._path = path
        key = pki.new_key()
        self._key = pki.key_pem(key).encode()
        self._chain = authority.issue(_csr(key), [identity], 0)[0].encode()
        self._roots = authority.roots.encode()

    async def __aenter__(self) -> SdsServer:
        method = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=discovery_pb2.DiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DiscoveryResponse.SerializeToString,
        )
        self._server = grpc.aio.server(
            handlers=[grpc.method_handlers_generic_handler(SERVICE, {"StreamSecrets": method})]
        )
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def _stream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            if request.response_nonce:
                continue
            response = discovery_pb2.DiscoveryResponse(version_info="1", nonce="1", type_url=request.type_url)
            for name in request.resource_names:
                secret = secret_pb2.Secret(name=name)
                if name == "ROOTCA":
                    secret.validation_context.trusted_ca.inline_bytes = self._roots
                else:
                    secret.tls_certificate.certificate_chain.inline_bytes = self._chain
                    secret.tls_certificate.private_key.inline_bytes = self._key
                response.resources.add().Pack(secret)
            yield response


def _csr(key: Any) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()
