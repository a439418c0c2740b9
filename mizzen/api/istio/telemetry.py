"""telemetry.istio.io: Telemetry.

Source: istio.telemetry.v1alpha1.Telemetry. Not here: what makes one valid (mizzen.api.validation), providers (mesh.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.meta import (
    IstioStatus,
    Message,
    NonEmpty,
    PolicyTargetReference,
    TargetRefs,
    WorkloadMode,
    WorkloadSelector,
)
from mizzen.api.types import Duration


class ProviderRef(Message):
    """A provider by its name in MeshConfig."""

    name: NonEmpty


class TracingSelector(Message):
    """Tracing.TracingSelector."""

    mode: WorkloadMode = "UNDEFINED"


class Literal_(Message):
    """Tracing.Literal."""

    value: NonEmpty


class Environment(Message):
    """Tracing.Environment."""

    name: NonEmpty
    default_value: str = ""


class RequestHeader(Message):
    """Tracing.RequestHeader."""

    name: NonEmpty
    default_value: str = ""


class Formatter(Message):
    """Tracing.Formatter: an Envoy format string."""

    value: NonEmpty


class CustomTag(Message):
    """Tracing.CustomTag: one of the four."""

    literal: Literal_ | None = None
    environment: Environment | None = None
    header: RequestHeader | None = None
    formatter: Formatter | None = None


class Tracing(Message):
    """Spans: whether, where to, how many, with which tags."""

    match: TracingSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    random_sampling_percentage: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    disable_span_reporting: bool | None = None
    custom_tags: Mapping[str, CustomTag] = {}
    use_request_id_for_trace_sampling: bool | None = None
    enable_istio_tags: bool | None = None
    disable_context_propagation: bool | None = None


class MetricSelector(Message):
    """metric and customMetric exclude each other."""

    metric: (
        Literal[
            "ALL_METRICS",
            "REQUEST_COUNT",
            "REQUEST_DURATION",
            "REQUEST_SIZE",
            "RESPONSE_SIZE",
            "TCP_OPENED_CONNECTIONS",
            "TCP_CLOSED_CONNECTIONS",
            "TCP_SENT_BYTES",
            "TCP_RECEIVED_BYTES",
            "GRPC_REQUEST_MESSAGES",
            "GRPC_RESPONSE_MESSAGES",
        ]
        | None
    ) = None
    custom_metric: NonEmpty | None = None
    mode: WorkloadMode = "UNDEFINED"


class TagOverride(Message):
    """MetricsOverrides.TagOverride."""

    operation: Literal["UPSERT", "REMOVE"] = "UPSERT"
    value: str = ""


class MetricsOverrides(Message):
    """What is changed of which metrics."""

    match: MetricSelector | None = None
    disabled: bool | None = None
    tag_overrides: Mapping[str, TagOverride] = {}


class Metrics(Message):
    """Metrics: where to, and with which changes."""

    providers: tuple[ProviderRef, ...] = ()
    overrides: tuple[MetricsOverrides, ...] = ()
    reporting_interval: Duration | None = None


class LogSelector(Message):
    """AccessLogging.LogSelector."""

    mode: WorkloadMode = "UNDEFINED"


class Filter(Message):
    """AccessLogging.Filter: a CEL expression."""

    expression: str = ""


class AccessLogging(Message):
    """Access log: whether, where to, of which requests."""

    match: LogSelector | None = None
    providers: tuple[ProviderRef, ...] = ()
    disabled: bool | None = None
    filter: Filter | None = None


class TelemetrySpec(Message):
    """istio.telemetry.v1alpha1.Telemetry."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: TargetRefs = ()
    tracing: tuple[Tracing, ...] = ()
    metrics: tuple[Metrics, ...] = ()
    access_logging: tuple[AccessLogging, ...] = ()


class Telemetry(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: TelemetrySpec = TelemetrySpec()
    status: IstioStatus | None = None
