"""Certificates by the Kubernetes API: istiod approves what it has checked, another signs.

Takes a proxy's CSR and who asked, gives the chain; a CertificateSigningRequest is made, approved, awaited and removed.
Since the signer signs the CSR as it is, its names must be the caller's own. The roots of signers are MeshConfig's
(`caCertificates` with `certSigners`). Not here: proving identities (authenticate.py), signing.
Source: certificates.k8s.io/v1; istiod's EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API, K8S_SIGNER, CERT_SIGNER_DOMAIN.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import secrets
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from mizzen.api.errors import PeerError
from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.ca import pki
from mizzen.istiod.ca.authority import DEFAULT_TTL, MAX_TTL, TtlError
from mizzen.kube import CONNECTION_ERRORS, ApiError, Client, Object, Resource

log = logging.getLogger(__name__)

REQUESTS = Resource("certificates.k8s.io", "v1", "certificatesigningrequests", False, "CertificateSigningRequest")
USAGES = ("digital signature", "key encipherment", "client auth", "server auth")
WAIT_S, POLL_S = 60.0, 0.1
REASON = "ApprovedByIstiod"


class SigningError(PeerError):
    """The signer did not sign."""


class KubernetesRa:
    """signer: the default one's name; domain: of signers that a proxy names; mesh: gives the MeshConfig in force."""

    def __init__(
        self, client: Client, signer: str, domain: str, mesh: Callable[[], MeshConfig], wait_s: float = WAIT_S
    ) -> None:
        self._client, self._signer, self._domain, self._mesh, self._wait_s = client, signer, domain, mesh, wait_s

    def roots(self, signer: str = "") -> str:
        """PEM of a signer's roots; of all signers for ""."""
        found = [
            one.pem
            for one in self._mesh().ca_certificates
            if one.pem and one.cert_signers and (not signer or signer in one.cert_signers)
        ]
        return "".join(pem.strip() + "\n" for pem in dict.fromkeys(found))

    def signer_of(self, asked: str) -> str:
        """The signer's full name; asked: the short one in a proxy's request. Raises SigningError."""
        if not asked:
            return self._signer
        if not self._domain:
            raise SigningError(f"certSignerDomain is required for signer {asked}")
        return f"{self._domain}/{asked}"

    async def issue(self, csr_pem: str, identities: Sequence[str], ttl_s: int, asked_signer: str = "") -> list[str]:
        """PEM strings: the signed chain, last the signer's roots. Raises pki.CsrError, TtlError, SigningError."""
        lifetime_s = ttl_s if ttl_s > 0 else int(DEFAULT_TTL.total_seconds())
        if lifetime_s > MAX_TTL.total_seconds():
            raise TtlError(f"requested TTL {lifetime_s} s is greater than the max allowed TTL {MAX_TTL}")
        csr, signer = pki.parse_csr(csr_pem), self.signer_of(asked_signer)
        check_names(csr, identities)
        roots = self.roots(signer)
        if not roots:
            raise SigningError(f"no root certificate of signer {signer}: name it in MeshConfig caCertificates")
        chain = await self._signed(csr_pem, signer, lifetime_s)
        return [chain, roots]

    async def _signed(self, csr_pem: str, signer: str, lifetime_s: int) -> str:
        name = f"csr-workload-{secrets.token_hex(8)}"
        spec = {
            "request": base64.b64encode(csr_pem.encode()).decode(),
            "signerName": signer,
            "usages": list(USAGES),
            "expirationSeconds": max(600, lifetime_s),
        }
        try:
            made = await self._client.create(REQUESTS, {"metadata": {"name": name}, "spec": spec})
            try:
                await self._approve(made)
                async with asyncio.timeout(self._wait_s):
                    return await self._certificate(name)
            finally:
                await self._client.delete(REQUESTS, name)
        except TimeoutError as error:
            raise SigningError(f"signer {signer} has not signed within {self._wait_s:.0f} s") from error
        except (ApiError, *CONNECTION_ERRORS) as error:
            raise SigningError(f"certificate signing request: {error or type(error).__name__}") from error

    async def _approve(self, made: Object) -> None:
        condition = {
            "type": "Approved",
            "status": "True",
            "reason": REASON,
            "message": "istiod has checked the names in this request",
        }
        await self._client.update(REQUESTS, {**made, "status": {"conditions": [condition]}}, subresource="approval")

    async def _certificate(self, name: str) -> str:
        while True:
            status = (await self._client.get(REQUESTS, name)).get("status") or {}
            for condition in status.get("conditions") or ():
                if condition.get("type") in ("Denied", "Failed"):
                    raise SigningError(f"the signer refused: {condition.get('reason')}: {condition.get('message')}")
            if status.get("certificate"):
                return _chain(status["certificate"])
            await asyncio.sleep(POLL_S)


def check_names(csr: x509.CertificateSigningRequest, identities: Sequence[str]) -> None:
    """Whether a CSR asks for the caller's own names and no others. Raises pki.CsrError."""
    try:
        found = csr.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        raise pki.CsrError("the CSR names no identity") from None
    assert isinstance(found, x509.SubjectAlternativeName)
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != len(list(found)) or not uris or not set(uris) <= set(identities):
        raise pki.CsrError(f"the CSR names {', '.join(map(str, found))}, the caller is {', '.join(identities)}")


def _chain(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded).decode()
        x509.load_pem_x509_certificates(text.encode())
    except (binascii.Error, ValueError) as error:
        raise SigningError(f"the signer gave no certificate: {error}") from error
    return text.strip() + "\n"
