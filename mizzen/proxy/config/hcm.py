"""HttpConnectionManager → Hcm: one filter chain's HTTP settings, its HTTP filters and where its routes come from.

Raises ConfigError/Unsupported. Not here: what is done per request (http/stream.py).
Source: envoy.extensions.filters.network.http_connection_manager.v3.
"""

from __future__ import annotations

from typing import Any, Final

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig

from mizzen.proxy.codec.h2_frames import Limits
from mizzen.proxy.config.accesslog import AccessLog, access_logs
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import Ranges
from mizzen.proxy.config.routes import compile_routes
from mizzen.proxy.config.values import optional_seconds, seconds, unpack, wrapped
from mizzen.proxy.http.route import RouteTable
from mizzen.proxy.stats.groups import CodesGroup
from mizzen.proxy.stats.hot import CodesHot, HttpHot
from mizzen.proxy.stats.names import CODE_CLASSES, CODEC1_COUNTERS, CODEC2_COUNTERS, CODEC2_GAUGES, http_group
from mizzen.proxy.tracing.decision import RequestIds
from mizzen.wire import newer

AUTO: Final = 0
HTTP1: Final = 1
HTTP2: Final = 2


class RouteSource:
    """The routes of a connection manager: fixed, or whatever RDS served last."""

    __slots__ = ("name", "table")

    def __init__(self, name: str = "", table: RouteTable | None = None) -> None:
        self.name = name
        self.table = table


class Hcm:
    """A compiled HttpConnectionManager; shared by all connections of its filter chain."""

    def __init__(self, message: Any, server: Any, listener: Any) -> None:
        self.server = server
        self.active: set[Any] = server.active  # streams under way
        self.clusters: dict[str, Any] = server.clusters.active
        self.listener = listener
        self.message = message
        if not message.stat_prefix:
            raise ConfigError(
                "HttpConnectionManagerValidationError.StatPrefix: value length must be at least 1 characters"
            )
        self.stats: Any = http_group(server.stats, message.stat_prefix)
        self.hot: HttpHot = self.stats.hot  # what every request counts
        self.stat_prefix: str = message.stat_prefix
        self.codec1: Any = server.stats.group("http1", CODEC1_COUNTERS)
        self.codec2: Any = server.stats.group("http2", CODEC2_COUNTERS, CODEC2_GAUGES)
        self.listener_stats: Any = None
        self.listener_hot: CodesHot | None = None
        if listener is not None:
            self.listener_stats = server.stats.group(
                f"{listener.stat_prefix}.http.{message.stat_prefix}",
                [*CODE_CLASSES, "downstream_rq_completed"],
                make=CodesGroup,
            )
            self.listener_hot = self.listener_stats.hot
        self.codec_type = message.codec_type
        if self.codec_type == 3:
            raise Unsupported("HttpConnectionManager.codec_type HTTP3")
        self._addresses(message)
        self._timeouts(message)
        self._limits(message)
        self._paths(message)
        self._xfcc(message)
        self.server_name: str = message.server_name or "envoy"
        self.server_transformation: int = (
            message.server_header_transformation
        )  # 0 OVERWRITE 1 APPEND_IF_ABSENT 2 PASS_THROUGH
        self.generate_request_id: bool = wrapped(message, "generate_request_id", True)
        self.preserve_request_id: bool = message.preserve_external_request_id
        self.request_id_in_response: bool = message.always_set_request_id_in_response
        self.request_ids = self._request_ids(message)
        self.proxy_100_continue: bool = message.proxy_100_continue
        self.via: str = message.via
        self.user_agent: str = server.node.cluster if wrapped(message, "add_user_agent", False) else ""
        self.service_node = server.node.id
        self.upgrades: dict[str, bool] = {}
        for upgrade in message.upgrade_configs:
            if upgrade.filters:
                raise Unsupported("HttpConnectionManager.upgrade_configs.filters")
            self.upgrades[upgrade.upgrade_type.lower()] = wrapped(upgrade, "enabled", True)
        self.merge_host_port: bool = message.strip_matching_host_port
        self.strip_any_port: bool = (
            message.strip_any_host_port if message.WhichOneof("strip_port_mode") == "strip_any_host_port" else False
        )
        self.strip_trailing_dot: bool = message.strip_trailing_host_dot
        self.scheme_match_upstream: bool | None = None
        if message.HasField("scheme_header_transformation"):
            kind = message.scheme_header_transformation.WhichOneof("transformation")
            if kind == "scheme_to_overwrite":
                self.scheme_overwrite = message.scheme_header_transformation.scheme_to_overwrite
            if message.scheme_header_transformation.match_upstream:
                raise Unsupported("HttpConnectionManager.scheme_header_transformation.match_upstream")
        self.stream_error_on_invalid = wrapped(message, "stream_error_on_invalid_http_message", False)
        from mizzen.proxy.http.local_reply import local_replies

        self.local_replies = (
            local_replies(message.local_reply_config) if message.HasField("local_reply_config") else None
        )
        self._filters(message)
        self.routes = self._routes(message)
        self.access_logs: tuple[AccessLog, ...] = access_logs(message.access_log, server)
        options = message.access_log_options
        if options.flush_access_log_on_new_request or options.HasField("access_log_flush_interval"):
            raise Unsupported("HttpConnectionManager.access_log_options")

    @staticmethod
    def _request_ids(message: Any) -> RequestIds:
        if not message.HasField("request_id_extension"):
            return RequestIds()
        config = unpack(
            message.request_id_extension.typed_config, UuidRequestIdConfig, "HttpConnectionManager.request_id_extension"
        )
        return RequestIds(
            wrapped(config, "pack_trace_reason", True), wrapped(config, "use_request_id_for_trace_sampling", True)
        )

    def _addresses(self, message: Any) -> None:
        self.use_remote_address: bool = wrapped(message, "use_remote_address", False)
        self.xff_hops: int = message.xff_num_trusted_hops
        self.skip_xff_append: bool = message.skip_xff_append
        self.append_x_forwarded_port: bool = message.append_x_forwarded_port
        self.internal: Ranges | None = None
        if message.HasField("internal_address_config"):
            config = message.internal_address_config
            if config.unix_sockets:
                raise Unsupported("HttpConnectionManager.internal_address_config.unix_sockets")
            self.internal = Ranges(config.cidr_ranges)

    def _timeouts(self, message: Any) -> None:
        common = message.common_http_protocol_options
        self.idle_timeout = optional_seconds(common, "idle_timeout", 3600.0) or 0.0
        self.max_connection_duration = optional_seconds(common, "max_connection_duration") or 0.0
        self.max_stream_duration = optional_seconds(common, "max_stream_duration") or 0.0
        self.stream_idle_timeout = (
            seconds(message.stream_idle_timeout) if message.HasField("stream_idle_timeout") else 300.0
        )
        self.request_timeout = optional_seconds(message, "request_timeout") or 0.0
        self.request_headers_timeout = optional_seconds(message, "request_headers_timeout") or 0.0
        self.drain_timeout = optional_seconds(message, "drain_timeout", 5.0) or 5.0
        self.delayed_close_timeout = (
            seconds(message.delayed_close_timeout) if message.HasField("delayed_close_timeout") else 1.0
        )

    def _limits(self, message: Any) -> None:
        common = message.common_http_protocol_options
        self.max_head: int = wrapped(message, "max_request_headers_kb", 60) * 1024
        self.max_headers: int = wrapped(common, "max_headers_count", 100)
        self.max_requests: int = wrapped(common, "max_requests_per_connection", 0)
        self.underscores: int = common.headers_with_underscores_action  # 0 ALLOW 1 REJECT_REQUEST 2 DROP_HEADER
        http1 = message.http_protocol_options
        self.allow_absolute_url = wrapped(http1, "allow_absolute_url", True)
        self.accept_http_10: bool = http1.accept_http_10
        self.default_host = http1.default_host_for_http_10
        self.enable_trailers: bool = http1.enable_trailers
        self.allow_chunked_length: bool = http1.allow_chunked_length
        if http1.HasField("header_key_format"):
            kind = http1.header_key_format.WhichOneof("header_format")
            if kind == "proper_case_words":
                self.header_case: str = "proper"
            else:
                formatter = http1.header_key_format.stateful_formatter
                if not formatter.typed_config.type_url.endswith("PreserveCaseFormatterConfig"):
                    raise Unsupported(f"http_protocol_options.header_key_format {formatter.name}")
                self.header_case = "preserve"
        else:
            self.header_case = ""
        self.h2 = message.http2_protocol_options
        self.h2_limits = Limits(self.h2)
        if self.h2.HasField("connection_keepalive"):
            raise Unsupported("HttpConnectionManager.http2_protocol_options.connection_keepalive")

    def _paths(self, message: Any) -> None:
        self.normalize_path: bool = wrapped(message, "normalize_path", False)
        self.merge_slashes: bool = message.merge_slashes
        self.escaped_slashes: int = (
            message.path_with_escaped_slashes_action or 1
        )  # 1 KEEP 2 REJECT 3 REDIRECT 4 FORWARD

    def _xfcc(self, message: Any) -> None:
        self.xfcc_mode: int = message.forward_client_cert_details
        details = message.set_current_client_cert_details
        self.xfcc_details = frozenset(
            name
            for name, on in (
                ("subject", wrapped(details, "subject", False)),
                ("cert", details.cert),
                ("chain", details.chain),
                ("dns", details.dns),
                ("uri", details.uri),
            )
            if on
        )
        self.xfcc_active = self.xfcc_mode != 4

    def _filters(self, message: Any) -> None:
        from mizzen.proxy.filters.base import DISABLED
        from mizzen.proxy.filters.registry import http_filters

        filters: list[Any] = list(http_filters(message.http_filters, self.server, self))
        if message.HasField("tracing"):
            filters = self._traced(message, filters)
        decoders = [each for each in filters if each.decodes]
        encoders = [each for each in filters[::-1] if each.encodes]
        self.filters: tuple[Any, ...] = tuple(filters)
        # filters that are off unless a route says otherwise
        self.off: dict[str, Any] = {each.name: DISABLED for each in filters if each.off}
        self.decoders: tuple[Any, ...] = tuple(decoders)
        self.encoders: tuple[Any, ...] = tuple(encoders)
        self.data_decoders: tuple[Any, ...] = tuple([each for each in decoders if each.reads_request_data])
        self.data_encoders: tuple[Any, ...] = tuple([each for each in encoders if each.reads_response_data])
        self.finishers: tuple[Any, ...] = tuple([each for each in filters if each.finishes])
        self.call_watchers: tuple[Any, ...] = tuple([each for each in filters if hasattr(each, "calls")])

    def _traced(self, message: Any, filters: list[Any]) -> list[Any]:
        """The chain with tracing around it."""
        from mizzen.proxy.tracing.drivers import driver
        from mizzen.proxy.tracing.filter import Propagation, Tracing

        provider = message.tracing.provider if message.tracing.HasField("provider") else None
        if provider is None and self.server.bootstrap.tracing.HasField("http"):
            provider = self.server.bootstrap.tracing.http
        tracer = driver(provider, self.server) if provider is not None else None
        made = [Tracing(message.tracing, tracer, self.request_ids, self), *filters]
        if tracer is not None and not newer.flag(message.tracing, "no_context_propagation"):
            made.insert(-1, Propagation(tracer))
        return made

    def _routes(self, message: Any) -> RouteSource:
        kind = message.WhichOneof("route_specifier")
        if kind == "route_config":
            return RouteSource(message.route_config.name, compile_routes(message.route_config, self.server, True))
        if kind == "rds":
            source: RouteSource = self.server.xds.routes(message.rds, self)
            return source
        raise ConfigError("HttpConnectionManager: route_specifier is required")


def hcm_of(any_message: Any, server: Any, listener: Any) -> Hcm:
    """The Hcm of a network filter's typed_config."""
    message = unpack(any_message, http_connection_manager_pb2.HttpConnectionManager, "http_connection_manager")
    return Hcm(message, server, listener)
