"""The static clusters of a bootstrap: the agent's sockets, the admin's port, and tracers.

JSON of Envoy's Cluster. Source: Istio's bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.agent.bootstrap_listeners import socket_address

Json = dict[str, Any]

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2: Json = {
    HTTP_OPTIONS: {
        "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


def assignment(name: str, address: Json) -> Json:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}


def static_cluster(name: str, host: str, port: int) -> Json:
    return {
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": assignment(name, socket_address(host, port)),
    }


def pipe_cluster(name: str, path: str) -> Json:
    return {
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "typed_extension_protocol_options": HTTP2,
        "load_assignment": assignment(name, {"pipe": {"path": path}}),
    }


def xds_cluster(path: str) -> Json:
    limits = [
        {
            "priority": priority,
            **dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 100000),
        }
        for priority in ("DEFAULT", "HIGH")
    ]
    options = {
        HTTP_OPTIONS: {
            **HTTP2[HTTP_OPTIONS],
            "common_http_protocol_options": {"max_requests_per_connection": 1},
        }
    }
    return {
        **pipe_cluster("xds-grpc", path),
        "typed_extension_protocol_options": options,
        "circuit_breakers": {"thresholds": limits},
        "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
    }


def dns_cluster(name: str, address: str, *, http2: bool = False, ipv6: bool = False) -> Json:
    host, _, port = address.rpartition(":")
    result: Json = {
        "name": name,
        "alt_stat_name": f"{name};",
        "type": "STRICT_DNS",
        "respect_dns_ttl": True,
        "dns_lookup_family": "V6_ONLY" if ipv6 else "V4_PREFERRED",
        "dns_refresh_rate": "30s",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": assignment(name, socket_address(host.strip("[]"), int(port))),
    }
    if http2:
        result["typed_extension_protocol_options"] = HTTP2
    return result


def tracer(config: Mapping[str, Any], host_ip: str) -> tuple[str, str, Json] | None:
    """(cluster, address, Tracing.Http) of the legacy tracer in ProxyConfig, if any."""
    tracing = config.get("tracing") or {}
    zipkin = (tracing.get("zipkin") or {}).get("address") or config.get("zipkinAddress")
    kind = "type.googleapis.com/envoy.config.trace.v3"
    if zipkin:
        typed = {
            "@type": f"{kind}.ZipkinConfig",
            "collector_cluster": "zipkin",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            "trace_id_128bit": True,
            "shared_span_context": False,
        }
        return "zipkin", expand(zipkin, host_ip), {"name": "envoy.tracers.zipkin", "typed_config": typed}
    if tracing.get("datadog"):
        typed = {
            "@type": f"{kind}.DatadogConfig",
            "collector_cluster": "datadog_agent",
            "service_name": str(config.get("serviceCluster", "istio-proxy")),
        }
        address = expand(tracing["datadog"].get("address", ""), host_ip)
        return "datadog_agent", address, {"name": "envoy.tracers.datadog", "typed_config": typed}
    return None


def expand(text: str, host_ip: str) -> str:
    return text.replace("$(HOST_IP)", host_ip)
