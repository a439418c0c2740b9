"""What a discovery stream has in force, as the responses that a new worker is brought up to date with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from envoy.service.discovery.v3 import discovery_pb2

from mizzen.proxy.xds.manager import CDS, LDS, resource_name

if TYPE_CHECKING:
    from mizzen.proxy.server import Server


def responses(server: Server, key: str) -> Iterator[bytes]:
    """One response of each type that the stream of this key has received, in the order of dependency."""
    from mizzen.proxy.xds.ads import ORDER

    stream = server.xds.stream(key)
    if stream is None:
        return
    for type_url in (*ORDER, *(each for each in stream.types if each not in ORDER)):
        state = stream.types.get(type_url)
        if state is None:
            continue
        if state.collection is None:
            messages, version = list(state.cache.values()), state.version
        else:
            messages, version = collected(server, type_url), state.collection.version
            if not state.collection.first.is_set():
                continue
        if messages or state.collection is not None:
            yield response(type_url, messages, version, stream.delta)


def collected(server: Server, type_url: str) -> list[Any]:
    if type_url == CDS:
        clusters = {**server.clusters.active, **server.clusters.warming}
        return [each.config.proto for each in clusters.values() if each.config.added_via_api]
    assert type_url == LDS, type_url
    listeners = {**server.listeners.slots, **server.listeners.warming}
    return [each.listener.proto for each in listeners.values() if each.api]


def response(type_url: str, messages: list[Any], version: str, delta: bool) -> bytes:
    if not delta:
        whole = discovery_pb2.DiscoveryResponse(type_url=type_url, version_info=version)
        for message in messages:
            whole.resources.add().Pack(message, deterministic=True)
        data: bytes = whole.SerializeToString()
        return data
    changes = discovery_pb2.DeltaDiscoveryResponse(type_url=type_url, system_version_info=version)
    for message in messages:
        each = changes.resources.add(name=resource_name(message), version=version)
        each.resource.Pack(message, deterministic=True)
    out: bytes = changes.SerializeToString()
    return out
