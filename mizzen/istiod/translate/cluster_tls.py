"""TLS towards upstreams: automatic mutual TLS, and what DestinationRules say.

Takes ClientTLSSettings and the facts of a service, writes transport sockets into a Draft.
Not here: mutual TLS of listeners (security/tls_contexts.py), the secrets (secrets.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2
from envoy.type.matcher.v3 import string_pb2
from google.protobuf import struct_pb2

from mizzen.api.istio.mesh import TLSConfig
from mizzen.api.istio.networking import ClientTLSSettings, ProxyProtocol
from mizzen.istiod.translate.cluster_draft import Draft
from mizzen.istiod.translate.messages import pack
from mizzen.istiod.translate.security import sds
from mizzen.istiod.translate.security.tls_contexts import RAW_BUFFER, common_validation, tls_socket

Cluster = cluster_pb2.Cluster
TlsParameters = common_pb2.TlsParameters
CACERT = "-cacert"


class TlsFacts(msgspec.Struct, frozen=True):
    """What upstream TLS depends on besides the settings.

    accounts: identities of the service's endpoints; sni: of mutual TLS; automatic: mutual TLS may be used without being
    asked for; external_names: SANs that a ServiceEntry gives; exchange: the proxy runs metadata exchange;
    credentials: it may use credentialName.
    """

    accounts: tuple[str, ...]
    sni: str
    automatic: bool
    external_names: tuple[str, ...]
    exchange: bool
    credentials: bool
    file_credentials: bool


def apply_tls(draft: Draft, settings: ClientTLSSettings | None, facts: TlsFacts) -> None:
    """The transport socket, or the choice of sockets, of a cluster."""
    cluster = draft.cluster
    if settings is None:
        if not facts.automatic:
            return
        socket = tls_socket(_mutual(draft, facts.accounts, facts.sni, facts.exchange))
        if cluster.type == Cluster.ORIGINAL_DST:
            cluster.transport_socket.CopyFrom(socket)
            return
        istio = struct_pb2.Struct()
        istio.update({"tlsMode": "istio"})
        match = Cluster.TransportSocketMatch
        cluster.transport_socket_matches.append(match(name="tlsMode-istio", match=istio, transport_socket=socket))
        cluster.transport_socket_matches.append(
            match(name="tlsMode-disabled", match=struct_pb2.Struct(), transport_socket=RAW_BUFFER)
        )
    elif settings.mode == "ISTIO_MUTUAL":
        accounts = settings.subject_alt_names or facts.accounts
        context = _mutual(draft, accounts, settings.sni or facts.sni, facts.exchange)
        cluster.transport_socket.CopyFrom(tls_socket(context))
    elif settings.mode in ("SIMPLE", "MUTUAL"):
        _originate(draft, settings, facts)


def _mutual(draft: Draft, accounts: Sequence[str], sni: str, exchange: bool) -> Any:
    """The client side of mutual TLS in the mesh."""
    alpn = ["istio-peer-exchange", "istio"] if exchange else ["istio"]
    if draft.is_http2:
        alpn.append("h2")
    common = tls_pb2.CommonTlsContext(
        tls_params=_parameters(None),
        alpn_protocols=alpn,
        tls_certificate_sds_secret_configs=[sds.workload(sds.WORKLOAD)],
        combined_validation_context=common_validation(_exact(accounts), sds.workload(sds.ROOT)),
    )
    return tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=sni)


def _exact(names: Sequence[str]) -> list[Any]:
    return [string_pb2.StringMatcher(exact=name) for name in names]


def _parameters(defaults: TLSConfig | None) -> Any:
    out = TlsParameters(
        tls_minimum_protocol_version=TlsParameters.TLSv1_2, tls_maximum_protocol_version=TlsParameters.TLSv1_3
    )
    if defaults is not None:
        out.cipher_suites.extend(defaults.cipher_suites)
        out.ecdh_curves.extend(defaults.ecdh_curves)
    return out


def _originate(draft: Draft, settings: ClientTLSSettings, facts: TlsFacts) -> None:
    """TLS with certificates of the user's."""
    istio = draft.cluster.metadata.filter_metadata["istio"]
    istio.update({"alpn_override": "false"})
    if settings.credential_name and not facts.credentials and not settings.credential_name.startswith("configmap://"):
        return
    skip = settings.insecure_skip_verify is True
    if not settings.sni:
        draft.http.upstream_http_protocol_options.auto_sni = True
        draft.used_http = True
        if not settings.subject_alt_names and not skip:
            draft.http.upstream_http_protocol_options.auto_san_validation = True
    names = settings.subject_alt_names or facts.external_names
    common = tls_pb2.CommonTlsContext(tls_params=_parameters(draft.mesh.tls_defaults))
    if settings.credential_name:
        _credential(common, settings, names, skip)
    else:
        _files(common, settings, names, skip, facts.file_credentials)
    if draft.is_http2:
        common.alpn_protocols.append("h2")
    context = tls_pb2.UpstreamTlsContext(common_tls_context=common, sni=settings.sni)
    draft.cluster.transport_socket.CopyFrom(tls_socket(context))


def _credential(common: Any, settings: ClientTLSSettings, names: Sequence[str], skip: bool) -> None:
    name = settings.credential_name
    own = name if "://" in name else f"kubernetes://{name}"
    if settings.mode == "MUTUAL":
        common.tls_certificate_sds_secret_configs.append(sds.credential(own))
    if skip:
        common.validation_context.SetInParent()
        return
    root = own if own.startswith("configmap://") else f"{own}{CACERT}"
    common.combined_validation_context.CopyFrom(common_validation(_exact(names), sds.credential(root)))


def _files(common: Any, settings: ClientTLSSettings, names: Sequence[str], skip: bool, own_cluster: bool) -> None:
    if settings.mode == "MUTUAL":
        pair = f"file-cert:{settings.client_certificate}~{settings.private_key}"
        common.tls_certificate_sds_secret_configs.append(sds.file(pair, own_cluster))
    if skip:
        common.validation_context.SetInParent()
        return
    root = sds.file(f"file-root:{settings.ca_certificates or 'system'}", own_cluster)
    combined = common_validation(_exact(names), root)
    if settings.ca_crl:
        combined.default_validation_context.crl.filename = settings.ca_crl
    common.combined_validation_context.CopyFrom(combined)


INNER_RAW_BUFFER = base_pb2.TransportSocket(name="raw_buffer", typed_config=RAW_BUFFER.typed_config)
"""What is behind a PROXY header where there is no other transport; it goes by a name of its own."""


def apply_proxy_protocol(draft: Draft, setting: ProxyProtocol | None) -> None:
    """A PROXY protocol header before whatever each transport socket sends."""
    if setting is None:
        return
    cluster = draft.cluster
    for match in cluster.transport_socket_matches:
        match.transport_socket.CopyFrom(_with_header(match.transport_socket, setting))
    if not cluster.transport_socket_matches:
        inner = cluster.transport_socket if cluster.HasField("transport_socket") else INNER_RAW_BUFFER
        cluster.transport_socket.CopyFrom(_with_header(inner, setting))


def _with_header(inner: Any, setting: ProxyProtocol) -> Any:
    version = proxy_protocol_pb2.ProxyProtocolConfig.Version.Value(setting.version)
    config = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(
        config=proxy_protocol_pb2.ProxyProtocolConfig(version=version), transport_socket=inner
    )
    return base_pb2.TransportSocket(name="envoy.transport_sockets.upstream_proxy_protocol", typed_config=pack(config))
