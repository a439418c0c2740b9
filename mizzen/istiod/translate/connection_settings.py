"""ProxyConfig.connectionSettings: limits and time-outs towards clients, and buffers on both sides.

Takes the settings of a proxy, gives their values with those of the EDGE profile beneath where it is chosen and the proxy is a
gateway; writes to connection managers. Connection limits (listenerConnectionLimit, globalDownstreamConnectionLimit) are
the bootstrap's.
"""

from __future__ import annotations

from typing import Any

import msgspec
from envoy.config.core.v3 import protocol_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from mizzen.api.istio.proxy_config import ConnectionSettings, ProxyConfig
from mizzen.api.types import Duration
from mizzen.istiod.node import Node
from mizzen.istiod.translate.messages import duration

Hcm = hcm_pb2.HttpConnectionManager
UNDERSCORES_UNSET = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED"
SLASHES_UNSET = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED"
EDGE = ConnectionSettings(
    listener_per_connection_buffer_limit_bytes=32768,
    cluster_per_connection_buffer_limit_bytes=32768,
    http_idle_timeout=Duration.of(3600),
    http_stream_idle_timeout=Duration.of(300),
    http_request_timeout=Duration.of(300),
    http_request_headers_timeout=Duration.of(60),
    http_max_concurrent_streams=100,
    http2_initial_stream_window_size=65536,
    http2_initial_connection_window_size=1048576,
    http_headers_with_underscores_action="HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
    http_merge_slashes=True,
    http_path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT",
)
"""Envoy's advice for proxies at the edge."""


def settings_of(config: ProxyConfig, node: Node) -> ConnectionSettings | None:
    """The settings of a proxy; None = nothing is said."""
    given = config.connection_settings
    if given is None or given.profile != "EDGE" or not node.is_router:
        return given
    told = {
        name: value
        for name in given.__struct_fields__
        if (value := getattr(given, name)) not in (None, UNDERSCORES_UNSET, SLASHES_UNSET)
    }
    return msgspec.structs.replace(EDGE, **told)


def apply_to_manager(settings: ConnectionSettings, manager: Any) -> None:
    """Time-outs, limits and path handling of a connection manager."""
    for field, value in (
        ("drain_timeout", settings.http_drain_timeout),
        ("request_timeout", settings.http_request_timeout),
        ("request_headers_timeout", settings.http_request_headers_timeout),
        ("stream_idle_timeout", settings.http_stream_idle_timeout),
    ):
        _set(manager, field, value)
    common = protocol_pb2.HttpProtocolOptions()
    for field, value in (
        ("idle_timeout", settings.http_idle_timeout),
        ("max_connection_duration", settings.http_max_connection_duration),
        ("max_stream_duration", settings.http_max_stream_duration),
    ):
        _set(common, field, value)
    if settings.http_headers_with_underscores_action != UNDERSCORES_UNSET:
        action = settings.http_headers_with_underscores_action.removeprefix("HEADERS_WITH_UNDERSCORES_")
        values = protocol_pb2.HttpProtocolOptions.HeadersWithUnderscoresAction
        common.headers_with_underscores_action = values.Value(action)
    if common.ByteSize():
        manager.common_http_protocol_options.MergeFrom(common)
    _http2(settings, manager)
    if settings.http_merge_slashes is not None:
        manager.merge_slashes = settings.http_merge_slashes
    if settings.http_path_with_escaped_slashes_action != SLASHES_UNSET:
        action = settings.http_path_with_escaped_slashes_action
        manager.path_with_escaped_slashes_action = Hcm.PathWithEscapedSlashesAction.Value(action)


def _http2(settings: ConnectionSettings, manager: Any) -> None:
    for field, number in (
        ("max_concurrent_streams", settings.http_max_concurrent_streams),
        ("initial_stream_window_size", settings.http2_initial_stream_window_size),
        ("initial_connection_window_size", settings.http2_initial_connection_window_size),
    ):
        if number is not None:
            getattr(manager.http2_protocol_options, field).value = number


def _set(message: Any, field: str, value: Duration | None) -> None:
    if value is not None:
        getattr(message, field).CopyFrom(duration(value))
