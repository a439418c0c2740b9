"""Envoy's bootstrap for a pod: a pure function from node, ProxyConfig and environment to JSON.

Source: Istio's bootstrap. What ProxyConfig asks for and this cannot do is refused by the field's name. `lean` leaves out
what only a full Envoy has and Istio adds for its own build. Not here: writing the file, starting the proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mizzen.agent.bootstrap_clusters import dns_cluster, expand, pipe_cluster, static_cluster, tracer, xds_cluster
from mizzen.agent.bootstrap_listeners import (
    compressors,
    http_listener,
    mutual_tls,
    proxy_protocol_filter,
    socket_address,
)
from mizzen.agent.bootstrap_stats import stats_config
from mizzen.agent.environment import Environment
from mizzen.agent.node import Node
from mizzen.api.errors import Unsupported

Json = dict[str, Any]

MAX_CONNECTIONS = 2147483647
RUNTIME: Mapping[str, Any] = {
    "re2.max_program_size.error_level": "32768",
    "envoy.deprecated_features:envoy.config.listener.v3.Listener.hidden_envoy_deprecated_use_original_dst": True,
    "envoy.reloadable_features.http_reject_path_with_fragment": False,
    "envoy.reloadable_features.fixed_heap_use_allocated": True,
    "envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update": False,
}
TEXT_LOG = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"
UNSUPPORTED_VARIABLES = ("ISTIO_META_ENABLE_SELF_DISCOVERY", "PEER_METADATA_DISCOVERY")
UNSUPPORTED = ("customConfigFile", "proxyBootstrapTemplatePath", "sds")


class Paths(msgspec.Struct, frozen=True):
    """The agent's sockets, as the proxy finds them."""

    xds: str
    sds: str
    files_sds: str = ""


def bootstrap(
    node: Node,
    config: Mapping[str, Any],
    environment: Environment,
    paths: Paths,
    *,
    annotations: Mapping[str, str] | None = None,
    log_as_json: bool = False,
    outlier_log_path: str = "",
    lean: bool = False,
) -> Json:
    """The bootstrap. Raises Unsupported."""
    for field in UNSUPPORTED:
        if config.get(field):
            raise Unsupported(f"proxyConfig.{field}")
    for variable in UNSUPPORTED_VARIABLES:
        if environment.raw.get(variable, "").lower() == "true":
            raise Unsupported(variable)
    notes = annotations or {}
    local = "::1" if node.ipv6_only else "127.0.0.1"
    host_ip = environment.raw.get("HOST_IP", local)
    result: Json = {
        "application_log_config": {"log_format": log_format(log_as_json)},
        "node": node_json(node),
        "layered_runtime": layered_runtime(config),
        "stats_config": stats_config(
            config, notes, node.ips, connections=environment.exit_on_zero_connections, lean=lean
        ),
        "admin": admin(config, local),
        "dynamic_resources": dynamic_resources(environment),
        "overload_manager": overload_manager(config, node),
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "static_resources": {
            "clusters": clusters(node, config, paths, local, host_ip),
            "listeners": listeners(node, config, environment, notes, lean),
        },
    }
    if not lean:
        result["bootstrap_extensions"] = [internal_listener()]
    flush = notes.get("sidecar.istio.io/statsFlushInterval")
    if flush:
        result["stats_flush_interval"] = flush
    if outlier_log_path:
        result["cluster_manager"] = {"outlier_detection": {"event_log_path": outlier_log_path}}
    tracing = tracer(config, host_ip)
    if tracing is not None:
        result["tracing"] = {"http": tracing[2]}
    sinks = stats_sinks(config, host_ip)
    if sinks:
        result["stats_sinks"] = sinks
    return result


def log_format(as_json: bool) -> Json:
    if not as_json:
        return {"text_format": TEXT_LOG}
    fields = {
        "time": "%Y-%m-%dT%T.%fZ",
        "level": "%l",
        "scope": "envoy %n",
        "msg": "%j",
        "caller": "%g:%#",
        "thread": "%t",
    }
    return {"json_format": fields}


def node_json(node: Node) -> Json:
    region, zone, subzone = node.locality
    locality = {key: value for key, value in (("region", region), ("zone", zone), ("sub_zone", subzone)) if value}
    return {"id": node.id, "cluster": node.cluster, "locality": locality, "metadata": dict(node.metadata)}


def layered_runtime(config: Mapping[str, Any]) -> Json:
    values: Json = dict(RUNTIME)
    for key, value in (config.get("runtimeValues") or {}).items():
        if value == "":
            values.pop(key, None)
        else:
            values[key] = value
    return {"layers": [{"name": "global config", "static_layer": values}, {"name": "admin", "admin_layer": {}}]}


def overload_manager(config: Mapping[str, Any], node: Node) -> Json:
    """The limit of client connections: ProxyConfig's, else the metadata's, else the runtime value's."""
    settings = config.get("connectionSettings") or {}
    limit = (
        settings.get("globalDownstreamConnectionLimit")
        or node.metadata.get("GLOBAL_DOWNSTREAM_MAX_CONNECTIONS")
        or (config.get("runtimeValues") or {}).get("overload.global_downstream_max_connections")
        or MAX_CONNECTIONS
    )
    kind = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
    monitor = {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"{kind}.DownstreamConnectionsConfig",
            "max_active_downstream_connections": int(limit),
        },
    }
    return {"resource_monitors": [monitor]}


def admin(config: Mapping[str, Any], local: str) -> Json:
    log = {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": "/dev/null"}
    return {
        "access_log": [{"name": "envoy.access_loggers.file", "typed_config": log}],
        "profile_path": "/var/lib/istio/data/envoy.prof",
        "address": socket_address(local, int(config.get("proxyAdminPort", 15000))),
    }


def dynamic_resources(environment: Environment) -> Json:
    source = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "lds_config": source,
        "cds_config": source,
        "ads_config": {
            "api_type": "DELTA_GRPC" if environment.delta_xds else "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
        },
    }


def clusters(node: Node, config: Mapping[str, Any], paths: Paths, local: str, host_ip: str) -> list[Json]:
    result = [
        static_cluster("prometheus_stats", local, int(config.get("proxyAdminPort", 15000))),
        static_cluster("agent", local, int(config.get("statusPort", 15020))),
        pipe_cluster("sds-grpc", paths.sds),
        xds_cluster(paths.xds),
    ]
    if paths.files_sds:
        result.append(pipe_cluster("sds-files-grpc", paths.files_sds))
    tracing = tracer(config, host_ip)
    if tracing is not None:
        result.append(dns_cluster(tracing[0], tracing[1], ipv6=node.ipv6_only))
    for field, name in (
        ("envoyMetricsService", "envoy_metrics_service"),
        ("envoyAccessLogService", "envoy_accesslog_service"),
    ):
        service = config.get(field) or {}
        if service.get("tlsSettings"):
            raise Unsupported(f"proxyConfig.{field}.tlsSettings")
        if service.get("address"):
            address = expand(service["address"], host_ip)
            result.append(dns_cluster(name, address, http2=True, ipv6=node.ipv6_only))
    return result


def listeners(
    node: Node, config: Mapping[str, Any], environment: Environment, annotations: Mapping[str, str], lean: bool
) -> list[Json]:
    anywhere = "::" if node.ipv6_only else "0.0.0.0"
    more = ("::",) if node.dual_stack else ()
    wanted = config.get("statsCompression", annotations.get("sidecar.istio.io/statsCompression", "true"))
    filters = compressors() if str(wanted).lower() != "false" and not lean else []
    result = [
        http_listener(
            anywhere,
            environment.prometheus_port,
            "/stats/prometheus",
            "prometheus_stats",
            filters=filters,
            more_hosts=more,
        ),
        http_listener(anywhere, environment.status_port, "/healthz/ready", "agent", more_hosts=more),
    ]
    if "proxyProtocol" in (config.get("gatewayTopology") or {}):
        result[1]["listener_filters"] = [proxy_protocol_filter()]
    for port, cluster in (
        (environment.secure_metrics_port, "prometheus_stats"),
        (environment.secure_merged_metrics_port, "agent"),
    ):
        if port:
            result.append(
                http_listener(anywhere, port, "/stats/prometheus", cluster, tls=mutual_tls(), more_hosts=more)
            )
    return result


def internal_listener() -> Json:
    return {
        "name": "envoy.bootstrap.internal_listener",
        "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
            "value": {"buffer_size_kb": 64},
        },
    }


def stats_sinks(config: Mapping[str, Any], host_ip: str) -> list[Json]:
    """Where ProxyConfig wants statistics: the metrics service's cluster, a StatsD daemon."""
    out = []
    if (config.get("envoyMetricsService") or {}).get("address"):
        service = {
            "@type": "type.googleapis.com/envoy.config.metrics.v3.MetricsServiceConfig",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "envoy_metrics_service"}},
        }
        out.append({"name": "envoy.metrics_service", "typed_config": service})
    if config.get("statsdUdpAddress"):
        out.append(statsd_sink(expand(config["statsdUdpAddress"], host_ip)))
    return out


def statsd_sink(address: str) -> Json:
    host, _, port = address.rpartition(":")
    kind = "type.googleapis.com/envoy.config.metrics.v3.StatsdSink"
    target = {"socket_address": {"protocol": "UDP", "address": host, "port_value": int(port)}}
    return {"name": "envoy.stat_sinks.statsd", "typed_config": {"@type": kind, "address": target}}
