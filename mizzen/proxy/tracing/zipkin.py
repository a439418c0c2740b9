"""Spans for Zipkin: B3 headers, JSON or protobuf to a collector over HTTP.

Source: envoy.config.trace.v3.ZipkinConfig; Zipkin's v2 API (zipkin2-api.yaml, zipkin.proto).
"""

from __future__ import annotations

import json
from typing import Any

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.values import wrapped
from mizzen.proxy.net.local import local_address
from mizzen.proxy.tracing.context import (
    BadContext,
    Context,
    b3_sampled,
    from_b3,
    from_w3c,
    new_id,
    to_b3,
    to_w3c,
)  # fmt: skip
from mizzen.proxy.tracing.http_collector import Collector, of_service
from mizzen.proxy.tracing.reporter import Batches, Done
from mizzen.proxy.tracing.span import Span
from mizzen.proxy.tracing.zipkin_proto import list_of_spans

HTTP_JSON, HTTP_PROTO = 1, 2
TIMEOUT_MS = "tracing.zipkin.request_timeout"
COUNTERS = (
    "reports_dropped", "reports_failed", "reports_sent", "reports_skipped_no_cluster", "spans_sent", "timer_flushed",
)  # fmt: skip


class Zipkin:
    """The driver of one configuration."""

    def __init__(self, config: Any, server: Any) -> None:
        self._server = server
        self.stats: Any = server.stats.group("tracing.zipkin", COUNTERS)
        if config.collector_endpoint_version not in (HTTP_JSON, HTTP_PROTO):
            raise ConfigError("ZipkinConfig.collector_endpoint_version: HTTP_JSON_V1 is no longer supported")
        self._proto = config.collector_endpoint_version == HTTP_PROTO
        self._wide: bool = config.trace_id_128bit
        self._shared: bool = wrapped(config, "shared_span_context", True)
        self._w3c: bool = config.trace_context_option == 1
        if config.HasField("collector_service"):
            self._collector = of_service(config.collector_service, "ZipkinConfig.collector_service")
        else:
            if not config.collector_cluster or not config.collector_endpoint:
                raise ConfigError(
                    "collector_cluster and collector_endpoint must be specified when not using collector_service"
                )
            host = config.collector_hostname or config.collector_cluster
            self._collector = Collector(config.collector_cluster, host, config.collector_endpoint, ())
        self._batches = Batches(server, "zipkin", self._send, self._timed)
        self._service: str = server.node.cluster

    def start(self, headers: RequestHeaders, name: str, server: bool, sampled: bool) -> Span | None:
        """None when the headers that are there make no sense: the request goes on as it is."""
        said = b3_sampled(headers)
        try:
            found = from_b3(headers)
        except BadContext:
            return None
        if found is None and self._w3c:
            found = from_w3c(headers)
            if found is not None and said is None:
                said = found.sampled
        sampled = sampled if said is None else said
        name = headers.authority or ""
        if found is None:
            span_id = new_id()
            trace = new_id() + span_id if self._wide else span_id
            return Span(Context(trace, span_id, "", sampled), name, server, server and self._shared)
        if server and self._shared:
            return Span(found._replace(sampled=sampled, state=""), name, server, True)
        return Span(Context(found.trace, new_id(), found.span, sampled), name, server)

    def inject(self, span: Span, headers: RequestHeaders) -> None:
        context = span.context
        if "b3" in headers.d:
            parent = f"-{context.parent}" if context.parent else ""
            headers.set("b3", f"{context.trace}-{context.span}-{int(context.sampled)}{parent}")
        else:
            to_b3(headers, context)
        if self._w3c:
            to_w3c(headers, context)

    def finish(self, span: Span) -> None:
        if span.context.sampled:
            self._batches.add(span)

    def _timed(self) -> None:
        self.stats.timer_flushed += 1

    def _send(self, spans: list[Span], done: Done) -> None:
        self.stats.spans_sent += len(spans)
        made = [as_json(span, self._service, local_address()) for span in spans]
        if self._proto:
            body, kind = list_of_spans(made), "application/x-protobuf"
        else:
            body, kind = json.dumps(made, separators=(",", ":")).encode(), "application/json"
        timeout = self._server.runtime.get(TIMEOUT_MS, 5000) / 1000

        def answered(status: int) -> None:
            done()
            self._answered(status)

        if not self._collector.post(self._server, body, kind, timeout, answered):
            done()
            self.stats.reports_skipped_no_cluster += 1

    def _answered(self, status: int) -> None:
        if status == 0:
            self.stats.reports_failed += 1
        elif status == 202:
            self.stats.reports_sent += 1
        else:
            self.stats.reports_dropped += 1


def as_json(span: Span, service: str, address: str) -> dict[str, Any]:
    """A span of the v2 API."""
    start, end = int(span.start * 1e6), int(span.end * 1e6)
    context = span.context
    local = {"serviceName": service, "ipv6" if ":" in address else "ipv4": address, "port": 0}
    out: dict[str, Any] = {"traceId": context.trace, "id": context.span, "name": span.name}
    if context.parent:
        out["parentId"] = context.parent
    out |= {
        "kind": "SERVER" if span.server else "CLIENT",
        "timestamp": start,
        "duration": max(end - start, 1),
        "localEndpoint": local,
        "annotations": [{"timestamp": end, "value": "ss" if span.server else "cr"}],
        "tags": span.tags,
    }
    if span.shared:
        out["shared"] = True
    return out
