"""MeshConfig.extensionProviders: external authorisers, tracers, metrics and access-log sinks.

Source: istio.mesh.v1alpha1.MeshConfig.ExtensionProvider. Not here: which of them are used (Telemetry,
AuthorizationPolicy).
"""

from __future__ import annotations

from typing import Literal

from mizzen.api.istio.meta import Int64, Json, Labels, Message, UInt32
from mizzen.api.types import Duration


class Empty(Message):
    """A message without fields: its presence is what counts."""


class RequestBody(Message):
    """EnvoyExternalAuthorizationRequestBody: how much of a body the authoriser gets."""

    max_request_bytes: UInt32 = 0
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


class EnvoyExtAuthzHttp(Message):
    """EnvoyExternalAuthorizationHttpProvider."""

    service: str = ""
    port: UInt32 = 0
    timeout: Duration | None = None
    path_prefix: str = ""
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_headers_in_check: tuple[str, ...] = ()
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: Labels = {}
    include_request_body_in_check: RequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


class EnvoyExtAuthzGrpc(Message):
    """EnvoyExternalAuthorizationGrpcProvider."""

    service: str = ""
    port: UInt32 = 0
    timeout: Duration | None = None
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_request_body_in_check: RequestBody | None = None


class HttpHeader(Message):
    """A header with a value, or one from an environment variable."""

    name: str = ""
    value: str | None = None
    env_name: str | None = None


class HttpService(Message):
    """An HTTP endpoint's path, time-out and headers."""

    path: str = ""
    timeout: Duration | None = None
    headers: tuple[HttpHeader, ...] = ()


class GrpcService(Message):
    """A gRPC endpoint's time-out and metadata."""

    timeout: Duration | None = None
    initial_metadata: tuple[HttpHeader, ...] = ()


class Zipkin(Message):
    """ZipkinTracingProvider."""

    service: str = ""
    port: UInt32 = 0
    max_tag_length: UInt32 = 0
    enable_64bit_trace_id: bool = False
    path: str = ""
    trace_context_option: Literal["USE_B3", "USE_B3_WITH_W3C_PROPAGATION"] = "USE_B3"
    timeout: Duration | None = None
    headers: tuple[HttpHeader, ...] = ()


class Datadog(Message):
    """DatadogTracingProvider."""

    service: str = ""
    port: UInt32 = 0
    max_tag_length: UInt32 = 0


class SkyWalking(Message):
    """SkyWalkingTracingProvider."""

    service: str = ""
    port: UInt32 = 0
    access_token: str = ""


class ResourceDetectors(Message):
    """Where OpenTelemetry's resource attributes come from."""

    environment: Empty | None = None
    dynatrace: Empty | None = None


class DynatraceApi(Message):
    """DynatraceSampler.DynatraceApi."""

    service: str = ""
    port: UInt32 = 0
    http: HttpService | None = None


class DynatraceSampler(Message):
    """OpenTelemetryTracingProvider.DynatraceSampler."""

    tenant: str = ""
    cluster_id: Int64 = 0
    root_spans_per_minute: UInt32 = 0
    http_service: DynatraceApi | None = None


class OpenTelemetry(Message):
    """OpenTelemetryTracingProvider."""

    service: str = ""
    port: UInt32 = 0
    max_tag_length: UInt32 = 0
    http: HttpService | None = None
    grpc: GrpcService | None = None
    resource_detectors: ResourceDetectors | None = None
    service_attribute_enrichment: Literal["ISTIO_CANONICAL", "OTEL_SEMANTIC_CONVENTIONS"] = "ISTIO_CANONICAL"
    dynatrace_sampler: DynatraceSampler | None = None


class FileLogFormat(Message):
    """EnvoyFileAccessLogProvider.LogFormat: text or labels (JSON)."""

    text: str | None = None
    labels: Json | None = None


class EnvoyFileAccessLog(Message):
    """EnvoyFileAccessLogProvider."""

    path: str = ""
    log_format: FileLogFormat | None = None
    omit_empty_values: bool = False


class EnvoyHttpAls(Message):
    """EnvoyHttpGrpcV3LogProvider."""

    service: str = ""
    port: UInt32 = 0
    log_name: str = ""
    filter_state_objects_to_log: tuple[str, ...] = ()
    additional_request_headers_to_log: tuple[str, ...] = ()
    additional_response_headers_to_log: tuple[str, ...] = ()
    additional_response_trailers_to_log: tuple[str, ...] = ()


class EnvoyTcpAls(Message):
    """EnvoyTcpGrpcV3LogProvider."""

    service: str = ""
    port: UInt32 = 0
    log_name: str = ""
    filter_state_objects_to_log: tuple[str, ...] = ()


class OtelLogFormat(Message):
    """EnvoyOpenTelemetryLogProvider.LogFormat."""

    text: str = ""
    labels: Json | None = None


class EnvoyOtelAls(Message):
    """EnvoyOpenTelemetryLogProvider."""

    service: str = ""
    port: UInt32 = 0
    log_name: str = ""
    log_format: OtelLogFormat | None = None


class Sds(Message):
    """SDSProvider: certificates from an external SDS server."""

    name: str = ""
    service: str = ""
    port: UInt32 = 0


class Lightstep(Message):
    """LightstepTracingProvider (deprecated)."""

    service: str = ""
    port: UInt32 = 0
    access_token: str = ""
    max_tag_length: UInt32 = 0


class StackdriverLogging(Message):
    """StackdriverProvider.Logging."""

    labels: Labels = {}


class StackdriverProvider(Message):
    """StackdriverProvider."""

    debug: bool = False
    max_number_of_attributes: Int64 | None = None
    max_number_of_annotations: Int64 | None = None
    max_number_of_message_events: Int64 | None = None
    max_tag_length: UInt32 = 0
    logging: StackdriverLogging | None = None


class OpenCensus(Message):
    """OpenCensusAgentTracingProvider (deprecated)."""

    service: str = ""
    port: UInt32 = 0
    context: tuple[Literal["UNSPECIFIED", "W3C_TRACE_CONTEXT", "GRPC_BIN", "CLOUD_TRACE_CONTEXT", "B3"], ...] = ()
    max_tag_length: UInt32 = 0


class ExtensionProvider(Message):
    """A name and one of the providers."""

    name: str = ""
    envoy_ext_authz_http: EnvoyExtAuthzHttp | None = None
    envoy_ext_authz_grpc: EnvoyExtAuthzGrpc | None = None
    zipkin: Zipkin | None = None
    lightstep: Lightstep | None = None
    datadog: Datadog | None = None
    stackdriver: StackdriverProvider | None = None
    opencensus: OpenCensus | None = None
    skywalking: SkyWalking | None = None
    opentelemetry: OpenTelemetry | None = None
    prometheus: Empty | None = None
    envoy_file_access_log: EnvoyFileAccessLog | None = None
    envoy_http_als: EnvoyHttpAls | None = None
    envoy_tcp_als: EnvoyTcpAls | None = None
    envoy_otel_als: EnvoyOtelAls | None = None
    sds: Sds | None = None
