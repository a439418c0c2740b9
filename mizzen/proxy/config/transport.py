"""Transport sockets: raw, TLS, PROXY protocol, by type; upstream and downstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import unpack, wrapped
from mizzen.proxy.net.tls import ClientLayer
from mizzen.proxy.net.tls_context import TlsConfig, dns_match

RAW = raw_buffer_pb2.RawBuffer.DESCRIPTOR.full_name
UPSTREAM_TLS = tls_pb2.UpstreamTlsContext.DESCRIPTOR.full_name
DOWNSTREAM_TLS = tls_pb2.DownstreamTlsContext.DESCRIPTOR.full_name
PROXY_PROTOCOL = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport.DESCRIPTOR.full_name
ALPN_STATE = "envoy.network.application_protocols"
SNI_STATE = "envoy.network.upstream_server_name"
SAN_STATE = "envoy.network.upstream_subject_alt_names"
TlsOptions = tuple[tuple[str, ...] | None, str | None, tuple[str, ...] | None]


class UpstreamTls:
    """TLS towards the hosts of a cluster."""

    def __init__(self, message: Any, secrets: Any, where: str) -> None:
        self.tls = TlsConfig(message.common_tls_context, secrets, where)
        self.sni: str = message.sni
        self.max_session_keys = wrapped(message, "max_session_keys", 1)
        if len(self.tls.certificates) > 1:
            raise ConfigError("Multiple TLS certificates are not supported for client contexts")
        if self.tls.ready:
            self.tls.context(False, self.tls.alpn)

    def layers(self, options: TlsOptions | None, cluster: Any) -> Callable[[Any], Any]:
        """A factory of TLS layers for one kind of connection: called with the Attempt to connect."""
        alpn, sni, names = options if options is not None else (None, self.sni or None, None)
        protocols = self.tls.alpn if alpn is None else alpn
        stats = cluster.ssl_stats
        return lambda attempt: ClientLayer(self.tls, protocols, sni or None, names, attempt, stats)


class UpstreamTransport:
    """How a host is spoken to below HTTP: TLS or not, with a PROXY header or not."""

    __slots__ = ("proxy_protocol", "tls")

    def __init__(self, tls: UpstreamTls | None = None, proxy_protocol: Callable[[Any], bytes] | None = None) -> None:
        self.tls = tls
        self.proxy_protocol = proxy_protocol

    def secrets(self) -> list[Any]:
        return [] if self.tls is None else self.tls.tls.secrets()

    def options_for(self, stream: Any, http: Any, protocol: str) -> TlsOptions:
        """What of TLS depends on the request: (ALPN or None for the configured, SNI, names that the certificate must have)."""
        tls = self.tls
        assert tls is not None
        alpn: tuple[str, ...] | None = None
        sni: str | None = tls.sni or None
        names: tuple[str, ...] | None = None
        if stream is not None:
            override = stream.get_filter_state(ALPN_STATE)
            if override is not None:
                alpn = tuple(override)
            name = stream.get_filter_state(SNI_STATE)
            if name is not None:
                sni = str(name)
            elif http.auto_sni and stream.request is not None:
                text = stream.request.get(http.auto_sni_header) if http.auto_sni_header else None
                sni = host_name(text or stream.request.authority or "") or sni
            wanted = stream.get_filter_state(SAN_STATE)
            if wanted is not None:
                names = tuple(wanted)
            elif http.auto_san_validation and sni:
                names = (sni,)
        if alpn is None and not tls.tls.alpn:
            alpn = {"http2": ("h2",), "auto": ("h2", "http/1.1")}.get(protocol)
        elif alpn is None and protocol == "auto":
            alpn = ("h2", "http/1.1")
        return alpn, sni, names


def host_name(authority: str) -> str:
    """The name in an authority, without a port; empty for an IP address, which is no SNI."""
    name = (
        authority.rsplit(":", 1)[0]
        if authority.rpartition(":")[2].isdigit() and not authority.endswith("]")
        else authority
    )
    if name.startswith("[") or name.replace(".", "").isdigit():
        return ""
    return name.lower()


def upstream_transport(message: Any, secrets: Any, where: str) -> UpstreamTransport:
    """The transport of an envoy.config.core.v3.TransportSocket, raw when it is None."""
    if message is None:
        return UpstreamTransport()
    kind = message.typed_config.type_url.rpartition("/")[2]
    if kind == UPSTREAM_TLS:
        return UpstreamTransport(
            UpstreamTls(
                unpack(message.typed_config, tls_pb2.UpstreamTlsContext, where), secrets, f"{where}.transport_socket"
            )
        )
    if kind == RAW or (not kind and message.name == "envoy.transport_sockets.raw_buffer"):
        return UpstreamTransport()
    if kind == PROXY_PROTOCOL:
        from mizzen.proxy.codec.proxy_protocol import writer

        typed = unpack(message.typed_config, upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport, where)
        inner = upstream_transport(typed.transport_socket, secrets, where)
        return UpstreamTransport(inner.tls, writer(typed.config))
    raise Unsupported(f"{where}.transport_socket {message.name} ({kind})")


class DownstreamTls:
    """TLS that a filter chain terminates."""

    def __init__(self, message: Any, secrets: Any, where: str) -> None:
        if message.ocsp_staple_policy:
            raise Unsupported(f"{where}.ocsp_staple_policy")
        self.tls = TlsConfig(message.common_tls_context, secrets, where)
        self.require_client_certificate = wrapped(message, "require_client_certificate", False)
        if not self.tls.certificates:
            raise ConfigError(f"{where}: No TLS certificates found for server context")
        if self.tls.ready:
            for variant in range(len(self.tls.certificates)):
                self.tls.context(True, self.tls.alpn, variant)

    def pick(self, server_name: str) -> tuple[Any, Any]:
        """The context for a client that names this server, and the certificate in it: the first whose names fit, else the first."""
        tls = self.tls
        chosen = 0
        if len(tls.certificates) > 1:
            for variant in range(len(tls.certificates)):
                tls.context(True, tls.alpn, variant)
            chosen = next(
                (i for i, cert in enumerate(tls.locals) if any(dns_match(name, server_name) for name in cert.dns)), 0
            )
        context = tls.context(True, tls.alpn, chosen)
        return context, tls.locals[chosen]


def downstream_tls(message: Any, secrets: Any, where: str) -> DownstreamTls | None:
    """The TLS of a filter chain's transport socket; None for plaintext."""
    kind = message.typed_config.type_url.rpartition("/")[2]
    if kind == DOWNSTREAM_TLS:
        return DownstreamTls(
            unpack(message.typed_config, tls_pb2.DownstreamTlsContext, where), secrets, f"{where}.transport_socket"
        )
    if kind == RAW or (not kind and message.name == "envoy.transport_sockets.raw_buffer"):
        return None
    raise Unsupported(f"{where}.transport_socket {message.name} ({kind})")
