"""TLS that ends at a gateway: a server's settings → the transport socket of its filter chain.

Takes a Server and the mesh's defaults, gives an envoy TransportSocket. Not here: the secrets (secrets.py).
Source: envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2 as core
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from mizzen.api.istio.gateway import Server, ServerTLSSettings
from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.node import Node
from mizzen.istiod.registry.protocol import parse_protocol
from mizzen.istiod.translate.credentials import (
    CA_SUFFIX,
    credential_name,
    credential_secret,
    file_certificate,
    file_root,
)
from mizzen.istiod.translate.gateways import PASSTHROUGH_MODES
from mizzen.istiod.translate.messages import pack
from mizzen.istiod.translate.security import sds

HTTP_ALPN = ("h2", "http/1.1")
MUTUAL_MODES = ("MUTUAL", "ISTIO_MUTUAL")
_VERSIONS = {
    "TLS_AUTO": common_pb2.TlsParameters.TLS_AUTO,
    "TLSV1_0": common_pb2.TlsParameters.TLSv1_0,
    "TLSV1_1": common_pb2.TlsParameters.TLSv1_1,
    "TLSV1_2": common_pb2.TlsParameters.TLSv1_2,
    "TLSV1_3": common_pb2.TlsParameters.TLSv1_3,
}


def downstream_tls(mesh: MeshConfig, server: Server, node: Node) -> core.TransportSocket | None:
    """The TLS context of a server that terminates TLS; None for one that passes it on."""
    tls = server.tls
    if tls is None or tls.mode in PASSTHROUGH_MODES:
        return None
    out = tls_pb2.DownstreamTlsContext()
    out.require_client_certificate.value = tls.mode in MUTUAL_MODES
    common = out.common_tls_context
    exchange = ("istio-peer-exchange",) if tls.mode == "ISTIO_MUTUAL" and not _is_https(server) else ()
    common.alpn_protocols.extend((*exchange, *HTTP_ALPN))
    if tls.mode == "ISTIO_MUTUAL":
        _workload_certificates(common, tls, node)
    elif tls.credential_name or tls.credential_names:
        _credentials(common, tls)
    else:
        _files(common, tls)
    if tls.mode != "ISTIO_MUTUAL":
        _parameters(common, tls, mesh)
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(out))


def _is_https(server: Server) -> bool:
    return parse_protocol(server.port.protocol) == "HTTPS"


def _workload_certificates(common: tls_pb2.CommonTlsContext, tls: ServerTLSSettings, node: Node) -> None:
    """The proxy's own certificate, and the mesh's roots for clients."""
    chain, key, root = (node.text(f"TLS_SERVER_{name}") for name in ("CERT_CHAIN", "KEY", "ROOT_CERT"))
    own = sds.file(file_certificate(chain, key)) if chain and key else sds.workload(sds.WORKLOAD)
    common.tls_certificate_sds_secret_configs.append(own)
    roots = sds.file(file_root(root)) if root else sds.workload(sds.ROOT)
    _validate(common, roots, tls, pins=False)


def _credentials(common: tls_pb2.CommonTlsContext, tls: ServerTLSSettings) -> None:
    """Certificates that istiod serves from Secrets."""
    names = tls.credential_names or (tls.credential_name,)
    common.tls_certificate_sds_secret_configs.extend(credential_secret(credential_name(name)) for name in names)
    if tls.mode in ("MUTUAL", "OPTIONAL_MUTUAL"):
        ca = credential_name(tls.ca_cert_credential_name) or credential_name(names[0]) + CA_SUFFIX
        _validate(common, credential_secret(ca), tls, pins=True)
    elif tls.subject_alt_names:
        common.validation_context.match_subject_alt_names.extend(_exact(tls.subject_alt_names))


def _files(common: tls_pb2.CommonTlsContext, tls: ServerTLSSettings) -> None:
    """Certificates in files of the gateway's container, watched by its agent."""
    if tls.tls_certificates:
        pairs = [(one.server_certificate, one.private_key) for one in tls.tls_certificates]
    else:
        pairs = [(tls.server_certificate, tls.private_key)]
    for certificate, key in pairs:
        own = sds.file(file_certificate(certificate, key)) if certificate and key else sds.workload(sds.WORKLOAD)
        common.tls_certificate_sds_secret_configs.append(own)
    if tls.mode == "MUTUAL":
        roots = tls.ca_certificates or next((c.ca_certificates for c in tls.tls_certificates if c.ca_certificates), "")
        _validate(common, sds.file(file_root(roots)) if roots else sds.workload(sds.ROOT), tls, pins=False)


def _validate(
    common: tls_pb2.CommonTlsContext, roots: tls_pb2.SdsSecretConfig, tls: ServerTLSSettings, *, pins: bool
) -> None:
    """What client certificates must satisfy. pins: hashes of certificates or keys count too."""
    combined = common.combined_validation_context
    combined.validation_context_sds_secret_config.CopyFrom(roots)
    own = combined.default_validation_context
    own.SetInParent()
    own.match_subject_alt_names.extend(_exact(tls.subject_alt_names))
    if pins:
        own.verify_certificate_spki.extend(tls.verify_certificate_spki)
        own.verify_certificate_hash.extend(tls.verify_certificate_hash)
    if tls.ca_crl:
        own.crl.filename = tls.ca_crl
    if tls.insecure_skip_verify:
        own.trust_chain_verification = common_pb2.CertificateValidationContext.ACCEPT_UNTRUSTED


def _exact(names: tuple[str, ...]) -> list[string_pb2.StringMatcher]:
    return [string_pb2.StringMatcher(exact=name) for name in names]


def _parameters(common: tls_pb2.CommonTlsContext, tls: ServerTLSSettings, mesh: MeshConfig) -> None:
    """Versions, ciphers and curves: the server's, else the mesh's; absent when neither says anything."""
    defaults = mesh.tls_defaults
    ciphers = tls.cipher_suites or (defaults.cipher_suites if defaults is not None else ())
    curves = defaults.ecdh_curves if defaults is not None else ()
    least = tls.min_protocol_version
    if least == "TLS_AUTO" and defaults is not None:
        least = defaults.min_protocol_version
    if not (ciphers or curves) and least == tls.max_protocol_version == "TLS_AUTO":
        return
    common.tls_params.tls_minimum_protocol_version = _VERSIONS[least]
    common.tls_params.tls_maximum_protocol_version = _VERSIONS[tls.max_protocol_version]
    common.tls_params.cipher_suites.extend(ciphers)
    common.tls_params.ecdh_curves.extend(curves)
