"""envoy.stat_sinks.metrics_service: statistics as Prometheus' messages on one stream to a collector.

Nothing is sent while the collector does not read. Source: envoy.config.metrics.v3.MetricsServiceConfig.
"""

from __future__ import annotations

import time
from typing import Any

from mizzen.proxy.accesslog.stream import Stream
from mizzen.proxy.config.values import only_v3
from mizzen.proxy.stats.flush import Snapshot
from mizzen.proxy.stats.store import QUANTILES, Stat, bin_width, cumulative, quantile
from mizzen.wire.metrics import MetricFamily, StreamMetricsMessage

METHOD = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"
COUNTER, GAUGE, SUMMARY, HISTOGRAM = 0, 1, 2, 4
BOTH, ONLY_SUMMARY, ONLY_HISTOGRAM = 0, 1, 2  # HistogramEmitMode


class MetricsService:
    """One configured collector."""

    def __init__(self, config: Any, server: Any) -> None:
        only_v3(config, "transport_api_version", "MetricsServiceConfig")
        self._server = server
        self._stream = Stream(config.grpc_service, server, METHOD)
        self._deltas: bool = config.report_counters_as_deltas.value
        self._labels: bool = config.emit_tags_as_labels
        self._mode: int = config.histogram_emit_mode
        self._batch: int = config.batch_size

    def flush(self, snapshot: Snapshot) -> None:
        if self._stream.full:
            return
        families = self._families(snapshot, int(time.time() * 1000))
        size = self._batch or len(families) or 1
        for start in range(0, len(families), size):
            message = StreamMetricsMessage(envoy_metrics=families[start : start + size])
            if not self._stream.begun:
                message.identifier.node.CopyFrom(self._server.node_message())
            self._stream.send(message.SerializeToString())

    def _families(self, snapshot: Snapshot, now_ms: int) -> list[Any]:
        out = []
        for stat, delta in snapshot.counters:
            family, metric = self._family(stat, COUNTER, now_ms)
            metric.counter.value = delta if self._deltas else stat.value
            out.append(family)
        for stat in snapshot.gauges:
            family, metric = self._family(stat, GAUGE, now_ms)
            metric.gauge.value = stat.value
            out.append(family)
        for stat, _ in snapshot.histograms:
            if self._mode != ONLY_HISTOGRAM:
                out.append(self._summary(stat, now_ms))
            if self._mode != ONLY_SUMMARY:
                out.append(self._histogram(stat, now_ms))
        return out

    def _family(self, stat: Stat, kind: int, now_ms: int) -> tuple[Any, Any]:
        name: str = stat.name
        labels: tuple[tuple[str, str], ...] = ()
        if self._labels:
            rules = self._server.stats.tag_rules
            if stat.tags is None:
                name, labels = rules.split(stat.name)
            else:
                name, labels = stat.tag_name or stat.name, (*stat.tags, *rules.fixed)
        family = MetricFamily(name=name, type=kind)
        metric = family.metric.add(timestamp_ms=now_ms)
        for key, value in labels:
            metric.label.add(name=key, value=value)
        return family, metric

    def _summary(self, stat: Stat, now_ms: int) -> Any:
        family, metric = self._family(stat, SUMMARY, now_ms)
        bins = stat.value.interval_seen
        metric.summary.SetInParent()
        for q in QUANTILES:
            value = quantile(bins, q)
            metric.summary.quantile.add(quantile=q, value=float("nan") if value is None else value)
        metric.summary.sample_count = sum(bins.values())
        metric.summary.sample_sum = approximate_sum(bins)
        return family

    def _histogram(self, stat: Stat, now_ms: int) -> Any:
        family, metric = self._family(stat, HISTOGRAM, now_ms)
        bins = stat.value.interval_seen
        metric.histogram.sample_count = sum(bins.values())
        metric.histogram.sample_sum = approximate_sum(bins)
        bounds = self._server.stats.tag_rules.bounds(stat.name)
        for bound, count in zip(bounds, cumulative(bins, bounds), strict=True):
            metric.histogram.bucket.add(upper_bound=bound, cumulative_count=count)
        return family


def approximate_sum(bins: dict[float, int]) -> float:
    """The sum of binned observations, each taken as its bin's middle."""
    return sum((edge + bin_width(edge) / 2) * count for edge, count in bins.items())
