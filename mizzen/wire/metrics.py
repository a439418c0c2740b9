"""The metrics service's messages, which xds-protos leaves out: envoy.service.metrics.v3 and Prometheus' client model.

Values are doubles, times milliseconds of Unix time. Source: field numbers of metrics_service.proto and metrics.proto.
"""

from __future__ import annotations

from envoy.config.core.v3 import base_pb2

from mizzen.wire.schema import declare, message_class

declare(
    "mizzen/prometheus_metrics.proto",
    "io.prometheus.client",
    {
        "LabelPair": "string name 1; string value 2",
        "Gauge": "double value 1",
        "Counter": "double value 1",
        "Quantile": "double quantile 1; double value 2",
        "Summary": "uint64 sample_count 1; double sample_sum 2; repeated Quantile quantile 3",
        "Bucket": "uint64 cumulative_count 1; double upper_bound 2",
        "Histogram": "uint64 sample_count 1; double sample_sum 2; repeated Bucket bucket 3",
        "Metric": "repeated LabelPair label 1; Gauge gauge 2; Counter counter 3; Summary summary 4; "
        "int64 timestamp_ms 6; Histogram histogram 7",
        "MetricFamily": "string name 1; string help 2; MetricType type 3; repeated Metric metric 4",
    },
    {"MetricType": ("COUNTER", "GAUGE", "SUMMARY", "UNTYPED", "HISTOGRAM")},
)
declare(
    "mizzen/metrics_service.proto",
    "envoy.service.metrics.v3",
    {
        "StreamMetricsMessage": "envoy.service.metrics.v3.StreamMetricsMessage.Identifier identifier 1; "
        "repeated io.prometheus.client.MetricFamily envoy_metrics 2",
        "StreamMetricsMessage.Identifier": "envoy.config.core.v3.Node node 1",
    },
    imports=[base_pb2.DESCRIPTOR.name, "mizzen/prometheus_metrics.proto"],
)
MetricFamily = message_class("io.prometheus.client.MetricFamily")
StreamMetricsMessage = message_class("envoy.service.metrics.v3.StreamMetricsMessage")
