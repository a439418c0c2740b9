"""SDS: certificates and roots that istiod reads from Secrets and ConfigMaps for gateways and sidecars.

Takes a snapshot, a proxy and a credential's resource name, gives a Secret, or nothing when it is missing,
broken, or not for this proxy. Not here: the proxy's own certificate, which its agent serves; who the proxy is
(xds/). Source: envoy.extensions.transport_sockets.tls.v3.Secret.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificates
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from mizzen.istiod.internal_names import GRANTED_CREDENTIALS
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.credentials import CA_SUFFIX

KUBERNETES, KUBERNETES_GATEWAY, CONFIG_MAP = "kubernetes", "kubernetes-gateway", "configmap"


class Reference(msgspec.Struct, frozen=True):
    """Where a credential is: the kind of store, the object's namespace ("" = the proxy's) and name."""

    scheme: str
    namespace: str
    name: str

    @property
    def is_ca(self) -> bool:
        return self.name.endswith(CA_SUFFIX) or self.scheme == CONFIG_MAP


def parse_reference(resource: str) -> Reference | None:
    """The reference that a resource name means; None for names that istiod does not serve.

    resource: "kubernetes://name", "kubernetes://ns/name", "kubernetes-gateway://ns/name", "configmap://ns/name".
    """
    scheme, found, path = resource.partition("://")
    namespace, slash, name = path.partition("/")
    if not slash:
        namespace, name = "", path
    if not found or not name or (scheme != KUBERNETES and not namespace):
        return None
    return Reference(scheme, namespace, name) if scheme in (KUBERNETES, KUBERNETES_GATEWAY, CONFIG_MAP) else None


def secret(snap: Snapshot, node: Node, resource: str) -> secret_pb2.Secret | None:
    """The secret of that name for a proxy.

    A Secret of another namespace is given only where a Gateway of the proxy may refer to it.
    """
    reference = parse_reference(resource)
    if reference is None:
        return None
    namespace = reference.namespace or node.namespace
    if reference.scheme == CONFIG_MAP:
        found = snap.get("ConfigMap", (namespace, reference.name))
        return _validation(resource, _text(found.data)) if found is not None else None
    if namespace != node.namespace and not granted(snap, node, resource):
        return None
    if reference.is_ca:
        found = snap.get("Secret", (namespace, reference.name)) or snap.get(
            "Secret", (namespace, reference.name.removesuffix(CA_SUFFIX))
        )
        return _validation(resource, secret_data(found)) if found is not None else None
    found = snap.get("Secret", (namespace, reference.name))
    return _certificate(resource, secret_data(found)) if found is not None else None


def granted(snap: Snapshot, node: Node, resource: str) -> bool:
    """Whether a Gateway that selects the proxy names this credential of another namespace with a ReferenceGrant."""
    plain = resource.removesuffix(CA_SUFFIX)
    return any(plain in gateways for gateways in _granted_credentials(snap, node))


def _granted_credentials(snap: Snapshot, node: Node) -> list[frozenset[str]]:
    return [
        frozenset(((gateway.metadata.annotations or {}).get(GRANTED_CREDENTIALS) or "").split(","))
        for gateway in snap.gateways.for_workload(node.labels)
    ]


def secret_data(obj: Any) -> dict[str, bytes]:
    """The contents of a Kubernetes Secret; an entry that is not base64 is left out."""
    out = _text(obj.stringData)
    for key, value in (obj.data or {}).items():
        try:
            out.setdefault(key, base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            continue
    return out


def _text(data: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: value.encode() for key, value in (data or {}).items()}


def _validation(name: str, data: Mapping[str, bytes]) -> secret_pb2.Secret | None:
    """Trusted roots and a revocation list: keys `cacert` and `crl`, or `ca.crt` and `ca.crl`."""
    for root, revoked in (("cacert", "crl"), ("ca.crt", "ca.crl")):
        if data.get(root):
            out = secret_pb2.Secret(name=name)
            out.validation_context.trusted_ca.inline_bytes = data[root]
            if data.get(revoked):
                out.validation_context.crl.inline_bytes = data[revoked]
            return out
    return None


def _certificate(name: str, data: Mapping[str, bytes]) -> secret_pb2.Secret | None:
    """A certificate chain and its key: keys `cert` and `key`, or `tls.crt` and `tls.key`."""
    for chain, key in (("cert", "key"), ("tls.crt", "tls.key")):
        if data.get(chain) and data.get(key):
            if not is_pair(data[chain], data[key]):
                return None
            out = secret_pb2.Secret(name=name)
            out.tls_certificate.certificate_chain.inline_bytes = data[chain]
            out.tls_certificate.private_key.inline_bytes = data[key]
            if data.get("tls.ocsp-staple"):
                out.tls_certificate.ocsp_staple.inline_bytes = data["tls.ocsp-staple"]
            return out
    return None


@lru_cache(maxsize=1024)
def is_pair(chain: bytes, key: bytes) -> bool:
    """Whether PEM texts hold a certificate and the private key that belongs to it."""
    try:
        certificate = load_pem_x509_certificates(chain)[0]
        public = serialization.load_pem_private_key(key, password=None).public_key()
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        return False
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == public.public_bytes(*form)
