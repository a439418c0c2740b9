"""CreateCertificate over gRPC: an authenticated caller gets a certificate for its own identity, whatever its CSR says.

Not here: signing (authority.py), proving identities (authenticate.py).
Source: istio.v1.auth.IstioCertificateService.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from mizzen.istiod.ca.authenticate import Unauthenticated
from mizzen.istiod.ca.authority import Authority, TtlError
from mizzen.istiod.ca.pki import CsrError
from mizzen.wire import istio_ca

log = logging.getLogger(__name__)

Count = Callable[[str], None]
"""Counts one of the citadel_server_* metrics, by its name."""


class CertificateService:
    """identities: from a grpc.aio context; raises Unauthenticated."""

    def __init__(
        self,
        authority: Authority,
        identities: Callable[[Any], Awaitable[tuple[str, ...]]],
        count: Count = lambda name: None,
    ) -> None:
        self._authority, self._identities, self._count = authority, identities, count

    def handler(self) -> grpc.GenericRpcHandler:
        method = grpc.unary_unary_rpc_method_handler(
            self.create_certificate,
            request_deserializer=istio_ca.CertificateRequest.FromString,
            response_serializer=lambda answer: answer.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(istio_ca.SERVICE, {istio_ca.METHOD: method})

    async def create_certificate(self, request: Any, context: Any) -> Any:
        self._count("citadel_server_csr_count")
        try:
            identities = await self._identities(context)
        except Unauthenticated as error:
            self._count("citadel_server_authentication_failure_count")
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"request authenticate failure: {error}")
            return None
        if request.metadata.fields.get("ImpersonatedIdentity"):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "ImpersonatedIdentity: node accounts are not trusted here"
            )
        if request.metadata.fields.get("CertSigner"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "CertSigner: external signers are not supported")
        try:
            chain = self._authority.issue(request.csr, identities, request.validity_duration)
        except CsrError as error:
            self._count("citadel_server_csr_parsing_err_count")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"CSR signing error: {error}")
            return None
        except TtlError as error:
            self._count("citadel_server_csr_sign_err_count")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"CSR signing error: {error}")
            return None
        self._count("citadel_server_success_cert_issuance_count")
        log.info("issued a certificate to %s", ", ".join(identities))
        return istio_ca.CertificateResponse(cert_chain=chain)
