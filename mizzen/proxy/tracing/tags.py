"""What a span says: the tags that every span has, and those that the configuration adds.

Source: Envoy's tracing architecture overview; envoy.type.tracing.v3.CustomTag.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from mizzen.proxy.accesslog.format import text_format
from mizzen.proxy.accesslog.metadata import cluster_metadata, dynamic, host_metadata, route_metadata
from mizzen.proxy.accesslog.values import as_text
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import at_path
from mizzen.proxy.http.grpc import is_grpc
from mizzen.proxy.http.info import StreamInfo, flags_text

Tag = tuple[str, Callable[[StreamInfo], str | None]]
METADATA = {"request": dynamic, "route": route_metadata, "cluster": cluster_metadata, "host": host_metadata}


def custom_tags(messages: Iterable[Any]) -> dict[str, Tag]:
    """By their names. A tag whose value is missing and has no default is left out."""
    out = {}
    for message in messages:
        if not message.tag:
            raise ConfigError("CustomTag.tag: value length must be at least 1 characters")
        out[message.tag] = (message.tag, _value(message))
    return out


def _value(message: Any) -> Callable[[StreamInfo], str | None]:
    kind = message.WhichOneof("type")
    if kind == "literal":
        text = message.literal.value
        return lambda info: text
    if kind == "environment":
        text = os.environ.get(message.environment.name) or message.environment.default_value
        return lambda info: text or None
    if kind == "request_header":
        name, default = message.request_header.name.lower(), message.request_header.default_value
        return lambda info: (info.request.get(name) if info.request is not None else None) or default or None
    if kind == "metadata":
        return _metadata(message.metadata)
    if kind == "value":
        render = text_format(message.value, True)
        return lambda info: render(info) or None
    raise ConfigError(f"CustomTag {message.tag}: type is required")


def _metadata(message: Any) -> Callable[[StreamInfo], str | None]:
    read = METADATA[message.kind.WhichOneof("kind") or "request"]
    namespace, default = message.metadata_key.key, message.default_value
    keys = [segment.key for segment in message.metadata_key.path]

    def value(info: StreamInfo) -> str | None:
        found = at_path((read(info) or {}).get(namespace), keys)
        return default or None if found is None else as_text(found)

    return value


def url(stream: Any, limit: int) -> str:
    """What was asked for; the path is cut to `limit` characters."""
    request = stream.request
    path = request.d.get("x-envoy-original-path") or request.path
    scheme = request.d.get("x-forwarded-proto") or request.scheme or "http"
    return f"{scheme}://{request.authority or ''}{path[:limit]}"


def fill(tags: dict[str, str], stream: Any, limit: int, custom: Iterable[Tag]) -> None:
    """All tags of a request that is over."""
    d = stream.request.d
    if "x-request-id" in d:
        tags["guid:x-request-id"] = d["x-request-id"]
    tags["http.url"] = url(stream, limit)
    tags["http.method"] = stream.request.method
    tags["downstream_cluster"] = d.get("x-envoy-downstream-service-cluster") or "-"
    tags["user_agent"] = d.get("user-agent") or "-"
    tags["http.protocol"] = stream.protocol or "HTTP/1.1"
    tags["peer.address"] = stream.conn.remote[0]
    if "x-client-trace-id" in d:
        tags["guid:x-client-trace-id"] = d["x-client-trace-id"]
    if is_grpc(stream.request):
        _grpc_request(tags, stream.request)
    tags["request_size"] = str(stream.bytes_received)
    tags["response_size"] = str(stream.bytes_sent)
    _outcome(tags, stream)
    for name, read in custom:
        value = read(stream)
        if value is not None:
            tags[name] = value


def _outcome(tags: dict[str, str], stream: Any) -> None:
    tags["component"] = "proxy"
    cluster = stream.cluster
    if cluster is not None:
        tags["upstream_cluster"] = cluster.name
        tags["upstream_cluster.name"] = cluster.config.alt_stat_name or cluster.name
    tags["http.status_code"] = str(stream.code or 0)
    tags["response_flags"] = flags_text(stream)
    for headers in (stream.response, stream.response_trailers):
        if headers is not None and "grpc-status" in headers.d:
            tags["grpc.status_code"] = headers.d["grpc-status"]
            tags["grpc.message"] = headers.d.get("grpc-message", "")
    if not stream.code or stream.code >= 500:
        tags["error"] = "true"


def _grpc_request(tags: dict[str, str], request: Any) -> None:
    tags["grpc.path"] = request.path
    tags["grpc.authority"] = request.authority or ""
    tags["grpc.content_type"] = request.d["content-type"]
    if "grpc-timeout" in request.d:
        tags["grpc.timeout"] = request.d["grpc-timeout"]
