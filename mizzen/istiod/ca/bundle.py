"""A CA's material: signing certificate and key, chain to the root, root; and its forms as files or Secret data.

Takes PEM by the keys that Istio uses, gives a `Bundle` or raises UsageError naming what is missing or does not fit.
Pure but for `read_folder`. Not here: signing (authority.py), the Secret in a cluster (persist.py).
Source: Istio's `cacerts` (ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem; or tls.crt, tls.key, ca.crt).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mizzen.api.errors import UsageError
from mizzen.istiod.ca.pki import SigningKey, key_pem, new_key, pem, self_signed_root

ISTIO_KEYS = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
TLS_KEYS = ("tls.crt", "tls.key", "ca.crt")


class Bundle(msgspec.Struct, frozen=True):
    """certificate signs; chain: PEM of it and its intermediates below the root, "" for a self-signed one; roots:
    PEM.
    """

    certificate: x509.Certificate
    key: SigningKey
    roots: str
    chain: str = ""
    self_signed: bool = False

    def data(self) -> dict[str, str]:
        """As the data of Secret `istio-ca-secret`."""
        return {
            "ca-cert.pem": pem(self.certificate),
            "ca-key.pem": key_pem(self.key),
            "root-cert.pem": self.roots,
            "cert-chain.pem": self.chain,
            "key.pem": "",
        }


def self_signed(trust_domain: str, now: datetime, key: SigningKey | None = None) -> Bundle:
    """A fresh root; with the key given when it renews an old one."""
    key = key or new_key()
    root = self_signed_root(key, trust_domain, now)
    return Bundle(root, key, pem(root), self_signed=True)


def from_data(data: Mapping[str, str], where: str) -> Bundle:
    """The bundle in files or a Secret's data. where: for messages. Raises UsageError."""
    given = {name: value for name, value in data.items() if value and value.strip()}
    if any(name in given for name in ISTIO_KEYS):
        names = ISTIO_KEYS[:3]
        chain = given.get("cert-chain.pem", "")
    else:
        names = TLS_KEYS
        chain = given.get("tls.crt", "")
    missing = [name for name in names if name not in given]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} missing; a CA needs {', '.join(names)}")
    certificate_pem, key_text, roots = (given[name] for name in names)
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
        anchors = x509.load_pem_x509_certificates(roots.encode())
        key = serialization.load_pem_private_key(key_text.encode(), None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{where}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise UsageError(f"{where}: {names[1]}: keys of this kind cannot sign")
    if key.public_key() != certificate.public_key():
        raise UsageError(f"{where}: {names[1]} is not the key of {names[0]}")
    own = certificate in anchors
    return Bundle(certificate, key, _lines(roots), "" if own else _lines(chain or certificate_pem), self_signed=own)


def read_folder(folder: Path) -> Bundle | None:
    """The bundle in a folder, None when it holds none of a CA's files. Raises UsageError for half of one."""
    names = {*ISTIO_KEYS, *TLS_KEYS}
    data = {name: (folder / name).read_text() for name in names if (folder / name).is_file()}
    return from_data(data, str(folder)) if data else None


def write_folder(folder: Path, bundle: Bundle) -> None:
    """Keep a self-signed CA in a folder, readable by us alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in bundle.data().items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text)


def _lines(text: str) -> str:
    return text.strip() + "\n"
