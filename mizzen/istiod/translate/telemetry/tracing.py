"""Tracing of HTTP connection managers: sampling, tags and the provider.

Takes merged telemetry, the proxy's ProxyConfig and the proxy, gives HttpConnectionManager.Tracing.
Not here: the bootstrap's tracer, which counts where no Telemetry says anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.config.core.v3 import base_pb2, grpc_service_pb2, http_service_pb2, http_uri_pb2
from envoy.config.trace.v3 import datadog_pb2, http_tracer_pb2, opentelemetry_pb2, skywalking_pb2, zipkin_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import (
    dynatrace_resource_detector_pb2,
    environment_resource_detector_pb2,
)
from envoy.extensions.tracers.opentelemetry.samplers.v3 import dynatrace_sampler_pb2
from envoy.type.metadata.v3 import metadata_pb2
from envoy.type.tracing.v3 import custom_tag_pb2
from envoy.type.v3 import percent_pb2
from google.protobuf import wrappers_pb2

from mizzen.api.istio.providers import (
    DynatraceSampler,
    ExtensionProvider,
    HttpHeader,
    HttpService,
    OpenTelemetry,
    Zipkin,
)
from mizzen.api.istio.proxy_config import ProxyConfig, ProxyTracing, TracingCustomTag
from mizzen.api.istio.telemetry import CustomTag
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.messages import boolean, duration, pack
from mizzen.istiod.translate.telemetry.effective import TracingSettings
from mizzen.istiod.translate.telemetry.providers import header_values, provider_cluster
from mizzen.wire.newer import set_field

Tracing = hcm_pb2.HttpConnectionManager.Tracing
DEFAULT_SAMPLING = 1.0
DRY_RUN_TAGS = {
    f"istio.authorization.dry_run.{action}_policy.{short}": f"istio_dry_run_{action}_shadow_{key}"
    for action in ("allow", "deny")
    for short, key in (("name", "effective_policy_id"), ("result", "engine_result"))
}
"""Tag → the key in the metadata of the RBAC filter."""


def hcm_tracing(snap: Snapshot, node: Node, settings: TracingSettings | None, config: ProxyConfig) -> Any:
    """Tracing of one connection manager; None = none."""
    own = config.tracing or ProxyTracing()
    sampling = own.sampling or DEFAULT_SAMPLING
    if settings is None:
        if not snap.mesh.enable_tracing:
            return None
        return _tracing(sampling, custom_tags(node, own, {}, own.enable_istio_tags is not False), own, 0)
    if settings.disabled or settings.provider is None:
        return None
    provider = _provider(snap, settings.provider, node)
    if provider is None:
        return None
    typed, max_tag_length, always = provider
    if not node.can_run(typed.name):
        return None  # it would have to refuse the listener for a tracer that it has not
    if always:
        sampling = 100.0
    elif settings.random_sampling is not None:
        sampling = settings.random_sampling
    istio_tags = settings.istio_tags if settings.istio_tags is not None else own.enable_istio_tags is not False
    out = _tracing(sampling, custom_tags(node, own, settings.custom_tags, istio_tags), own, max_tag_length)
    out.provider.CopyFrom(typed)
    if not node.is_sidecar or settings.provider.skywalking is not None:
        out.spawn_upstream_span.value = True
    if settings.no_context_propagation:
        set_field(out, "no_context_propagation")
    return out


def _tracing(sampling: float, tags: list[Any], own: ProxyTracing, max_tag_length: int) -> Any:
    length = max_tag_length or own.max_path_tag_length
    return Tracing(
        client_sampling=percent_pb2.Percent(value=100),
        random_sampling=percent_pb2.Percent(value=sampling),
        overall_sampling=percent_pb2.Percent(value=100),
        custom_tags=tags,
        max_path_tag_length=wrappers_pb2.UInt32Value(value=length) if length else None,
    )


def custom_tags(node: Node, own: ProxyTracing, tags: Mapping[str, CustomTag], istio_tags: bool) -> list[Any]:
    """Istio's tags and the configured ones, by name; Telemetry's tags replace those of the ProxyConfig."""
    out = [*_istio_tags(node).values()] if istio_tags else []
    chosen: Mapping[str, CustomTag | TracingCustomTag] = tags or own.custom_tags
    out += [made for name, tag in chosen.items() if (made := _custom_tag(name, tag)) is not None]
    return sorted(out, key=lambda tag: str(tag.tag))


def _istio_tags(node: Node) -> dict[str, Any]:
    labels = node.labels
    literals = {
        "istio.canonical_revision": labels.get("service.istio.io/canonical-revision") or "latest",
        "istio.canonical_service": labels.get("service.istio.io/canonical-name") or "unknown",
        "istio.mesh_id": node.text("MESH_ID") or "unknown",
        "istio.namespace": node.text("NAMESPACE") or "default",
        "istio.cluster_id": node.cluster_id or "unknown",
    }
    out = {name: _literal(name, value) for name, value in literals.items()}
    for name, key in DRY_RUN_TAGS.items():
        path = metadata_pb2.MetadataKey.PathSegment(key=key)
        out[name] = custom_tag_pb2.CustomTag(
            tag=name,
            metadata=custom_tag_pb2.CustomTag.Metadata(
                kind=metadata_pb2.MetadataKind(request=metadata_pb2.MetadataKind.Request()),
                metadata_key=metadata_pb2.MetadataKey(key="envoy.filters.http.rbac", path=[path]),
            ),
        )
    return out


def _literal(name: str, value: str) -> Any:
    return custom_tag_pb2.CustomTag(tag=name, literal=custom_tag_pb2.CustomTag.Literal(value=value))


def _custom_tag(name: str, tag: CustomTag | TracingCustomTag) -> Any:
    kinds = custom_tag_pb2.CustomTag
    if tag.literal is not None:
        return _literal(name, tag.literal.value)
    if tag.environment is not None:
        value = kinds.Environment(name=tag.environment.name, default_value=tag.environment.default_value)
        return kinds(tag=name, environment=value)
    if tag.header is not None:
        header = kinds.Header(name=tag.header.name, default_value=tag.header.default_value)
        return kinds(tag=name, request_header=header)
    formatter = getattr(tag, "formatter", None)
    return kinds(tag=name, value=formatter.value) if formatter is not None else None


def _provider(snap: Snapshot, provider: ExtensionProvider, node: Node) -> tuple[Any, int, bool] | None:
    """(tracer, its longest tag or 0, whether it samples by itself); None when it cannot be used."""
    if provider.zipkin is not None:
        return _zipkin(snap, provider.zipkin)
    if provider.opentelemetry is not None:
        return _opentelemetry(snap, provider.opentelemetry, node)
    if provider.datadog is not None:
        cluster = provider_cluster(snap, provider.datadog.service, provider.datadog.port)
        if cluster is None:
            return None
        datadog = datadog_pb2.DatadogConfig(
            collector_cluster=cluster[1], collector_hostname=cluster[0], service_name=node.cluster
        )
        return _tracer("envoy.tracers.datadog", datadog), provider.datadog.max_tag_length, False
    if provider.skywalking is not None:
        cluster = provider_cluster(snap, provider.skywalking.service, provider.skywalking.port)
        if cluster is None:
            return None
        config = skywalking_pb2.SkyWalkingConfig(grpc_service=_grpc(cluster))
        return _tracer("envoy.tracers.skywalking", config), 0, False
    return None


def _tracer(name: str, config: Any) -> Any:
    return http_tracer_pb2.Tracing.Http(name=name, typed_config=pack(config))


def _grpc(cluster: tuple[str, str]) -> Any:
    grpc = grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=cluster[1], authority=cluster[0])
    return grpc_service_pb2.GrpcService(envoy_grpc=grpc)


def _header_options(headers: tuple[HttpHeader, ...]) -> list[Any]:
    return [
        base_pb2.HeaderValueOption(
            header=base_pb2.HeaderValue(key=name, value=value), append_action="OVERWRITE_IF_EXISTS_OR_ADD"
        )
        for name, value in header_values(headers)
    ]


def _zipkin(snap: Snapshot, zipkin: Zipkin) -> tuple[Any, int, bool] | None:
    cluster = provider_cluster(snap, zipkin.service, zipkin.port)
    if cluster is None:
        return None
    path = zipkin.path or "/api/v2/spans"
    config = zipkin_pb2.ZipkinConfig(
        collector_endpoint_version="HTTP_JSON",
        trace_id_128bit=zipkin.enable_64bit_trace_id is False,
        shared_span_context=boolean(False),
        trace_context_option=zipkin.trace_context_option,
    )
    if zipkin.timeout is not None or zipkin.headers:
        uri = http_uri_pb2.HttpUri(
            cluster=cluster[1], uri=f"http://{cluster[0]}{path}", timeout=duration(zipkin.timeout or 5.0)
        )
        options = _header_options(zipkin.headers)
        service = http_service_pb2.HttpService(http_uri=uri, request_headers_to_add=options)
        config.collector_service.CopyFrom(service)
    else:
        config.collector_cluster, config.collector_endpoint = cluster[1], path
        config.collector_hostname = cluster[0]
    return _tracer("envoy.tracers.zipkin", config), zipkin.max_tag_length, False


def _opentelemetry(snap: Snapshot, otel: OpenTelemetry, node: Node) -> tuple[Any, int, bool] | None:
    cluster = provider_cluster(snap, otel.service, otel.port)
    if cluster is None:
        return None
    config = opentelemetry_pb2.OpenTelemetryConfig(service_name=node.cluster)
    if otel.http is not None:
        config.http_service.CopyFrom(_http_service(cluster, otel.http, otel.http.path))
    else:
        config.grpc_service.CopyFrom(_grpc(cluster))
        if otel.grpc is not None:
            if otel.grpc.timeout is not None:
                config.grpc_service.timeout.CopyFrom(duration(otel.grpc.timeout))
            config.grpc_service.initial_metadata.extend(
                base_pb2.HeaderValue(key=name, value=value) for name, value in header_values(otel.grpc.initial_metadata)
            )
    detectors = otel.resource_detectors
    if detectors is not None and detectors.environment is not None:
        message = environment_resource_detector_pb2.EnvironmentResourceDetectorConfig()
        _add_detector(config, "environment", message)
    if detectors is not None and detectors.dynatrace is not None:
        _add_detector(config, "dynatrace", dynatrace_resource_detector_pb2.DynatraceResourceDetectorConfig())
    if otel.dynatrace_sampler is not None:
        sampler = _dynatrace(snap, otel.dynatrace_sampler, cluster, otel.http)
        config.sampler.name = "envoy.tracers.opentelemetry.samplers.dynatrace"
        config.sampler.typed_config.CopyFrom(pack(sampler))
    tracer = _tracer("envoy.tracers.opentelemetry", config)
    return tracer, otel.max_tag_length, otel.dynatrace_sampler is not None


def _add_detector(config: Any, name: str, message: Any) -> None:
    config.resource_detectors.add(
        name=f"envoy.tracers.opentelemetry.resource_detectors.{name}", typed_config=pack(message)
    )


def _http_service(cluster: tuple[str, str], http: HttpService, path: str) -> Any:
    """An OTLP endpoint over HTTP: the URI is told without a scheme."""
    uri = http_uri_pb2.HttpUri(cluster=cluster[1], uri=f"{cluster[0]}{path}", timeout=duration(http.timeout or 3.0))
    return http_service_pb2.HttpService(http_uri=uri, request_headers_to_add=_header_options(http.headers))


def _dynatrace(snap: Snapshot, sampler: DynatraceSampler, cluster: tuple[str, str], http: HttpService | None) -> Any:
    own = sampler.http_service
    path = "/api/v2/samplingConfiguration"
    if own is not None:
        cluster = provider_cluster(snap, own.service, own.port) or cluster
        http = own.http or http
        path = own.http.path if own.http is not None and own.http.path else path
    return dynatrace_sampler_pb2.DynatraceSamplerConfig(
        tenant=sampler.tenant,
        cluster_id=sampler.cluster_id,
        root_spans_per_minute=sampler.root_spans_per_minute or 1000,
        http_service=_http_service(cluster, http, path) if http is not None else None,
    )
