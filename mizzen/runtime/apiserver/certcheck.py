"""Whether a certificate and a key belong together. Takes base64 of PEM, gives what is wrong or nothing."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives import serialization


def key_pair_problem(certificate: str, key: str) -> str:
    try:
        cert = x509.load_pem_x509_certificate(base64.b64decode(certificate))
    except ValueError:
        return "tls: failed to find any PEM data in certificate input"
    try:
        private = serialization.load_pem_private_key(base64.b64decode(key), None)
    except (ValueError, TypeError):
        return "tls: failed to find any PEM data in key input"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if cert.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        return "tls: private key does not match public key"
    return ""
