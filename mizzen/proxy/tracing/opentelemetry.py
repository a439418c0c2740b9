"""Spans for OpenTelemetry: W3C headers, OTLP to a collector over gRPC or HTTP.

Source: envoy.config.trace.v3.OpenTelemetryConfig; opentelemetry.proto.collector.trace.v1.
"""

from __future__ import annotations

import os
from typing import Any

from mizzen import __version__
from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import seconds
from mizzen.proxy.filters.grpc_service import GrpcService
from mizzen.proxy.tracing.context import Context, from_w3c, new_id, to_w3c
from mizzen.proxy.tracing.http_collector import of_service
from mizzen.proxy.tracing.reporter import Batches, Done
from mizzen.proxy.tracing.span import Span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ENVIRONMENT = "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig"
STATIC = "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig"
ALWAYS_ON = "envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig"
SERVER, CLIENT, ERROR = 2, 3, 2  # Span.SpanKind, Status.StatusCode


class OpenTelemetry:
    """The driver of one configuration."""

    def __init__(self, config: Any, server: Any) -> None:
        self._server = server
        self.stats: Any = server.stats.group("tracing.opentelemetry", ["spans_dropped", "spans_sent", "timer_flushed"])
        if config.HasField("grpc_service") == config.HasField("http_service"):
            raise ConfigError("OpenTelemetryConfig: exactly one of grpc_service and http_service is required")
        self._grpc = GrpcService(config.grpc_service, server) if config.HasField("grpc_service") else None
        self._http = None
        if config.HasField("http_service"):
            agent = f"OTel-OTLP-Exporter-mizzen/{__version__}"
            self._http = of_service(config.http_service, "OpenTelemetryConfig.http_service", agent)
            self._timeout = seconds(config.http_service.http_uri.timeout)
        self._always = _always(config)
        self._resource = resource(config)
        self._limit: int = config.max_cache_size.value if config.HasField("max_cache_size") else 1024
        self._batches = Batches(server, "opentelemetry", self._send, self._timed, self._limit, self._dropped)

    def start(self, headers: RequestHeaders, name: str, server: bool, sampled: bool) -> Span | None:
        """None when there is a traceparent that makes no sense: the request goes on as it is."""
        found = from_w3c(headers)
        if found is None:
            if "traceparent" in headers.d:
                return None
            return Span(Context(new_id(32), new_id(), "", sampled or self._always), name, server)
        return Span(
            found._replace(span=new_id(), parent=found.span, sampled=found.sampled or self._always), name, server
        )

    def inject(self, span: Span, headers: RequestHeaders) -> None:
        to_w3c(headers, span.context)
        if not span.context.state:
            headers.set("tracestate", "")

    def finish(self, span: Span) -> None:
        if span.context.sampled:
            self._batches.add(span)

    def _timed(self) -> None:
        self.stats.timer_flushed += 1

    def _dropped(self) -> None:
        self.stats.spans_dropped += 1

    def _send(self, spans: list[Span], done: Done) -> None:
        body = request(spans, self._resource)
        self.stats.spans_sent += len(spans)
        if self._grpc is not None:
            self._grpc.call(EXPORT, body, lambda status, answer: done())
        elif self._http is None or not self._http.post(
            self._server, body, "application/x-protobuf", self._timeout, lambda status: done()
        ):
            done()


def _always(config: Any) -> bool:
    """Whether the sampler takes every span. Raises Unsupported for other samplers."""
    if not config.HasField("sampler"):
        return False
    kind = config.sampler.typed_config.type_url.rpartition("/")[2]
    if kind != ALWAYS_ON:
        raise Unsupported(f"OpenTelemetryConfig.sampler {config.sampler.name} ({kind})")
    return True


def resource(config: Any) -> dict[str, str]:
    """Attributes of the resource. Raises Unsupported for a detector that there is not."""
    from mizzen.proxy.filters.registry import typed

    out = {
        "service.name": config.service_name or "unknown_service:envoy",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "mizzen",
        "telemetry.sdk.version": __version__,
    }
    for detector in config.resource_detectors:
        kind, found = typed(detector.typed_config, detector.name)
        if kind == ENVIRONMENT:
            pairs = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
            out |= {key.strip(): value.strip() for key, given, value in (p.partition("=") for p in pairs) if given}
        elif kind == STATIC:
            out |= dict(found.attributes)
        else:
            raise Unsupported(f"OpenTelemetryConfig.resource_detectors {detector.name} ({kind})")
    if config.service_name:
        out["service.name"] = config.service_name
    return out


def request(spans: list[Span], attributes: dict[str, str]) -> bytes:
    """An ExportTraceServiceRequest."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    message = trace_service_pb2.ExportTraceServiceRequest()
    group = message.resource_spans.add()
    for key, value in attributes.items():
        group.resource.attributes.add(key=key).value.string_value = value
    library = group.instrumentation_library_spans.add()  # field 2, which newer protos call scope_spans
    library.instrumentation_library.name, library.instrumentation_library.version = "mizzen", __version__
    for span in spans:
        context = span.context
        out = library.spans.add(
            trace_id=bytes.fromhex(context.trace.rjust(32, "0")),
            span_id=bytes.fromhex(context.span),
            parent_span_id=bytes.fromhex(context.parent),
            trace_state=context.state,
            name=span.name,
            kind=SERVER if span.server else CLIENT,
            start_time_unix_nano=int(span.start * 1e9),
            end_time_unix_nano=int(span.end * 1e9),
        )
        for key, value in span.tags.items():
            out.attributes.add(key=key).value.string_value = value
        if int(span.tags.get("http.status_code", "0")) >= (500 if span.server else 400):
            out.status.code = ERROR
    whole: bytes = message.SerializeToString()
    return whole
