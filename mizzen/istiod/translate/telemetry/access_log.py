"""Access logs of HTTP connection managers, TCP proxies and whole listeners.

Takes merged telemetry and the mesh's accessLogFile, gives envoy.config.accesslog.v3.AccessLog messages.
Not here: which logs hold for a proxy (effective.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, config_source_pb2, grpc_service_pb2, substitution_format_string_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from google.protobuf import struct_pb2
from opentelemetry.proto.common.v1 import common_pb2

from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.istio.providers import EnvoyHttpAls, EnvoyOtelAls, EnvoyTcpAls, ExtensionProvider
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.messages import pack, struct
from mizzen.istiod.translate.telemetry.effective import LogSettings
from mizzen.istiod.translate.telemetry.providers import provider_cluster

AccessLog = accesslog_pb2.AccessLog
OPERATORS = (
    ("start_time", "%START_TIME%", "[{}]"),
    ("", '"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%"', "{}"),
    ("response_code", "%RESPONSE_CODE%", "{}"),
    ("response_flags", "%RESPONSE_FLAGS%", "{}"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%", "{}"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%", "{}"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%", '"{}"'),
    ("bytes_received", "%BYTES_RECEIVED%", "{}"),
    ("bytes_sent", "%BYTES_SENT%", "{}"),
    ("duration", "%DURATION%", "{}"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%", "{}"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%", '"{}"'),
    ("user_agent", "%REQ(USER-AGENT)%", '"{}"'),
    ("request_id", "%REQ(X-REQUEST-ID)%", '"{}"'),
    ("authority", "%REQ(:AUTHORITY)%", '"{}"'),
    ("upstream_host", "%UPSTREAM_HOST%", '"{}"'),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%", "{}"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%", "{}"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%", "{}"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%", "{}"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%", "{}"),
    ("route_name", "%ROUTE_NAME%", "{}"),
)
"""The fields of Istio's default log line, in order: JSON key, operator, how it stands in the text form."""
TEXT_FORMAT = " ".join(frame.format(operator) for _, operator, frame in OPERATORS) + "\n"
JSON_FORMAT: Mapping[str, Any] = {
    **{key: operator for key, operator, _ in OPERATORS if key},
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
}
Logged = Literal["http", "tcp", "listener"]
BUILT_IN = "envoy"
SERVICE_CLUSTER = "envoy_accesslog_service"
PEER_STATES = (
    "upstream_peer",
    "downstream_peer",
    "wasm.upstream_peer",
    "wasm.upstream_peer_id",
    "wasm.downstream_peer",
    "wasm.downstream_peer_id",
)
"""Filter state that a gRPC log carries unless the provider names its own."""


def access_logs(snap: Snapshot, settings: list[LogSettings] | None, of: Logged = "http") -> list[Any]:
    """The access logs of one filter, or of a whole listener: that only tells of connections that no filter chain took.

    settings: None = nothing says anything, the mesh's accessLogFile and enableEnvoyAccessLogService count.
    """
    listener = of == "listener"
    if listener and snap.mesh.disable_envoy_listener_log:
        return []
    if settings is None:
        found_here = (_mesh_file_log(snap.mesh), _mesh_service_log(snap.mesh, of))
        logs = [(log, "") for log in found_here if log is not None]
    else:
        found = [(_provider_log(snap, setting.provider), setting.filter) for setting in settings]
        logs = [(log, text) for log, text in found if log is not None]
    for log, expression in logs:
        log_filter = _filter(expression, listener)
        if log_filter is not None:
            log.filter.CopyFrom(log_filter)
    return [log for log, _ in logs]


def _filter(expression: str, listener: bool) -> Any:
    filters = []
    if listener:
        flags = accesslog_pb2.ResponseFlagFilter(flags=["NR"])
        filters.append(accesslog_pb2.AccessLogFilter(response_flag_filter=flags))
    if expression:
        cel = accesslog_pb2.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel",
            typed_config=pack(cel_pb2.ExpressionFilter(expression=expression)),
        )
        filters.append(accesslog_pb2.AccessLogFilter(extension_filter=cel))
    if len(filters) > 1:
        return accesslog_pb2.AccessLogFilter(and_filter=accesslog_pb2.AndFilter(filters=filters))
    return filters[0] if filters else None


def _mesh_file_log(mesh: MeshConfig) -> Any:
    if not mesh.access_log_file:
        return None
    return _file(mesh.access_log_file, _mesh_format(mesh))


def _mesh_format(mesh: MeshConfig) -> Any:
    if mesh.access_log_encoding == "JSON":
        return _json_format(_json_labels(mesh.access_log_format))
    return _text_format(mesh.access_log_format or TEXT_FORMAT)


def _mesh_service_log(mesh: MeshConfig, of: Logged) -> Any:
    """enableEnvoyAccessLogService: to the cluster that the bootstrap has."""
    if not mesh.enable_envoy_access_log_service:
        return None
    common = _als(SERVICE_CLUSTER, "", f"{of}_envoy_accesslog", ())
    if of == "http":
        config: Any = als_pb2.HttpGrpcAccessLogConfig(common_config=common)
        return AccessLog(name="envoy.access_loggers.http_grpc", typed_config=pack(config))
    config = als_pb2.TcpGrpcAccessLogConfig(common_config=common)
    return AccessLog(name="envoy.tcp_grpc_access_log", typed_config=pack(config))


def _json_labels(text: str) -> Mapping[str, Any]:
    if not text:
        return JSON_FORMAT
    try:
        labels = json.loads(text)
    except ValueError:
        return JSON_FORMAT
    return labels if isinstance(labels, dict) else JSON_FORMAT


def _text_format(text: str, omit_empty: bool = False) -> Any:
    source = base_pb2.DataSource(inline_string=text if text.endswith("\n") else text + "\n")
    return substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=source, omit_empty_values=omit_empty
    )


def _json_format(labels: Mapping[str, Any], omit_empty: bool = False) -> Any:
    return substitution_format_string_pb2.SubstitutionFormatString(
        json_format=struct(labels),
        json_format_options=substitution_format_string_pb2.JsonFormatOptions(),
        omit_empty_values=omit_empty,
    )


def _file(path: str, log_format: Any) -> Any:
    config = file_pb2.FileAccessLog(path=path, log_format=log_format)
    return AccessLog(name="envoy.access_loggers.file", typed_config=pack(config))


def _provider_log(snap: Snapshot, provider: ExtensionProvider) -> Any:
    """The log of a provider; None when it is none for logs or its service is not known."""
    if provider.envoy_file_access_log is not None:
        return _file_provider(snap.mesh, provider)
    if provider.envoy_http_als is not None:
        return _http_als(snap, provider.envoy_http_als)
    if provider.envoy_tcp_als is not None:
        return _tcp_als(snap, provider.envoy_tcp_als)
    if provider.envoy_otel_als is not None:
        return _otel_als(snap, provider.envoy_otel_als)
    return None


def _file_provider(mesh: MeshConfig, of: ExtensionProvider) -> Any:
    """To a file. The provider that is there from the start takes the mesh's format where it names none."""
    provider = of.envoy_file_access_log
    assert provider is not None
    chosen = provider.log_format
    if chosen is None and of.name == BUILT_IN:
        return _file(provider.path or "/dev/stdout", _mesh_format(mesh))
    if chosen is not None and chosen.labels is not None:
        log_format = _json_format(chosen.labels or JSON_FORMAT, provider.omit_empty_values)
    else:
        text = (chosen.text if chosen is not None else "") or TEXT_FORMAT
        log_format = _text_format(text, provider.omit_empty_values)
    return _file(provider.path or "/dev/stdout", log_format)


def _common(snap: Snapshot, service: str, port: int, log_name: str, states: tuple[str, ...]) -> Any:
    cluster = provider_cluster(snap, service, port)
    if cluster is None:
        return None
    return _als(cluster[1], cluster[0], log_name, states)


def _als(cluster: str, authority: str, log_name: str, states: tuple[str, ...]) -> Any:
    grpc = grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=cluster, authority=authority)
    return als_pb2.CommonGrpcAccessLogConfig(
        log_name=log_name,
        grpc_service=grpc_service_pb2.GrpcService(envoy_grpc=grpc),
        transport_api_version=config_source_pb2.V3,
        filter_state_objects_to_log=states or PEER_STATES,
    )


def _http_als(snap: Snapshot, als: EnvoyHttpAls) -> Any:
    name = als.log_name or "http_envoy_accesslog"
    common = _common(snap, als.service, als.port, name, als.filter_state_objects_to_log)
    if common is None:
        return None
    config = als_pb2.HttpGrpcAccessLogConfig(
        common_config=common,
        additional_request_headers_to_log=als.additional_request_headers_to_log,
        additional_response_headers_to_log=als.additional_response_headers_to_log,
        additional_response_trailers_to_log=als.additional_response_trailers_to_log,
    )
    return AccessLog(name="envoy.access_loggers.http_grpc", typed_config=pack(config))


def _tcp_als(snap: Snapshot, als: EnvoyTcpAls) -> Any:
    name = als.log_name or "tcp_envoy_accesslog"
    common = _common(snap, als.service, als.port, name, als.filter_state_objects_to_log)
    if common is None:
        return None
    config = als_pb2.TcpGrpcAccessLogConfig(common_config=common)
    return AccessLog(name="envoy.tcp_grpc_access_log", typed_config=pack(config))


def _otel_als(snap: Snapshot, als: EnvoyOtelAls) -> Any:
    common = _common(snap, als.service, als.port, als.log_name or "otel_envoy_accesslog", ())
    if common is None:
        return None
    text = als.log_format.text if als.log_format is not None else ""
    labels = als.log_format.labels if als.log_format is not None else None
    config = logs_service_pb2.OpenTelemetryAccessLogConfig(
        common_config=common,
        disable_builtin_labels=True,
        body=common_pb2.AnyValue(string_value=text or TEXT_FORMAT),
    )
    if labels:
        config.attributes.CopyFrom(_key_values(struct(labels)))
    return AccessLog(name="envoy.access_loggers.open_telemetry", typed_config=pack(config))


def _key_values(labels: struct_pb2.Struct) -> Any:
    values = [common_pb2.KeyValue(key=key, value=_any_value(labels.fields[key])) for key in sorted(labels.fields)]
    return common_pb2.KeyValueList(values=values)


def _any_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return common_pb2.AnyValue(string_value=value.string_value)
    if kind == "number_value":
        return common_pb2.AnyValue(double_value=value.number_value)
    if kind == "bool_value":
        return common_pb2.AnyValue(bool_value=value.bool_value)
    if kind == "struct_value":
        return common_pb2.AnyValue(kvlist_value=_key_values(value.struct_value))
    if kind == "list_value":
        items = [_any_value(item) for item in value.list_value.values]
        return common_pb2.AnyValue(array_value=common_pb2.ArrayValue(values=items))
    return common_pb2.AnyValue()
