"""The certificate authority: signs what authenticated callers ask for, and knows when its own root must be renewed.

Takes a bundle, signing requests, identities and the time; gives certificate chains. No I/O: persist.py keeps the
bundle, service.py is the gRPC door.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mizzen.istiod.ca import bundle as bundles
from mizzen.istiod.ca import pki
from mizzen.istiod.ca.bundle import Bundle

DEFAULT_TTL = timedelta(hours=24)
MAX_TTL = timedelta(hours=2160)
SERVING_TTL = timedelta(days=3650)
RENEW_FRACTION = 0.2  # a self-signed root is renewed in this last part of its life


class TrustError(ValueError):
    """A new CA that what the old one signed would not be valid under."""


class TtlError(ValueError):
    """A longer life was asked for than the authority grants."""


class Authority:
    """One signing CA. roots_changed: called when the trust anchors are others than before.

    other_roots: PEM of anchors besides our own, of a signer that signs in our place.
    """

    def __init__(
        self,
        bundle: Bundle,
        trust_domain: str,
        *,
        default_ttl: timedelta = DEFAULT_TTL,
        max_ttl: timedelta = MAX_TTL,
    ) -> None:
        self.bundle, self.trust_domain = bundle, trust_domain
        self.default_ttl, self.max_ttl = default_ttl, max_ttl
        self.roots_changed: list[Callable[[], None]] = []
        self.other_roots = ""

    @property
    def roots(self) -> str:
        """PEM of the trust anchors."""
        return self.bundle.roots + self.other_roots

    def trust(self, pem: str) -> None:
        """Trust these anchors besides our own."""
        if pem != self.other_roots:
            self.other_roots = pem
            for listener in self.roots_changed:
                listener()

    def issue(self, csr_pem: str, identities: Sequence[str], ttl_s: int, now: datetime | None = None) -> list[str]:
        """PEM strings: the leaf, the intermediates, last the roots.

        ttl_s: seconds asked for; 0 or less means the default. Raises pki.CsrError, TtlError.
        """
        lifetime = timedelta(seconds=ttl_s) if ttl_s > 0 else self.default_ttl
        if lifetime > self.max_ttl:
            raise TtlError(f"requested TTL {lifetime} is greater than the max allowed TTL {self.max_ttl}")
        csr = pki.parse_csr(csr_pem)
        certificate = pki.workload_certificate(
            csr, identities, self.bundle.certificate, self.bundle.key, now or datetime.now(UTC), lifetime
        )
        return [part for part in (pki.pem(certificate), self.bundle.chain, self.roots) if part]

    def serving(self, hosts: Sequence[str], now: datetime | None = None) -> tuple[bytes, bytes]:
        """A certificate chain and key (PEM) for a server of ours."""
        key = pki.new_key()
        certificate = pki.serving_certificate(
            key, hosts, self.bundle.certificate, self.bundle.key, now or datetime.now(UTC), SERVING_TTL
        )
        return (pki.pem(certificate) + self.bundle.chain).encode(), pki.key_pem(key).encode()

    def renewed(self, now: datetime) -> Bundle | None:
        """A bundle to replace the root with: the same key, a new certificate. None while it is not time, or not
        ours.
        """
        if not self.bundle.self_signed:
            return None
        start, end = self.bundle.certificate.not_valid_before_utc, self.bundle.certificate.not_valid_after_utc
        if now < end - (end - start) * RENEW_FRACTION:
            return None
        return bundles.self_signed(self.trust_domain, now, self.bundle.key)

    def replacement(self, found: Bundle | None) -> Bundle | None:
        """The bundle to sign with instead, when what is kept has changed. Raises TrustError when it would break
        the mesh.

        Every root trusted now must stay trusted, or be the same key's: workloads hold certificates that it signed.
        """
        if found is None or found.data() == self.bundle.data():
            return None
        kept = {_key_id(root) for root in _certificates(found.roots)}
        if not {_key_id(root) for root in _certificates(self.bundle.roots)} <= kept:
            raise TrustError("the new CA does not trust the old root; give both roots in root-cert.pem first")
        return found

    def use(self, bundle: Bundle) -> None:
        """Sign with another bundle from now on."""
        changed = bundle.roots != self.bundle.roots
        self.bundle = bundle
        if changed:
            for listener in self.roots_changed:
                listener()


def _certificates(text: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text.encode())


def _key_id(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def serving_names(system_namespace: str, revision: str = "", extra: Sequence[str] = ()) -> list[str]:
    """The host names that istiod answers to in a cluster, and those given besides."""
    services = ["istiod", "istiod-remote", "istio-pilot"]
    services += [f"istiod-{revision}"] if revision and revision != "default" else []
    return list(dict.fromkeys([f"{name}.{system_namespace}.svc" for name in services] + list(extra)))
