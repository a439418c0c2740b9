"""X.509 as the mesh uses it: self-signed roots, workload certificates from signing requests, serving certificates.

Pure: takes keys, names and the time, gives certificates; raises `CsrError` for a request that is none. Where a
CA's files are kept is in bundle.py, who may have which identity in authenticate.py. Source: lifetimes and
extensions as istiod's own CA sets them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

ROOT_DAYS = 3650
CLOCK_SKEW = timedelta(minutes=2)  # how far back a certificate is valid, for clocks that are behind
MIN_RSA_BITS = 2048


class CsrError(ValueError):
    """The signing request cannot be read, is not signed by its own key, or its key is too weak."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """ECDSA P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def self_signed_root(key: SigningKey, trust_domain: str, now: datetime, days: int = ROOT_DAYS) -> x509.Certificate:
    """A root: subject O = the trust domain, CA, valid from now (less the skew) for so many days."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
    public = key.public_key()
    builder = _builder(name, name, public, now - CLOCK_SKEW, now + timedelta(days=days))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(cert_sign=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    return builder.sign(key, _digest(key))


def parse_csr(pem: str) -> x509.CertificateSigningRequest:
    """A PEM request whose signature proves its key. Raises CsrError."""
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        valid = csr.is_signature_valid
        key = csr.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise CsrError(f"cannot parse the CSR: {error}") from error
    if not valid:
        raise CsrError("the CSR is not signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise CsrError(f"RSA keys must have at least {MIN_RSA_BITS} bits, this one has {key.key_size}")
    return csr


def workload_certificate(
    csr: x509.CertificateSigningRequest,
    identities: Sequence[str],
    signer: x509.Certificate,
    signer_key: SigningKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.Certificate:
    """A certificate for the CSR's key with these URI SANs; what SANs the CSR asks for is ignored. Never outlives
    its signer.
    """
    common = csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    subject = x509.Name(common[:1])
    end = min(now + lifetime, signer.not_valid_after_utc)
    sans = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in identities])
    return _leaf(subject, csr.public_key(), sans, signer, signer_key, now, end)


def serving_certificate(
    key: SigningKey,
    hosts: Sequence[str],
    signer: x509.Certificate,
    signer_key: SigningKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.Certificate:
    """A server's certificate for host names and IP addresses."""
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    end = min(now + lifetime, signer.not_valid_after_utc)
    return _leaf(x509.Name([]), key.public_key(), x509.SubjectAlternativeName(names), signer, signer_key, now, end)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: SigningKey) -> str:
    """PKCS 8, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _leaf(
    subject: x509.Name,
    public: CertificatePublicKeyTypes,
    sans: x509.SubjectAlternativeName,
    signer: x509.Certificate,
    signer_key: SigningKey,
    now: datetime,
    end: datetime,
) -> x509.Certificate:
    builder = _builder(subject, signer.subject, public, now - CLOCK_SKEW, end)
    builder = builder.add_extension(_key_usage(cert_sign=False), critical=True)
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(usages, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key())
    builder = builder.add_extension(authority, critical=False)
    # RFC 5280, 4.2.1.6: critical where the subject is empty; always so here, as istiod does.
    builder = builder.add_extension(sans, critical=True)
    return builder.sign(signer_key, _digest(signer_key))


def _builder(
    subject: x509.Name, issuer: x509.Name, public: CertificatePublicKeyTypes, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _key_usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not cert_sign,
        key_encipherment=not cert_sign,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: SigningKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
