"""istio.stats: Istio's standard metrics as a filter.

Takes merged metrics settings, gives the filter's config, or None when Prometheus is not a provider.
Source: stats.PluginConfig (mizzen.wire.istio).
"""

from __future__ import annotations

from typing import Any

from mizzen.istiod.translate.messages import duration
from mizzen.istiod.translate.telemetry.effective import METRICS, MetricSettings
from mizzen.wire.istio import MetricConfig, PluginConfig

NAME = "istio.stats"
_ENUM = {name: enum for enum, name in METRICS.items()}


def stats_config(settings: list[MetricSettings], disable_host_header_fallback: bool) -> Any:
    """The config of istio.stats; None = no such filter.

    disable_host_header_fallback: true where the other side's Host header must not name the destination.
    """
    for setting in settings:
        if setting.provider.prometheus is not None and not _drops_all(setting):
            return _config(setting, disable_host_header_fallback)
    return None


def _drops_all(setting: MetricSettings) -> bool:
    """Whether every standard metric is switched off."""
    return METRICS.keys() <= {_ENUM.get(o.name, "") for o in setting.overrides if o.disabled}


def _config(setting: MetricSettings, disable_host_header_fallback: bool) -> Any:
    metrics = []
    for override in sorted(setting.overrides, key=lambda o: _ENUM.get(o.name, o.name)):
        tags = {tag: value for tag, value in override.tags.items() if value is not None}
        removed = sorted(tag for tag, value in override.tags.items() if value is None)
        if override.disabled or tags or removed:
            metrics.append(
                MetricConfig(name=override.name, drop=override.disabled, dimensions=tags, tags_to_remove=removed)
            )
    return PluginConfig(
        disable_host_header_fallback=disable_host_header_fallback,
        tcp_reporting_duration=duration(setting.reporting_interval),
        metrics=metrics,
    )
