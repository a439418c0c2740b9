"""What a proxy has been served, in the form of Envoy's admin /config_dump, read from the collections that it watches.

Takes a connection, gives messages or JSON. Private keys are left out. Not here: what Envoy itself says it has.
Source: envoy.admin.v3 ConfigDump, ClustersConfigDump, ListenersConfigDump, RoutesConfigDump,
EndpointsConfigDump, SecretsConfigDump.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.admin.v3 import config_dump_pb2, config_dump_shared_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import any_pb2

from mizzen.istiod.xds.collection import ResourceCollection
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.types import CDS, ECDS, EDS, LDS, RDS, SDS, SHORT_NAMES
from mizzen.wire.as_json import as_json

REDACTED = b"[redacted]"
URLS = {short.lower(): url for url, short in SHORT_NAMES.items()}


def served(connection: Connection, type_url: str) -> list[tuple[str, Any]]:
    """The resources of a type that the proxy is served, as (name, google.protobuf.Any)."""
    watch = connection.watches.get(type_url)
    if watch is None or not isinstance(watch.collection, ResourceCollection):
        return []
    entries = watch.collection.entries
    names: Iterable[str] = sorted(entries) if watch.wildcard else sorted(watch.names & entries.keys())
    return [(name, any_pb2.Any.FromString(entries[name].any)) for name in names]


def dumps(connection: Connection, include_eds: bool = False) -> list[Any]:
    """The parts of a ConfigDump, one message a kind of resource."""
    clusters = config_dump_shared_pb2.ClustersConfigDump()
    for _, packed in served(connection, CDS):
        clusters.dynamic_active_clusters.add().cluster.CopyFrom(packed)
    listeners = config_dump_shared_pb2.ListenersConfigDump()
    for name, packed in served(connection, LDS):
        listeners.dynamic_listeners.add(name=name).active_state.listener.CopyFrom(packed)
    routes = config_dump_shared_pb2.RoutesConfigDump()
    for _, packed in served(connection, RDS):
        routes.dynamic_route_configs.add().route_config.CopyFrom(packed)
    secrets = config_dump_pb2.SecretsConfigDump()
    for name, packed in served(connection, SDS):
        secrets.dynamic_active_secrets.add(name=name).secret.CopyFrom(redacted(packed))
    extensions = config_dump_shared_pb2.EcdsConfigDump()
    for _, packed in served(connection, ECDS):
        extensions.ecds_filters.add().ecds_filter.CopyFrom(packed)
    parts: list[Any] = [config_dump_pb2.BootstrapConfigDump()]
    parts.append(clusters)
    if include_eds:
        endpoints = config_dump_shared_pb2.EndpointsConfigDump()
        for _, packed in served(connection, EDS):
            endpoints.dynamic_endpoint_configs.add().endpoint_config.CopyFrom(packed)
        parts.append(endpoints)
    return [*parts, listeners, config_dump_shared_pb2.ScopedRoutesConfigDump(), routes, secrets, extensions]


def config_dump(connection: Connection, include_eds: bool = False) -> Any:
    """The dump as Envoy writes it: protobuf JSON with the original field names."""
    whole = config_dump_pb2.ConfigDump()
    for part in dumps(connection, include_eds):
        whole.configs.add().Pack(part)
    return as_json(whole)


def plain_resources(connection: Connection, kinds: Iterable[str]) -> Any:
    """The resources themselves, by short type name (cds, lds, …)."""
    out: dict[str, list[Any]] = {}
    for kind in kinds:
        url = URLS.get(kind.strip().lower())
        if url is not None:
            found = [packed if url != SDS else redacted(packed) for _, packed in served(connection, url)]
            out[kind.strip().lower()] = [as_json(packed) for packed in found]
    return out


def redacted(packed: Any) -> Any:
    """A secret without its private key."""
    secret = secret_pb2.Secret()
    packed.Unpack(secret)
    if secret.tls_certificate.private_key.inline_bytes:
        secret.tls_certificate.private_key.inline_bytes = REDACTED
    out = any_pb2.Any()
    out.Pack(secret)
    return out
