"""CreateCertificate over gRPC: an authenticated caller gets a certificate for its own identity, whatever its CSR says.

Not here: signing (authority.py), proving identities (authenticate.py).
Source: istio.v1.auth.IstioCertificateService.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError

from mizzen.istiod.ca.authenticate import Caller, Unauthenticated
from mizzen.istiod.ca.authority import Authority, TtlError
from mizzen.istiod.ca.kubernetes_ra import KubernetesRa, SigningError
from mizzen.istiod.ca.pki import CsrError
from mizzen.istiod.rpc.call import Call, Method, Refused
from mizzen.wire import istio_ca
from mizzen.wire.grpc_status import Status

log = logging.getLogger(__name__)

Count = Callable[[str], None]
"""Counts one of the citadel_server_* metrics, by its name."""


class CertificateService:
    """identities: of a caller; raises Unauthenticated. ra: asks another signer in the authority's place."""

    def __init__(
        self,
        authority: Authority,
        identities: Callable[[Caller], Awaitable[tuple[str, ...]]],
        count: Count = lambda name: None,
        ra: KubernetesRa | None = None,
    ) -> None:
        self._authority, self._identities, self._count, self._ra = authority, identities, count, ra

    def methods(self) -> dict[str, Method]:
        """By path, for a gRPC server."""
        return {istio_ca.FULL_METHOD: self._call}

    async def _call(self, call: Call) -> None:
        message = await call.read()
        if message is None:
            return
        try:
            request = istio_ca.CertificateRequest.FromString(message)
        except DecodeError as error:
            raise Refused(Status.INVALID_ARGUMENT, f"no CertificateRequest: {error}") from error
        call.send((await self.create_certificate(request, call)).SerializeToString())

    async def create_certificate(self, request: Any, call: Caller) -> Any:
        """The answer to one request. Raises Refused."""
        self._count("citadel_server_csr_count")
        try:
            identities = await self._identities(call)
        except Unauthenticated as error:
            self._count("citadel_server_authentication_failure_count")
            raise Refused(Status.UNAUTHENTICATED, f"request authenticate failure: {error}") from error
        if request.metadata.fields.get("ImpersonatedIdentity"):
            raise Refused(Status.UNAUTHENTICATED, "ImpersonatedIdentity: node accounts are not trusted here")
        signer = request.metadata.fields["CertSigner"].string_value if "CertSigner" in request.metadata.fields else ""
        if signer and self._ra is None:
            raise Refused(Status.INVALID_ARGUMENT, "CertSigner: this istiod signs itself (no EXTERNAL_CA is set)")
        try:
            if self._ra is not None:
                chain = await self._ra.issue(request.csr, identities, request.validity_duration, signer)
            else:
                chain = self._authority.issue(request.csr, identities, request.validity_duration)
        except CsrError as error:
            self._count("citadel_server_csr_parsing_err_count")
            raise Refused(Status.INVALID_ARGUMENT, f"CSR signing error: {error}") from error
        except SigningError as error:
            self._count("citadel_server_csr_sign_err_count")
            log.warning("no certificate for %s: %s", ", ".join(identities), error)
            raise Refused(Status.INTERNAL, f"CSR signing error: {error}") from error
        except TtlError as error:
            self._count("citadel_server_csr_sign_err_count")
            raise Refused(Status.INVALID_ARGUMENT, f"CSR signing error: {error}") from error
        self._count("citadel_server_success_cert_issuance_count")
        log.info("issued a certificate to %s", ", ".join(identities))
        return istio_ca.CertificateResponse(cert_chain=chain)
