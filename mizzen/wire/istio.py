"""Istio's own xDS messages: istio.stats, istio.alpn, the name table of DNS capture.

Metadata exchange and peer metadata have no message of their own on the wire: they travel as udpa.type.v1.TypedStruct
under the type URLs here. Not here: their values (istiod/translate/filters).
Source: field numbers of istio/proxy's and istio/istio's proto files.
"""

from __future__ import annotations

from google.protobuf import duration_pb2

from mizzen.wire.schema import declare, message_class

declare(
    "mizzen/istio_stats.proto",
    "stats",
    {
        "MetricConfig": "map<string,string> dimensions 1; string name 2; repeated string tags_to_remove 3;"
        "string match 4; bool drop 5",
        "MetricDefinition": "string name 1; string value 2; MetricType type 3",
        "PluginConfig": "string stat_prefix 3; string field_separator 4; string value_separator 5;"
        "bool disable_host_header_fallback 6; google.protobuf.Duration tcp_reporting_duration 7;"
        "repeated MetricConfig metrics 8; repeated MetricDefinition definitions 9; Reporter reporter 10;"
        "google.protobuf.Duration rotation_interval 11; google.protobuf.Duration graceful_deletion_interval 12",
    },
    {"MetricType": ("COUNTER", "GAUGE", "HISTOGRAM"), "Reporter": ("UNSPECIFIED", "SERVER_GATEWAY")},
    [duration_pb2.DESCRIPTOR.name],
)
declare(
    "mizzen/istio_alpn.proto",
    "istio.envoy.config.filter.http.alpn.v2alpha1",
    {
        "FilterConfig": "repeated FilterConfig.AlpnOverride alpn_override 1",
        "FilterConfig.AlpnOverride": "FilterConfig.Protocol upstream_protocol 1; repeated string alpn_override 2",
    },
    {"FilterConfig.Protocol": ("HTTP10", "HTTP11", "HTTP2")},
)
declare(
    "mizzen/istio_nds.proto",
    "istio.networking.nds.v1",
    {
        "NameTable": "map<string,NameTable.NameInfo> table 1",
        "NameTable.NameInfo": "repeated string ips 1; string registry 2; string shortname 3; string namespace 4;"
        "repeated NameTable.NameInfo alt_hosts 5",
    },
)

PluginConfig = message_class("stats.PluginConfig")
MetricConfig = message_class("stats.MetricConfig")
AlpnFilterConfig = message_class("istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig")
NameTable = message_class("istio.networking.nds.v1.NameTable")

METADATA_EXCHANGE = "type.googleapis.com/envoy.tcp.metadataexchange.config.MetadataExchange"
PEER_METADATA = "type.googleapis.com/io.istio.http.peer_metadata.Config"
