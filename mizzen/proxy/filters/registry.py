"""Which filters there are: one ordered list each for HTTP, network and listener filters. A new filter is one file and one line here.

A factory is named as "module:function" under mizzen.proxy.filters and imported when a configuration first names its type.
HTTP: function(typed message, server, hcm) → HttpFilter, or None for a filter that never does anything as configured.
Route settings: function(typed message, server) → whatever the filter reads with `route_config`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.supported import check
from mizzen.proxy.filters.base import DISABLED, ENABLED

PREFIX = "mizzen.proxy.filters."
HTTP = "envoy.extensions.filters.http."
NETWORK = "envoy.extensions.filters.network."

# type → (factory of the filter, factory of route settings or None). Alphabetical: the order of a chain is the configuration's.
HTTP_FILTERS: dict[str, tuple[str, str | None]] = {
    f"{HTTP}buffer.v3.Buffer": ("buffer:http_filter", None),
    f"{HTTP}compressor.v3.Compressor": ("compression:http_filter", None),
    f"{HTTP}cors.v3.Cors": ("cors:http_filter", None),
    f"{HTTP}csrf.v3.CsrfPolicy": ("csrf:http_filter", None),
    f"{HTTP}decompressor.v3.Decompressor": ("compression:decompressor", None),
    f"{HTTP}ext_authz.v3.ExtAuthz": ("ext_authz:http_filter", None),
    f"{HTTP}fault.v3.HTTPFault": ("fault:http_filter", None),
    f"{HTTP}grpc_stats.v3.FilterConfig": ("grpc_stats:http_filter", None),
    f"{HTTP}grpc_web.v3.GrpcWeb": ("grpc_web:http_filter", None),
    f"{HTTP}header_to_metadata.v3.Config": ("metadata:header_to_metadata", None),
    f"{HTTP}health_check.v3.HealthCheck": ("health_check:http_filter", None),
    f"{HTTP}jwt_authn.v3.JwtAuthentication": ("jwt_authn:http_filter", None),
    f"{HTTP}local_ratelimit.v3.LocalRateLimit": ("local_ratelimit:http_filter", None),
    f"{HTTP}ratelimit.v3.RateLimit": ("ratelimit:http_filter", None),
    f"{HTTP}stateful_session.v3.StatefulSession": ("stateful_session:http_filter", None),
    f"{HTTP}rbac.v3.RBAC": ("rbac:http_filter", None),
    f"{HTTP}set_filter_state.v3.Config": ("metadata:set_filter_state", None),
    f"{HTTP}router.v3.Router": ("router_factory:http_filter", None),
    "io.istio.http.peer_metadata.Config": ("istio_metadata_exchange:http_filter", None),
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": ("istio_alpn:http_filter", None),
    "stats.PluginConfig": ("istio_stats:http_filter", None),
    "mizzen.filters.http.python.v1.Python": ("python:http_filter", None),
}
# type of a typed_per_filter_config → factory
ROUTE_CONFIGS: dict[str, str] = {
    f"{HTTP}buffer.v3.BufferPerRoute": "buffer:route_config",
    f"{HTTP}compressor.v3.CompressorPerRoute": "compression:route_config",
    f"{HTTP}cors.v3.CorsPolicy": "cors:route_config",
    f"{HTTP}csrf.v3.CsrfPolicy": "csrf:route_config",
    f"{HTTP}ratelimit.v3.RateLimitPerRoute": "ratelimit:route_config",
    f"{HTTP}stateful_session.v3.StatefulSessionPerRoute": "stateful_session:route_config",
    f"{HTTP}ext_authz.v3.ExtAuthzPerRoute": "ext_authz:route_config",
    f"{HTTP}fault.v3.HTTPFault": "fault:route_config",
    f"{HTTP}header_to_metadata.v3.Config": "metadata:header_to_metadata_route",
    f"{HTTP}set_filter_state.v3.Config": "metadata:set_filter_state_route",
    f"{HTTP}jwt_authn.v3.PerRouteConfig": "jwt_authn:route_config",
    f"{HTTP}local_ratelimit.v3.LocalRateLimit": "local_ratelimit:route_config",
    f"{HTTP}rbac.v3.RBACPerRoute": "rbac:route_config",
    "mizzen.filters.http.python.v1.PerRoute": "python:route_config",
}
# type → factory(typed message, server, listener) → network.NetworkFilter
NETWORK_FILTERS: dict[str, str] = {
    f"{NETWORK}connection_limit.v3.ConnectionLimit": "small_network:connection_limit",
    f"{NETWORK}sni_cluster.v3.SniCluster": "small_network:sni_cluster",
    f"{NETWORK}ext_authz.v3.ExtAuthz": "ext_authz:network_filter",
    f"{NETWORK}http_connection_manager.v3.HttpConnectionManager": "network:connection_manager",
    f"{NETWORK}local_ratelimit.v3.LocalRateLimit": "local_ratelimit:network_filter",
    f"{NETWORK}rbac.v3.RBAC": "rbac:network_filter",
    f"{NETWORK}tcp_proxy.v3.TcpProxy": "tcp_proxy:network_filter",
    "envoy.tcp.metadataexchange.config.MetadataExchange": "istio_metadata_exchange:network_filter",
    "stats.PluginConfig": "istio_stats:network_filter",
}
# type → factory(typed message) → something that the TCP proxy and HTTP pools put on an upstream connection
UPSTREAM_FILTERS: dict[str, str] = {
    "envoy.tcp.metadataexchange.config.MetadataExchange": "istio_metadata_exchange:upstream_filter",
}


def find(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(PREFIX + module), name)


def typed(any_message: Any, where: str) -> tuple[str, Any]:
    """The type's full name and the message of an Any; a TypedStruct keeps its inner type's name and gives a dict."""
    from mizzen.proxy.config.load import message_class

    name = any_message.type_url.rpartition("/")[2]
    if name in ("xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"):
        from mizzen.proxy.accesslog.format import struct_value

        wrapper = message_class(name)()
        any_message.Unpack(wrapper)
        return wrapper.type_url.rpartition("/")[2], struct_value(wrapper.value)
    cls = message_class(name)
    if cls is None:
        raise ConfigError(f"{where}: unknown type {any_message.type_url or '(none)'}")
    message = cls()
    any_message.Unpack(message)
    check(message, message.DESCRIPTOR.name)
    return name, message


def http_filters(messages: Any, server: Any, hcm: Any) -> list[Any]:
    """The chain of a connection manager. Raises ConfigError, Unsupported."""
    out: list[Any] = []
    for i, message in enumerate(messages):
        last = i == len(messages) - 1
        if message.WhichOneof("config_type") == "config_discovery":
            if last:
                raise ConfigError(
                    f"Error: non-terminal filter named {message.name} of type {message.name} is the last filter in a http filter chain."
                )
            out.append(discovered(message, server, hcm))
            continue
        try:
            kind, config = typed(message.typed_config, message.name)
        except Unsupported:
            raise  # the filter is known: what it is asked for is not
        except ConfigError:
            if message.is_optional:
                continue
            raise
        if kind not in HTTP_FILTERS:
            if message.is_optional:
                continue
            known = "is not built" if config is not None else "is unknown"
            raise ConfigError(
                f"Didn't find a registered implementation for '{message.name}' with type URL: '{kind}' ({known})"
            )
        router = kind == f"{HTTP}router.v3.Router"
        if router and not last:
            raise ConfigError(
                f"Error: terminal filter named {message.name} of type {message.name} must be the last filter in a http filter chain."
            )
        if last and not router:
            raise ConfigError(
                f"Error: non-terminal filter named {message.name} of type {message.name} is the last filter in a http filter chain."
            )
        filter_ = find(HTTP_FILTERS[kind][0])(config, server, hcm)
        if filter_ is not None:
            filter_.name = message.name
            filter_.off = bool(message.disabled)
            out.append(filter_)
    return out


def discovered(message: Any, server: Any, hcm: Any) -> Any:
    """The place of an HTTP filter that ECDS configures."""
    from mizzen.proxy.filters.discovered import NOTHING, Discovered, Settings

    def make(kind: str, config: Any) -> Any:
        return find(HTTP_FILTERS[kind][0])(config, server, hcm) or NOTHING

    settings = Settings(message.name, message.config_discovery, HTTP_FILTERS, (f"{HTTP}router.v3.Router",), make)
    place = Discovered(settings, server, hcm)
    place.off = bool(message.disabled)
    return place


def discovered_network(message: Any, server: Any, listener: Any) -> Any:
    """The place of a network filter that ECDS configures."""
    from mizzen.proxy.filters.discovered import NO_NETWORK_FILTER, DiscoveredNetwork, Settings

    def make(kind: str, config: Any) -> Any:
        return find(NETWORK_FILTERS[kind])(config, server, listener) or NO_NETWORK_FILTER

    terminal = [f"{NETWORK}tcp_proxy.v3.TcpProxy", f"{NETWORK}http_connection_manager.v3.HttpConnectionManager"]
    settings = Settings(message.name, message.config_discovery, NETWORK_FILTERS, terminal, make)
    return DiscoveredNetwork(settings, server, listener)


def route_filter_config(name: str, any_message: Any, server: Any) -> Any:
    """What a typed_per_filter_config entry means. Raises ConfigError, Unsupported."""
    kind, config = typed(any_message, name)
    if kind == "envoy.config.route.v3.FilterConfig":
        if config.disabled:
            return DISABLED
        if not config.HasField("config") or not config.config.type_url:
            return ENABLED
        try:
            return route_filter_config(name, config.config, server)
        except ConfigError:
            if config.is_optional:
                return None
            raise
    if kind not in ROUTE_CONFIGS:
        raise Unsupported(f"typed_per_filter_config {name} ({kind})")
    return find(ROUTE_CONFIGS[kind])(config, server)


def network_filter(message: Any, server: Any, listener: Any) -> Any:
    """A network filter of a filter chain."""
    if message.WhichOneof("config_type") == "config_discovery":
        return discovered_network(message, server, listener)
    kind, config = typed(message.typed_config, message.name)
    if kind not in NETWORK_FILTERS:
        raise ConfigError(f"Didn't find a registered implementation for '{message.name}' with type URL: '{kind}'")
    return find(NETWORK_FILTERS[kind])(config, server, listener)


def upstream_network_filter(message: Any, server: Any, where: str) -> Any:
    """A network filter on a cluster's connections."""
    kind, config = typed(message.typed_config, message.name)
    if kind not in UPSTREAM_FILTERS:
        raise Unsupported(f"{where}.filters {message.name} ({kind})")
    return find(UPSTREAM_FILTERS[kind])(config, server)


def extensions() -> list[tuple[str, str, str]]:
    """Name, type and category of every extension, as a node lists them to its control plane."""
    out = [(name, kind, "envoy.tracers") for name, kind in TRACERS]
    for category, kinds in (
        ("envoy.filters.http", HTTP_FILTERS),
        ("envoy.filters.network", NETWORK_FILTERS),
        ("envoy.filters.upstream_network", UPSTREAM_FILTERS),
    ):
        out += [(NAMES.get(kind) or f"{category}.{kind.split('.')[-3]}", kind, category) for kind in kinds]
    return out


TRACERS = (
    ("envoy.tracers.zipkin", "envoy.config.trace.v3.ZipkinConfig"),
    ("envoy.tracers.opentelemetry", "envoy.config.trace.v3.OpenTelemetryConfig"),
)
# names that do not follow from the type
NAMES: dict[str, str] = {
    "mizzen.filters.http.python.v1.Python": "mizzen.python",
    "io.istio.http.peer_metadata.Config": "istio.peer_metadata",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": "istio.alpn",
    "stats.PluginConfig": "istio.stats",
    "envoy.tcp.metadataexchange.config.MetadataExchange": "istio.metadata_exchange",
    f"{NETWORK}http_connection_manager.v3.HttpConnectionManager": "envoy.filters.network.http_connection_manager",
}
