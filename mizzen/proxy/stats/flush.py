"""Statistics sent to sinks: a snapshot every stats_flush_interval, or when the admin's /stats are read.

A counter goes as what was added since the last time, a gauge as it is, a histogram as the observations since (in
milliseconds for times) and as their bins. Not here: the sinks (statsd.py, metrics_service.py).
Source: envoy.config.bootstrap.v3.Bootstrap.stats_sinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import seconds
from mizzen.proxy.stats import hot
from mizzen.proxy.stats.store import COUNTER, GAUGE, HISTOGRAM, Stat

METRICS = "envoy.config.metrics.v3."


class Snapshot(NamedTuple):
    """What is sent; only statistics that have been used. Histograms come with their new observations."""

    counters: list[tuple[Stat, int]]  # with what was added since the last time
    gauges: list[Stat]
    histograms: list[tuple[Stat, list[float]]]


class Sink(Protocol):
    """Takes snapshots to where they are wanted, and keeps nothing without bound."""

    def flush(self, snapshot: Snapshot) -> None: ...


class Flusher:
    """The sinks of a bootstrap. Raises ConfigError, Unsupported."""

    def __init__(self, server: Any) -> None:
        bootstrap = server.bootstrap
        self._server = server
        if bootstrap.stats_sinks and server.options.concurrency > 1:
            raise Unsupported("Bootstrap.stats_sinks with --concurrency > 1")
        self._interval_s = (
            seconds(bootstrap.stats_flush_interval) if bootstrap.HasField("stats_flush_interval") else 5.0
        )
        if not 0.001 <= self._interval_s < 300:
            raise ConfigError("Bootstrap.stats_flush_interval: value must be at least 1ms and less than 5m")
        self.on_admin: bool = bootstrap.stats_flush_on_admin
        self._sent: dict[str, int] = {}
        self.sinks = [sink(each, server) for each in bootstrap.stats_sinks]
        if self.sinks:
            hot.keep_observations()

    def start(self) -> None:
        if self.sinks and not self.on_admin:
            self._server.loop.call_later(self._interval_s, self._tick)

    def _tick(self) -> None:
        self.flush()
        self._server.loop.call_later(self._interval_s, self._tick)

    def flush(self) -> None:
        """Send what there is now."""
        if not self.sinks:
            return
        self._server.refresh_gauges()
        taken = self._snapshot(self._server.stats.all())
        for each in self.sinks:
            each.flush(taken)

    def _snapshot(self, stats: Sequence[Stat]) -> Snapshot:
        out = Snapshot([], [], [])
        before, self._sent = self._sent, {}
        for stat in stats:
            if not stat.used:
                continue
            if stat.kind == COUNTER:
                sent = before.get(stat.name, 0)
                # less than before: it was reset
                out.counters.append((stat, stat.value - sent if stat.value >= sent else stat.value))
                self._sent[stat.name] = stat.value
            elif stat.kind == GAUGE:
                out.gauges.append(stat)
            elif stat.kind == HISTOGRAM:
                stat.value.new_interval()
                out.histograms.append((stat, stat.value.take()))
        return out


def sink(message: Any, server: Any) -> Sink:
    """The sink of an envoy.config.metrics.v3.StatsSink."""
    from mizzen.proxy.filters.registry import typed

    kind, config = typed(message.typed_config, message.name)
    if kind == METRICS + "StatsdSink":
        from mizzen.proxy.stats import statsd

        return statsd.statsd(config, server)
    if kind == METRICS + "DogStatsdSink":
        from mizzen.proxy.stats import statsd

        return statsd.dog_statsd(config, server)
    if kind == METRICS + "MetricsServiceConfig":
        from mizzen.proxy.stats.metrics_service import MetricsService

        return MetricsService(config, server)
    raise Unsupported(f"stats_sinks {message.name} ({kind})")
