"""Which telemetry holds for a proxy: Telemetry objects of the mesh, its namespace and its workload over the mesh's defaults.

Takes a snapshot and a proxy, gives merged settings for its client or its server side. Not here: what they become in xDS
(access_log.py, tracing.py, stats.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mizzen.api.istio.mesh import DefaultProviders
from mizzen.api.istio.providers import ExtensionProvider
from mizzen.api.istio.telemetry import AccessLogging, CustomTag, Metrics, Telemetry, Tracing
from mizzen.api.types import Duration
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.policies import chooses, selector_of, target_refs


class TracingSettings(msgspec.Struct):
    """Merged tracing of one side. provider None = no provider was found."""

    provider: ExtensionProvider | None = None
    disabled: bool = False
    custom_tags: Mapping[str, CustomTag] = {}
    random_sampling: float | None = None
    use_request_id: bool = True
    istio_tags: bool | None = None
    no_context_propagation: bool = False


class LogSettings(msgspec.Struct):
    """One access log: where to, and which entries (CEL, "" = all)."""

    provider: ExtensionProvider
    filter: str = ""


class MetricOverride(msgspec.Struct):
    """What is changed of one metric. name: "" = the metric's Istio name; tags: name → expression, "" = removed."""

    name: str
    disabled: bool = False
    tags: dict[str, str | None] = {}


class MetricSettings(msgspec.Struct):
    """Metrics of one provider."""

    provider: ExtensionProvider
    overrides: list[MetricOverride] = []
    reporting_interval: Duration | None = None


class Effective(msgspec.Struct):
    """tracing None = no Telemetry and no default provider says anything; logs likewise."""

    tracing: TracingSettings | None
    logs: list[LogSettings] | None
    metrics: list[MetricSettings]


def effective(snap: Snapshot, node: Node, server: bool) -> Effective:
    """What holds for the server side (inbound) or client side (outbound, gateway) of a proxy."""
    levels = _levels(snap, node)
    tracing = [one for level in levels for one in level.spec.tracing]
    logs = [
        (level.metadata.namespace or "", level.spec.access_logging) for level in levels if level.spec.access_logging
    ]
    metrics = [one for level in levels for one in level.spec.metrics]
    providers = {provider.name: provider for provider in snap.mesh.extension_providers}
    defaults = snap.mesh.default_providers or DefaultProviders()
    return Effective(
        merge_tracing(tracing, providers, defaults, server),
        merge_logs([group for _, group in logs], providers, defaults, server),
        merge_metrics(metrics, providers, defaults, server),
    )


def _levels(snap: Snapshot, node: Node) -> list[Telemetry]:
    """The oldest Telemetry of the mesh, of the namespace and of the workload, in this order."""
    root, telemetries = snap.root_namespace, snap.telemetries
    out = []
    for namespace in dict.fromkeys((root, node.namespace)):
        general = [t for t in telemetries.by_namespace.get(namespace, ()) if not selector_of(t) and not target_refs(t)]
        out += general[:1]
    own = telemetries.by_namespace.get(node.namespace, ())
    chosen = [t for t in own if (selector_of(t) or target_refs(t)) and chooses(t, node.namespace, node.labels, root)]
    return out + chosen[:1]


def matches(mode: str, server: bool) -> bool:
    """Whether a WorkloadMode includes this side."""
    return mode not in ("CLIENT", "SERVER") or (mode == "SERVER") == server


Providers = Mapping[str, ExtensionProvider]


def merge_tracing(
    specs: list[Tracing], providers: Providers, defaults: DefaultProviders, server: bool
) -> TracingSettings | None:
    """Later settings win field by field; the first provider of a list counts."""
    if not specs and not defaults.tracing:
        return None
    out = TracingSettings(provider=providers.get(defaults.tracing[0]) if defaults.tracing else None)
    for spec in specs:
        if not matches(spec.match.mode if spec.match is not None else "", server):
            continue
        if spec.providers:
            out.provider = providers.get(spec.providers[0].name) or out.provider
        if spec.disable_span_reporting is not None:
            out.disabled = spec.disable_span_reporting
        if spec.custom_tags:
            out.custom_tags = spec.custom_tags
        if spec.random_sampling_percentage is not None:
            out.random_sampling = spec.random_sampling_percentage
        if spec.use_request_id_for_trace_sampling is not None:
            out.use_request_id = spec.use_request_id_for_trace_sampling
        if spec.enable_istio_tags is not None:
            out.istio_tags = spec.enable_istio_tags
        if spec.disable_context_propagation is not None:
            out.no_context_propagation = spec.disable_context_propagation
    if out.provider is None:
        out.disabled = True
    return out


def merge_logs(
    levels: list[tuple[AccessLogging, ...]], providers: Providers, defaults: DefaultProviders, server: bool
) -> list[LogSettings] | None:
    """Providers of a lower level replace the set; a setting without providers changes those in force."""
    if not levels and not defaults.access_logging:
        return None
    active: dict[str, str] = dict.fromkeys(defaults.access_logging, "")
    in_force = list(defaults.access_logging)
    for level in levels:
        named = {name: None for spec in level for name in _names(spec) if _log_matches(spec, server)}
        fresh = bool(named)
        if fresh:
            in_force = list(named)
            active = {name: active[name] for name in in_force if name in active}
        for spec in level:
            if not _log_matches(spec, server):
                continue
            for name in _names(spec) or in_force:
                if spec.disabled:
                    active.pop(name, None)
                else:
                    active[name] = spec.filter.expression if spec.filter is not None else active.get(name, "")
    return [LogSettings(providers[name], text) for name, text in active.items() if name in providers]


def _names(spec: AccessLogging | Metrics) -> list[str]:
    return [ref.name for ref in spec.providers]


def _log_matches(spec: AccessLogging, server: bool) -> bool:
    return matches(spec.match.mode if spec.match is not None else "", server)


METRICS = {
    "REQUEST_COUNT": "requests_total",
    "REQUEST_DURATION": "request_duration_milliseconds",
    "REQUEST_SIZE": "request_bytes",
    "RESPONSE_SIZE": "response_bytes",
    "TCP_OPENED_CONNECTIONS": "tcp_connections_opened_total",
    "TCP_CLOSED_CONNECTIONS": "tcp_connections_closed_total",
    "TCP_SENT_BYTES": "tcp_sent_bytes_total",
    "TCP_RECEIVED_BYTES": "tcp_received_bytes_total",
    "GRPC_REQUEST_MESSAGES": "request_messages_total",
    "GRPC_RESPONSE_MESSAGES": "response_messages_total",
}
"""Metric enum → the name in istio.stats."""


def merge_metrics(
    specs: list[Metrics], providers: Providers, defaults: DefaultProviders, server: bool
) -> list[MetricSettings]:
    """Metrics by provider. A spec with providers replaces those in force, one without adds its overrides to them."""
    in_force = list(defaults.metrics)
    overrides: dict[str, dict[str, MetricOverride]] = {}
    intervals: dict[str, Duration] = {}
    for spec in specs:
        if spec.providers:
            in_force = _names(spec)
        for name in in_force:
            if spec.reporting_interval is not None:
                intervals[name] = spec.reporting_interval
            table = overrides.setdefault(name, {})
            for override in spec.overrides:
                match = override.match
                if match is not None and not matches(match.mode, server):
                    continue
                for metric in _metric_names(match.metric if match else None, match.custom_metric if match else None):
                    entry = table.setdefault(metric, MetricOverride(metric))
                    if override.disabled is not None:
                        entry.disabled = override.disabled
                    for tag, change in override.tag_overrides.items():
                        entry.tags = {**entry.tags, tag: None if change.operation == "REMOVE" else change.value}
    return [
        MetricSettings(providers[name], list(overrides.get(name, {}).values()), intervals.get(name))
        for name in in_force
        if name in providers
    ]


def _metric_names(metric: str | None, custom: str | None) -> list[str]:
    if custom:
        return [custom]
    if metric in (None, "ALL_METRICS"):
        return list(METRICS.values())
    return [METRICS[metric]]
