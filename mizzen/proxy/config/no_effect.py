"""Fields that may be set although nothing here acts on them, each with its reason; and types that the gate does not look into."""

from __future__ import annotations

_INFORMATION = "information for tools, which no part of a proxy acts on"
_ONE_SPAN = "a request to upstream has no span of its own: spawn_upstream_span is refused"
_CHUNK = "how large the library's output buffer is; nobody can see it"
NO_EFFECT: dict[str, dict[str, str]] = {
    "envoy.config.cluster.v3.Cluster.TransportSocketMatch": {
        "name": "a name for people",
    },
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing": {
        "upstream_operation": _ONE_SPAN,
    },
    "envoy.config.route.v3.Tracing": {
        "upstream_operation": _ONE_SPAN,
    },
    "envoy.config.bootstrap.v3.Bootstrap": {
        "deferred_stat_options": "when a statistic's memory is taken; nobody can see it",
    },
    "envoy.config.bootstrap.v3.Admin": {
        "profile_path": "where Envoy's own CPU profiler writes; /cpuprofiler answers that there is none",
    },
    "envoy.config.cluster.v3.Cluster": {
        "respect_dns_ttl": "the system's resolver tells no time to live; names are asked for anew every dns_refresh_rate",
        "typed_dns_resolver_config": "names are resolved by the system's resolver, whichever library is named",
    },
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig": {
        "min_cluster_size": "zone-aware routing needs a local cluster, and the bootstrap's is refused (cluster_manager)",
        "routing_enabled": "as min_cluster_size",
    },
    "envoy.config.core.v3.ApiConfigSource": {
        "set_node_on_first_message_only": "the node is told in a stream's first message in any case",
    },
    "envoy.config.core.v3.Metadata": {
        "typed_filter_metadata": _INFORMATION,
    },
    "envoy.extensions.compression.brotli.compressor.v3.Brotli": {
        "chunk_size": _CHUNK,
    },
    "envoy.extensions.compression.brotli.decompressor.v3.Brotli": {
        "disable_ring_buffer_reallocation": "how the library takes memory; nobody can see it",
        "chunk_size": _CHUNK,
    },
    "envoy.extensions.compression.gzip.compressor.v3.Gzip": {
        "chunk_size": _CHUNK,
    },
    "envoy.extensions.compression.gzip.decompressor.v3.Gzip": {
        "chunk_size": _CHUNK,
    },
    "envoy.extensions.compression.zstd.compressor.v3.Zstd": {
        "chunk_size": _CHUNK,
    },
    "envoy.extensions.compression.zstd.decompressor.v3.Zstd": {
        "chunk_size": _CHUNK,
    },
    "envoy.config.core.v3.Node": {
        "client_features": "a proxy tells its own", "extensions": "a proxy tells its own",
        "user_agent_build_version": "a proxy tells its own", "user_agent_name": "a proxy tells its own",
        "user_agent_version": "a proxy tells its own",
    },
    "envoy.config.endpoint.v3.LocalityLbEndpoints": {
        "metadata": _INFORMATION,
    },
    "envoy.config.listener.v3.FilterChain": {
        "metadata": _INFORMATION,
    },
    "envoy.config.listener.v3.Listener": {
        "connection_balance_config": "the kernel spreads connections; exact_balance is refused where there are several workers",
        "max_connections_to_accept_per_socket_event": "how many connections one turn of the loop accepts; nobody can see it",
        "metadata": _INFORMATION,
    },
    "envoy.config.route.v3.RouteAction.RequestMirrorPolicy": {
        "trace_sampled": "a mirrored request has no span of its own",
    },
    "envoy.config.core.v3.SubstitutionFormatString": {
        "json_format_options": "members are sorted by name in any case",
    },
    "envoy.config.route.v3.RouteConfiguration": {
        "metadata": _INFORMATION,
    },
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector": {
        "initial_read_buffer_size": "how many bytes are read at first; a hello of any size is waited for",
    },
}  # fmt: skip
OPAQUE = frozenset(
    {
        *(f"google.protobuf.{name}" for name in (
            "Any", "BoolValue", "DoubleValue", "Duration", "FloatValue", "Int32Value", "Int64Value", "ListValue", "StringValue",
            "Struct", "Timestamp", "UInt32Value", "UInt64Value", "Value", "BytesValue", "Empty",
        )),
        # resources: each is checked on its own when it is taken
        "envoy.config.cluster.v3.Cluster",
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "envoy.config.listener.v3.Listener",
        "envoy.config.route.v3.RouteConfiguration",
        "envoy.extensions.transport_sockets.tls.v3.Secret",
    }
)  # fmt: skip
