"""Tracing in a connection manager: a span for each request that is traced, its context upstream, its end.

Two links of the chain of filters: `Tracing` before all others, `Propagation` before the router.
Source: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing, config.route.v3.Decorator.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from mizzen.proxy.accesslog.format import text_format
from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.tracing import decision
from mizzen.proxy.tracing.span import SPAN, Driver, Span
from mizzen.proxy.tracing.tags import Tag, custom_tags, fill

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

OUTBOUND = 2
DECORATOR = "x-envoy-decorator-operation"
STATISTICS = ("tracing.not_traceable", "tracing.random_sampling", "tracing.service_forced", "tracing.client_enabled")
HEALTH_CHECK = "tracing.health_check"


class RouteTracing(NamedTuple):
    """What a route says of tracing. operation: a format for the span's name, or None."""

    sampling: decision.Sampling
    tags: dict[str, Tag]
    operation: Any


def route_tracing(message: Any) -> RouteTracing:
    """Of a config.route.v3.Tracing."""
    operation = text_format(message.operation) if message.operation else None
    return RouteTracing(decision.of_route(message), custom_tags(message.custom_tags), operation)


class Tracing(HttpFilter):
    """Begins and ends spans. Without a driver it only decides: the request id and the statistics say what was decided."""

    decodes = True

    def __init__(self, message: Any, driver: Driver | None, ids: decision.RequestIds, hcm: Any) -> None:
        if message.HasField("spawn_upstream_span") and message.spawn_upstream_span.value:
            raise Unsupported("HttpConnectionManager.tracing.spawn_upstream_span")
        server = hcm.server
        self.driver = driver
        self.encodes = self.finishes = driver is not None
        self.stats = hcm.stats
        self.decider = decision.Decider(ids, server.runtime)
        self.sampling = decision.of_manager(message)
        self.egress = hcm.listener is not None and hcm.listener.direction == OUTBOUND
        self.limit = message.max_path_tag_length.value if message.HasField("max_path_tag_length") else 256
        self.tags = custom_tags(message.custom_tags)
        self.operation = text_format(message.operation) if message.operation else None
        self.node = {"node_id": server.node.id, "zone": server.node.locality.zone}

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        route = stream.route
        own = route.tracing if route is not None else None
        reason = self.decider.decide(headers, self.sampling if own is None else own.sampling)
        if stream.health_check:
            reason = decision.NOT_TRACEABLE
            self.stats.counter(HEALTH_CHECK)
        else:
            self.stats.counter(STATISTICS[reason])
        stream.trace_reason = reason
        if self.driver is None:
            return True
        name = f"egress {headers.authority or ''}" if self.egress else "ingress"
        span = self.driver.start(headers, name, not self.egress, reason != decision.NOT_TRACEABLE)
        if span is None:
            return True
        span.tags.update(self.node)
        if stream.state is None:
            stream.state = {}
        stream.state[SPAN] = span
        operation = self._operation(stream)
        if operation is not None:
            span.name = operation(stream)
        else:
            self._decorate(stream, headers, span)
        return True

    def _operation(self, stream: Stream) -> Any:
        """The format of the span's name, which puts decorators out of force; None when there is none."""
        own = stream.route.tracing if stream.route is not None else None
        return own.operation if own is not None and own.operation is not None else self.operation

    def _decorate(self, stream: Stream, headers: RequestHeaders, span: Span) -> None:
        route = stream.route
        decorator = route.decorator if route is not None else ""
        if decorator:
            span.name = decorator
        if self.egress:
            if decorator and route.decorator_propagate:
                headers.set(DECORATOR, decorator)
            return
        given = headers.d.get(DECORATOR)
        if given is not None:
            headers.remove(DECORATOR)
            if given:
                span.name = given
        if decorator and not given and route.decorator_propagate:
            stream.state[self] = decorator  # type: ignore[index]

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        state = stream.state
        if self.egress:
            given = headers.get(DECORATOR) if self._operation(stream) is None else None
            if given is not None:
                headers.remove(DECORATOR)
                span = state.get(SPAN) if state is not None else None
                if span is not None and given:
                    span.name = given
        elif state is not None and self in state:
            headers.set(DECORATOR, state[self])
        return True

    def finished(self, stream: Stream) -> None:
        span = stream.state.get(SPAN) if stream.state is not None else None
        if span is None or self.driver is None:
            return
        span.end = time.time()
        if span.context.sampled:
            own = stream.route.tracing if stream.route is not None else None
            tags = self.tags if own is None else {**self.tags, **own.tags}
            fill(span.tags, stream, self.limit, [tags[name] for name in sorted(tags)])
        self.driver.finish(span)


class Propagation(HttpFilter):
    """Tells the upstream host which trace the request belongs to."""

    decodes = True

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        span = stream.state.get(SPAN) if stream.state is not None else None
        if span is not None:
            self.driver.inject(span, headers)
        return True
