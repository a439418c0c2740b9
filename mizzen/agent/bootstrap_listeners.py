"""The static listeners of a bootstrap: metrics on 15090, health on 15021, and metrics behind mTLS where asked for.

JSON of Envoy's Listener. Source: Istio's bootstrap.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
COMPRESSOR = "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor"
COMPRESSION = "type.googleapis.com/envoy.extensions.compression"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def socket_address(host: str, port: int) -> Json:
    return {"socket_address": {"protocol": "TCP", "address": host, "port_value": port}}


def compressors() -> list[Json]:
    """brotli, zstd and gzip, in the order of preference."""
    return [
        {
            "name": f"envoy.filters.http.compressor.{name}",
            "typed_config": {
                "@type": COMPRESSOR,
                "compressor_library": {
                    "name": f"{name}-compressor",
                    "typed_config": {"@type": f"{COMPRESSION}.{name}.compressor.v3.{name.capitalize()}"},
                },
                "choose_first": name == "brotli",
            },
        }
        for name in ("brotli", "zstd", "gzip")
    ]


def http_listener(
    host: str, port: int, path: str, cluster: str, *, filters: list[Json] | None = None, tls: Json | None = None,
    more_hosts: tuple[str, ...] = (),
) -> Json:  # fmt: skip
    """One path, one cluster."""
    manager: Json = {
        "@type": HCM,
        "codec_type": "AUTO",
        "stat_prefix": "agent" if cluster == "agent" else "stats",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "backend",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": path}, "route": {"cluster": cluster}}],
                }
            ]
        },
        "http_filters": [
            *(filters or []),
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
        ],
    }
    chain: Json = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener: Json = {
        "name": f"{host}_{port}",
        "address": socket_address(host, port),
        "ignore_global_conn_limit": True,
        "bypass_overload_manager": True,
    }
    if more_hosts:
        listener["additional_addresses"] = [{"address": socket_address(other, port)} for other in more_hosts]
    if tls is not None:
        chain["transport_socket"] = tls
        inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
        listener["listener_filters"] = [
            {"name": "envoy.filters.listener.tls_inspector", "typed_config": {"@type": inspector}}
        ]
    listener["filter_chains"] = [chain]
    return listener


def proxy_protocol_filter() -> Json:
    """Takes connections with a PROXY header, and those without."""
    kind = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
    return {
        "name": "envoy.filters.listener.proxy_protocol",
        "typed_config": {"@type": kind, "allow_requests_without_proxy_protocol": True},
    }


def sds(name: str) -> Json:
    return {
        "name": name,
        "sds_config": {
            "resource_api_version": "V3",
            "initial_fetch_timeout": "0s",
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
            },
        },
    }


def mutual_tls() -> Json:
    """The workload's certificate; clients must have one of the mesh's."""
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TLS}.DownstreamTlsContext",
            "require_client_certificate": True,
            "common_tls_context": {
                "tls_certificate_sds_secret_configs": [sds("default")],
                "combined_validation_context": {
                    "default_validation_context": {},
                    "validation_context_sds_secret_config": sds("ROOTCA"),
                },
                "alpn_protocols": ["h2", "http/1.1"],
            },
        },
    }
