"""Cluster protos → ClusterConfig: everything about a cluster but its endpoints, resolved once.

Raises ConfigError/Unsupported for what Envoy or this proxy refuses. Not here: run-time state (upstream/cluster.py), endpoints
(config/endpoints.py), TLS contexts themselves (net/tls.py).
Source: envoy.config.cluster.v3.Cluster, envoy.extensions.upstreams.http.v3.HttpProtocolOptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from mizzen.proxy.accesslog.format import struct_value
from mizzen.proxy.codec.h2_frames import Limits
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.supported import check
from mizzen.proxy.config.transport import UpstreamTransport, upstream_transport
from mizzen.proxy.config.values import optional_seconds, seconds, unpack, wrapped
from mizzen.proxy.net.addresses import Address
from mizzen.proxy.upstream.connect import Keepalive

HTTP1: Final = "http1"
HTTP2: Final = "http2"
AUTO: Final = "auto"
DOWNSTREAM: Final = "downstream"
HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TYPES: Final = {0: "STATIC", 1: "STRICT_DNS", 2: "LOGICAL_DNS", 3: "EDS", 4: "ORIGINAL_DST"}


OPTION_NAMES: Final = (
    "auto_san_validation", "auto_sni", "auto_sni_header", "enable_trailers", "h2", "h2_limits", "idle_timeout", "max_connection_duration",
    "max_requests_per_connection", "max_response_head", "max_response_headers", "max_stream_duration", "protocol",
)  # fmt: skip


class HttpOptions:
    """How HTTP is spoken with a cluster's hosts."""

    __slots__ = (
        "auto_san_validation",
        "auto_sni",
        "auto_sni_header",
        "enable_trailers",
        "h2",
        "h2_limits",
        "idle_timeout",
        "max_connection_duration",
        "max_requests_per_connection",
        "max_response_head",
        "max_response_headers",
        "max_stream_duration",
        "protocol",
    )

    def __init__(self) -> None:
        self.protocol = HTTP1
        self.idle_timeout: float | None = 3600.0
        self.max_requests_per_connection = 0
        self.max_response_head = 60 * 1024
        self.max_response_headers = 100
        self.max_connection_duration: float | None = None
        self.max_stream_duration: float | None = None
        self.enable_trailers = False
        self.auto_sni = False
        self.auto_sni_header = ""
        self.auto_san_validation = False
        self.h2: Any = None  # Http2ProtocolOptions
        self.h2_limits = Limits()

    def speaking(self, protocol: str) -> HttpOptions:
        """The same with another protocol."""
        out = HttpOptions()
        for name in OPTION_NAMES:
            setattr(out, name, getattr(self, name))
        out.protocol = protocol
        return out

    def common(self, message: Any) -> None:
        """Take in HttpProtocolOptions (the common ones)."""
        if message.HasField("idle_timeout"):
            self.idle_timeout = seconds(message.idle_timeout) or None
        self.max_requests_per_connection = wrapped(
            message, "max_requests_per_connection", self.max_requests_per_connection
        )
        self.max_response_headers = wrapped(message, "max_headers_count", self.max_response_headers)
        if message.HasField("max_response_headers_kb"):
            self.max_response_head = message.max_response_headers_kb.value * 1024
        self.max_connection_duration = optional_seconds(message, "max_connection_duration")
        self.max_stream_duration = optional_seconds(message, "max_stream_duration")

    def http1(self, message: Any) -> None:
        self.enable_trailers = bool(message.enable_trailers)


def http_options(message: Any) -> HttpOptions:
    options = HttpOptions()
    for name, any_message in message.typed_extension_protocol_options.items():
        if any_message.type_url.rpartition("/")[2] != HTTP_OPTIONS:
            if any_message.type_url.rpartition(".")[2] == "TcpProtocolOptions":
                continue  # idle time-outs of TCP pools that are never kept idle
            raise Unsupported(f"Cluster.typed_extension_protocol_options {name} ({any_message.type_url})")
        typed = unpack(any_message, http_protocol_options_pb2.HttpProtocolOptions, name)
        _typed_http_options(options, typed)
    if not message.typed_extension_protocol_options:
        if message.HasField("http2_protocol_options"):
            options.protocol, options.h2 = HTTP2, message.http2_protocol_options
        if message.protocol_selection == 1:
            options.protocol = DOWNSTREAM
        if message.HasField("http_protocol_options"):
            options.http1(message.http_protocol_options)
        if message.HasField("common_http_protocol_options"):
            options.common(message.common_http_protocol_options)
        if message.HasField("upstream_http_protocol_options"):
            _upstream_options(options, message.upstream_http_protocol_options)
    if message.HasField("max_requests_per_connection"):
        options.max_requests_per_connection = message.max_requests_per_connection.value
    options.h2_limits = Limits(options.h2)
    return options


def _upstream_options(options: HttpOptions, message: Any) -> None:
    options.auto_sni = message.auto_sni
    options.auto_san_validation = message.auto_san_validation
    options.auto_sni_header = message.override_auto_sni_header.lower()


def _typed_http_options(options: HttpOptions, typed: Any) -> None:
    if typed.HasField("common_http_protocol_options"):
        options.common(typed.common_http_protocol_options)
    if typed.HasField("upstream_http_protocol_options"):
        _upstream_options(options, typed.upstream_http_protocol_options)
    for filter_ in typed.http_filters:
        if filter_.name not in ("envoy.filters.http.upstream_codec",):
            raise Unsupported(f"HttpProtocolOptions.http_filters {filter_.name}")
    kind = typed.WhichOneof("upstream_protocol_options")
    if kind == "explicit_http_config":
        explicit = typed.explicit_http_config
        which = explicit.WhichOneof("protocol_config")
        if which == "http2_protocol_options":
            options.protocol, options.h2 = HTTP2, explicit.http2_protocol_options
        elif which == "http3_protocol_options":
            raise Unsupported("HttpProtocolOptions.explicit_http_config.http3_protocol_options")
        else:
            options.http1(explicit.http_protocol_options)
    elif kind in ("use_downstream_protocol_config", "auto_config"):
        config = getattr(typed, kind)
        if config.HasField("http3_protocol_options"):
            raise Unsupported(f"HttpProtocolOptions.{kind}.http3_protocol_options")
        options.protocol = AUTO if kind == "auto_config" else DOWNSTREAM
        options.http1(config.http_protocol_options)
        if config.HasField("http2_protocol_options"):
            options.h2 = config.http2_protocol_options
        elif kind == "use_downstream_protocol_config":
            options.h2 = None
    else:
        raise ConfigError("HttpProtocolOptions: upstream_protocol_options is required")


class ClusterConfig:
    """A cluster as configured; never changed after it is made."""

    __slots__ = (
        "added_via_api",
        "alt_stat_name",
        "buffer_limit",
        "connect_timeout",
        "dns",
        "eds_service_name",
        "fail_on_panic",
        "http",
        "keepalive",
        "lb_policy",
        "metadata",
        "name",
        "original_dst_header",
        "original_dst_port",
        "panic_percent",
        "per_connection_buffer_limit",
        "preserve_pools_on_removal",
        "proto",
        "source",
        "transport",
        "transport_matches",
        "type",
        "upstream_filters",
        "use_tcp_for_dns",
    )

    def __init__(self, proto: Any, server: Any) -> None:
        secrets = server.secrets
        self.proto = proto
        self.name: str = proto.name
        if not self.name:
            raise ConfigError("Cluster: name is required")
        where = f"Cluster {self.name}"
        check(proto, where)
        self.added_via_api = False
        self.alt_stat_name: str = proto.alt_stat_name or proto.name
        self.connect_timeout = optional_seconds(proto, "connect_timeout", 5.0) or 5.0
        self.type = self._type(proto, where)
        self.lb_policy = cluster_pb2.Cluster.LbPolicy.Name(proto.lb_policy)
        self.http = http_options(proto)
        self.metadata = {name: struct_value(struct) for name, struct in proto.metadata.filter_metadata.items()} or None
        self.buffer_limit = wrapped(proto, "per_connection_buffer_limit_bytes", 1 << 20)
        self.eds_service_name = proto.eds_cluster_config.service_name or proto.name
        self.panic_percent = (
            proto.common_lb_config.healthy_panic_threshold.value
            if proto.common_lb_config.HasField("healthy_panic_threshold")
            else 50.0
        )
        self.fail_on_panic = bool(proto.common_lb_config.zone_aware_lb_config.fail_traffic_on_panic)
        self.keepalive = self._keepalive(proto)
        self.source = self._source(proto, where)
        self.transport: UpstreamTransport = upstream_transport(
            proto.transport_socket if proto.HasField("transport_socket") else None, secrets, where
        )
        self.transport_matches = [
            (struct_value(match.match), upstream_transport(match.transport_socket, secrets, where))
            for match in proto.transport_socket_matches
        ]
        self.original_dst_header = ""
        self.original_dst_port = 0
        if self.type == "ORIGINAL_DST":
            config = proto.original_dst_lb_config
            self.original_dst_header = (
                (config.http_header_name or "x-envoy-original-dst-host") if config.use_http_header else ""
            )
            self.original_dst_port = wrapped(config, "upstream_port_override", 0)
            if proto.lb_policy != cluster_pb2.Cluster.CLUSTER_PROVIDED:
                raise ConfigError(
                    f"cluster: LB policy {self.lb_policy} is not valid for Cluster type ORIGINAL_DST. Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'"  # noqa: E501
                )
        elif proto.lb_policy == cluster_pb2.Cluster.CLUSTER_PROVIDED:
            raise ConfigError(f"cluster: LB policy CLUSTER_PROVIDED is not valid for Cluster type {self.type}")
        if self.type == "EDS" and not proto.eds_cluster_config.HasField("eds_config"):
            raise ConfigError(f"cluster {self.name}: cannot create an EDS cluster without an EDS config")
        self.upstream_filters = tuple(self._upstream_filter(each, server, where) for each in proto.filters)

    @staticmethod
    def _upstream_filter(message: Any, server: Any, where: str) -> Any:
        from mizzen.proxy.filters.registry import upstream_network_filter

        return upstream_network_filter(message, server, where)

    @staticmethod
    def _type(proto: Any, where: str) -> str:
        if proto.WhichOneof("cluster_discovery_type") == "cluster_type":
            kind = proto.cluster_type.name
            known = {
                "envoy.cluster.eds": "EDS",
                "envoy.cluster.static": "STATIC",
                "envoy.cluster.strict_dns": "STRICT_DNS",
                "envoy.cluster.logical_dns": "LOGICAL_DNS",
                "envoy.cluster.original_dst": "ORIGINAL_DST",
            }
            if kind in known and not proto.cluster_type.HasField("typed_config"):
                return known[kind]
            raise Unsupported(f"{where}.cluster_type {kind}")
        return TYPES[proto.type]

    @staticmethod
    def _keepalive(proto: Any) -> Keepalive | None:
        if not proto.upstream_connection_options.HasField("tcp_keepalive"):
            return None
        message = proto.upstream_connection_options.tcp_keepalive
        return Keepalive(
            wrapped(message, "keepalive_probes", 0),
            wrapped(message, "keepalive_time", 0),
            wrapped(message, "keepalive_interval", 0),
        )

    @staticmethod
    def _source(proto: Any, where: str) -> tuple[Address, ...]:
        """The addresses to connect from: one for each address family that is named."""
        if not proto.HasField("upstream_bind_config"):
            return ()
        config = proto.upstream_bind_config
        out = []
        if config.HasField("source_address"):
            out.append((config.source_address.address, config.source_address.port_value))
        out += [(extra.address.address, extra.address.port_value) for extra in config.extra_source_addresses]
        return tuple(out)


Watcher = Callable[[], None]
