"""The drivers of a process: one for each configuration of a tracer, shared by all connection managers that name it.

Source: envoy.config.trace.v3.Tracing.Http.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.tracing.opentelemetry import OpenTelemetry
from mizzen.proxy.tracing.span import Driver
from mizzen.proxy.tracing.zipkin import Zipkin

KINDS: dict[str, Callable[[Any, Any], Driver]] = {
    "envoy.config.trace.v3.ZipkinConfig": Zipkin,
    "envoy.config.trace.v3.OpenTelemetryConfig": OpenTelemetry,
}


def driver(provider: Any, server: Any) -> Driver:
    """Of a Tracing.Http. Raises ConfigError, Unsupported for another kind."""
    from mizzen.proxy.filters.registry import typed

    key = provider.SerializeToString(deterministic=True)
    found: Driver | None = server.tracers.get(key)
    if found is None:
        kind = provider.typed_config.type_url.rpartition("/")[2]
        if kind not in KINDS:
            raise Unsupported(f"tracing provider {provider.name} ({kind})")
        _, config = typed(provider.typed_config, provider.name)
        found = server.tracers[key] = KINDS[kind](config, server)
    return found
