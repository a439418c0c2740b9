"""Operators that look up metadata and filter state by a path in their argument."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mizzen.proxy.accesslog.values import Getter, as_text, structure
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.matchers import at_path
from mizzen.proxy.http.info import StreamInfo


def metadata_of(read: Callable[[StreamInfo], dict[str, Any] | None]) -> Callable[[str], Getter]:
    def make(argument: str) -> Getter:
        namespace, *keys = argument.split(":")
        return lambda info: structure(at_path((read(info) or {}).get(namespace), keys))

    return make


def dynamic(info: StreamInfo) -> dict[str, Any] | None:
    return info.metadata


def cluster_metadata(info: StreamInfo) -> dict[str, Any] | None:
    return None if info.cluster is None else info.cluster.metadata


def route_metadata(info: StreamInfo) -> dict[str, Any] | None:
    return None if info.route is None else info.route.metadata


def host_group_metadata(info: StreamInfo) -> dict[str, Any] | None:
    """The virtual host's."""
    return None if info.vhost is None else info.vhost.metadata


def listener_metadata(info: StreamInfo) -> dict[str, Any] | None:
    from mizzen.proxy.accesslog.format import struct_value

    listener = info.conn.listener
    if listener is None:
        return None
    return {name: struct_value(struct) for name, struct in listener.proto.metadata.filter_metadata.items()}


def host_metadata(info: StreamInfo) -> dict[str, Any] | None:
    return None if info.host is None else info.host.metadata


def any_metadata(argument: str) -> Getter:
    kind, _, rest = argument.partition(":")
    sources = {
        "CLUSTER": cluster_metadata,
        "DYNAMIC": dynamic,
        "LISTENER": listener_metadata,
        "ROUTE": route_metadata,
        "UPSTREAM_HOST": host_metadata,
        "VIRTUAL_HOST": host_group_metadata,
    }
    if kind not in sources:
        raise ConfigError(f"{kind} is not supported for METADATA command")
    return metadata_of(sources[kind])(rest)


def filter_state(argument: str) -> Getter:
    key, _, kind = argument.partition(":")
    kind, _, field = kind.partition(":")

    def read(info: StreamInfo) -> Any:
        value = info.get_filter_state(key)
        if kind == "FIELD" and isinstance(value, dict):
            return as_text(value.get(field))
        if kind == "PLAIN":
            return as_text(value)
        return value if not isinstance(value, str) else json.dumps(value)

    return read
