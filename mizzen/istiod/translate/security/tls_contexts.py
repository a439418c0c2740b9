"""TLS contexts of mutual TLS inside the mesh: Istio's own certificates, both directions.

Takes the mesh and what is special of one port, gives transport sockets. Not here: DestinationRules' TLS (clusters),
gateways' server TLS (gateways).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2

from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod.translate.messages import boolean, pack
from mizzen.istiod.translate.security import sds

TLS_SOCKET = "envoy.transport_sockets.tls"
RAW_BUFFER = base_pb2.TransportSocket(
    name="envoy.transport_sockets.raw_buffer", typed_config=pack(raw_buffer_pb2.RawBuffer())
)
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)
TlsParameters = common_pb2.TlsParameters


def tls_socket(context: Any) -> Any:
    """A TLS context as a transport socket."""
    return base_pb2.TransportSocket(name=TLS_SOCKET, typed_config=pack(context))


def spiffe_prefixes(mesh: MeshConfig) -> list[Any]:
    """Matchers of the identities that may call: every SPIFFE URI of the trust domain, its aliases and foreign roots."""
    domains = [mesh.trust_domain or "cluster.local", *mesh.trust_domain_aliases]
    for root in mesh.ca_certificates:
        domains += root.trust_domains
    return [string_pb2.StringMatcher(prefix=f"spiffe://{domain}/") for domain in dict.fromkeys(domains)]


def common_validation(matchers: Sequence[Any], root: Any) -> Any:
    return tls_pb2.CommonTlsContext.CombinedCertificateValidationContext(
        default_validation_context=common_pb2.CertificateValidationContext(match_subject_alt_names=matchers),
        validation_context_sds_secret_config=root,
    )


def istio_downstream(mesh: MeshConfig, alpn: Sequence[str]) -> Any:
    """The server side of mutual TLS in the mesh."""
    limits = mesh.mesh_mtls
    minimum = TlsParameters.TLSv1_3 if limits is not None and limits.min_protocol_version == "TLSV1_3" else None
    common = tls_pb2.CommonTlsContext(
        tls_params=TlsParameters(
            tls_minimum_protocol_version=minimum or TlsParameters.TLSv1_2,
            tls_maximum_protocol_version=TlsParameters.TLSv1_3,
            cipher_suites=(limits.cipher_suites if limits is not None else ()) or CIPHERS,
        ),
        alpn_protocols=alpn,
        tls_certificate_sds_secret_configs=[sds.workload(sds.WORKLOAD)],
        combined_validation_context=common_validation(spiffe_prefixes(mesh), sds.workload(sds.ROOT)),
    )
    return tls_pb2.DownstreamTlsContext(common_tls_context=common, require_client_certificate=boolean(True))
