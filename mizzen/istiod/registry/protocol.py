"""The protocol of a service port: how names and Kubernetes' appProtocol tell it, and which class it belongs to.

Not here: what each class is translated to.
"""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """Istio's protocol names; UNSUPPORTED means "detect it on the connection"."""

    TCP = "TCP"
    UDP = "UDP"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTP = "HTTP"
    HTTP_PROXY = "HTTP_PROXY"
    HTTP2 = "HTTP2"
    HTTPS = "HTTPS"
    TLS = "TLS"
    HBONE = "HBONE"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UNSUPPORTED = "UnsupportedProtocol"

    @property
    def is_http(self) -> bool:
        """HTTP in the clear, to be routed by requests."""
        return self in HTTP_CLASS

    @property
    def is_http2(self) -> bool:
        return self in (Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_grpc(self) -> bool:
        return self in (Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_tcp(self) -> bool:
        return self in TCP_CLASS

    @property
    def is_tls(self) -> bool:
        """TLS that the proxy does not terminate: routed by SNI."""
        return self in (Protocol.HTTPS, Protocol.TLS)

    @property
    def is_unsupported(self) -> bool:
        return self is Protocol.UNSUPPORTED


HTTP_CLASS = frozenset({Protocol.HTTP, Protocol.HTTP2, Protocol.HTTP_PROXY, Protocol.GRPC, Protocol.GRPC_WEB})
TCP_CLASS = frozenset({Protocol.TCP, Protocol.HTTPS, Protocol.TLS, Protocol.MONGO, Protocol.REDIS, Protocol.MYSQL})

_BY_NAME = {
    "tcp": Protocol.TCP,
    "udp": Protocol.UDP,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.GRPC_WEB,
    "http": Protocol.HTTP,
    "http_proxy": Protocol.HTTP_PROXY,
    "http2": Protocol.HTTP2,
    "https": Protocol.HTTPS,
    "tls": Protocol.TLS,
    "hbone": Protocol.HBONE,
    "mongo": Protocol.MONGO,
    "redis": Protocol.REDIS,
    "mysql": Protocol.MYSQL,
}
_APP_PROTOCOLS = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
_TCP_PORTS = frozenset({25, 53, 3306, 27017})
"""Ports whose servers speak first, so that detection would wait for ever."""


def parse_protocol(name: str) -> Protocol:
    """The protocol of that name in any case; UNSUPPORTED for an unknown one."""
    return _BY_NAME.get(name.lower(), Protocol.UNSUPPORTED)


def kubernetes_protocol(port: int, name: str, transport: str, app_protocol: str | None) -> Protocol:
    """The protocol of a Kubernetes service port.

    transport: TCP, UDP or SCTP; app_protocol beats the port's name, of which the part before the first `-` counts.
    """
    if transport == "UDP":
        return Protocol.UDP
    if app_protocol:
        if app_protocol in _APP_PROTOCOLS:
            return _APP_PROTOCOLS[app_protocol]
        name = app_protocol
    if name.lower().startswith("grpc-web"):
        return Protocol.GRPC_WEB
    protocol = parse_protocol(name.split("-", 1)[0])
    if protocol.is_unsupported and port in _TCP_PORTS:
        return Protocol.TCP
    return protocol
