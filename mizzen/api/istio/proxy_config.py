"""MeshConfig.defaultConfig, also the pod annotation proxy.istio.io/config: how a proxy is started.

Source: istio.mesh.v1alpha1.ProxyConfig. Not here: the object of kind ProxyConfig (envoy_filter.py), merging.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, field

from mizzen.api.istio.destination_rule import ClientTLSSettings, TcpKeepalive
from mizzen.api.istio.envoy_filter import ProxyImage
from mizzen.api.istio.meta import Int32, Int64, Labels, Message, UInt32
from mizzen.api.istio.providers import Empty
from mizzen.api.istio.service_entry import ReadinessProbe
from mizzen.api.types import Duration

ForwardClientCertDetails = Literal[
    "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
]


class TracerAddress(Message):
    """Tracing.Zipkin and Tracing.Datadog: where spans go."""

    address: str = ""


class TracingLightstep(Message):
    """Tracing.Lightstep."""

    address: str = ""
    access_token: str = ""


class TracingStackdriver(Message):
    """Tracing.Stackdriver."""

    debug: bool = False
    max_number_of_attributes: Int64 | None = None
    max_number_of_annotations: Int64 | None = None
    max_number_of_message_events: Int64 | None = None


class TracingOpenCensusAgent(Message):
    """Tracing.OpenCensusAgent."""

    address: str = ""
    context: tuple[Literal["UNSPECIFIED", "W3C_TRACE_CONTEXT", "GRPC_BIN", "CLOUD_TRACE_CONTEXT", "B3"], ...] = ()


class LiteralTag(Message):
    """Tracing.Literal."""

    value: str = ""


class NamedTag(Message):
    """Tracing.Environment and Tracing.RequestHeader."""

    name: str = ""
    default_value: str = ""


class TracingCustomTag(Message):
    """Tracing.CustomTag: one of the three."""

    literal: LiteralTag | None = None
    environment: NamedTag | None = None
    header: NamedTag | None = None


class ProxyTracing(Message):
    """istio.mesh.v1alpha1.Tracing."""

    zipkin: TracerAddress | None = None
    lightstep: TracingLightstep | None = None
    datadog: TracerAddress | None = None
    stackdriver: TracingStackdriver | None = None
    open_census_agent: TracingOpenCensusAgent | None = None
    custom_tags: Mapping[str, TracingCustomTag] = {}
    max_path_tag_length: UInt32 = 0
    sampling: float = 0.0
    tls_settings: ClientTLSSettings | None = None
    enable_istio_tags: bool | None = None


class SDS(Message):
    """Deprecated."""

    enabled: bool = False
    k8s_sa_jwt_path: str = ""


class RemoteService(Message):
    """A service by its address, with TLS and keep-alive."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    tcp_keepalive: TcpKeepalive | None = None


class Topology(Message):
    """ProxyConfig.gatewayTopology: what stands before a gateway."""

    num_trusted_proxies: UInt32 = 0
    forward_client_cert_details: ForwardClientCertDetails = "UNDEFINED"
    proxy_protocol: Empty | None = None


class ProxyStatsMatcher(Message):
    """Which of Envoy's statistics are kept besides the default ones."""

    inclusion_prefixes: tuple[str, ...] = ()
    inclusion_suffixes: tuple[str, ...] = ()
    inclusion_regexps: tuple[str, ...] = ()


class CryptoMb(Message):
    """PrivateKeyProvider.CryptoMb and QAT."""

    poll_delay: Duration | None = None
    fallback: bool | None = None


class PrivateKeyProvider(Message):
    """cryptomb and qat exclude each other."""

    cryptomb: CryptoMb | None = None
    qat: CryptoMb | None = None


class SetCurrentClientCertDetails(Message):
    """What of the client's certificate goes into x-forwarded-client-cert."""

    subject: bool | None = None
    cert: bool | None = None
    chain: bool | None = None
    dns: bool | None = None
    uri: bool | None = None


class DisableableHeader(Message):
    """A header that is on unless disabled."""

    disabled: bool | None = None


class ServerHeader(Message):
    """The header `server`."""

    disabled: bool | None = None
    value: str = ""


class EnabledHeader(Message):
    """A header that is off unless enabled."""

    enabled: bool | None = None


class MetadataExchangeHeaders(Message):
    """Whether x-envoy-peer-metadata is sent outside the mesh."""

    mode: Literal["UNDEFINED", "IN_MESH"] = "UNDEFINED"


class ProxyHeaders(Message):
    """ProxyConfig.ProxyHeaders: which headers the proxy adds."""

    forwarded_client_cert: ForwardClientCertDetails = "UNDEFINED"
    set_current_client_cert_details: SetCurrentClientCertDetails | None = None
    request_id: DisableableHeader | None = None
    server: ServerHeader | None = None
    attempt_count: DisableableHeader | None = None
    envoy_debug_headers: DisableableHeader | None = None
    metadata_exchange_headers: MetadataExchangeHeaders | None = None
    preserve_http1_header_case: bool | None = None
    x_forwarded_host: EnabledHeader | None = None
    x_forwarded_port: EnabledHeader | None = None


class ConnectionSettings(Message):
    """ProxyConfig.ConnectionSettings: limits towards clients."""

    profile: Literal["SIDECAR", "EDGE"] = "SIDECAR"
    listener_per_connection_buffer_limit_bytes: UInt32 | None = None
    cluster_per_connection_buffer_limit_bytes: UInt32 | None = None
    http_idle_timeout: Duration | None = None
    http_max_connection_duration: Duration | None = None
    http_drain_timeout: Duration | None = None
    http_request_timeout: Duration | None = None
    http_request_headers_timeout: Duration | None = None
    http_stream_idle_timeout: Duration | None = None
    http_max_stream_duration: Duration | None = None
    http_max_concurrent_streams: UInt32 | None = None
    http2_initial_stream_window_size: UInt32 | None = None
    http2_initial_connection_window_size: UInt32 | None = None
    http_headers_with_underscores_action: Literal[
        "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        "HEADERS_WITH_UNDERSCORES_ALLOW",
        "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    ] = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED"
    http_merge_slashes: bool | None = None
    http_path_with_escaped_slashes_action: Literal[
        "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        "KEEP_UNCHANGED",
        "REJECT_REQUEST",
        "UNESCAPE_AND_REDIRECT",
        "UNESCAPE_AND_FORWARD",
    ] = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED"
    listener_connection_limit: UInt32 | None = None
    global_downstream_connection_limit: UInt32 | None = None


class ProxyConfig(Message):
    """istio.mesh.v1alpha1.ProxyConfig, with proto's defaults; the mesh's own are in mizzen.api.mesh_config."""

    config_path: str = ""
    binary_path: str = ""
    custom_config_file: str = ""
    proxy_bootstrap_template_path: str = ""
    service_cluster: str | None = None
    tracing_service_name: (
        Literal["APP_LABEL_AND_NAMESPACE", "CANONICAL_NAME_ONLY", "CANONICAL_NAME_AND_NAMESPACE"] | None
    ) = None
    drain_duration: Duration | None = None
    termination_drain_duration: Duration | None = None
    discovery_address: str = ""
    discovery_refresh_delay: Duration | None = None
    zipkin_address: str = ""
    statsd_udp_address: str = ""
    envoy_metrics_service_address: str = ""
    availability_zone: str = ""
    proxy_admin_port: Int32 = 0
    status_port: Int32 = 0
    control_plane_auth_policy: Literal["NONE", "MUTUAL_TLS", "INHERIT"] = "NONE"
    stat_name_length: Int32 = 0
    concurrency: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    interception_mode: Literal["REDIRECT", "TPROXY", "NONE"] = "REDIRECT"
    tracing: ProxyTracing | None = None
    sds: SDS | None = None
    envoy_access_log_service: RemoteService | None = None
    envoy_metrics_service: RemoteService | None = None
    proxy_metadata: Labels = {}
    runtime_values: Labels = {}
    extra_stat_tags: tuple[str, ...] = ()
    mesh_id: str = ""
    gateway_topology: Topology | None = None
    readiness_probe: ReadinessProbe | None = None
    hold_application_until_proxy_starts: bool | None = None
    proxy_stats_matcher: ProxyStatsMatcher | None = None
    ca_certificates_pem: tuple[str, ...] = field(default=(), name="caCertificatesPem")
    image: ProxyImage | None = None
    private_key_provider: PrivateKeyProvider | None = None
    proxy_headers: ProxyHeaders | None = None
    connection_settings: ConnectionSettings | None = None
    file_flush_interval: Duration | None = None
    file_flush_min_size_kb: UInt32 | None = None
    stats_compression: bool | None = None
