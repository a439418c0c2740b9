"""Small builders of protobuf values: Any, Duration, Struct, wrappers, config sources.

Not here: anything that depends on the mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envoy.config.core.v3 import (
    address_pb2,
    base_pb2,
    config_source_pb2,
    grpc_service_pb2,
)
from google.protobuf import any_pb2, duration_pb2, struct_pb2, wrappers_pb2
from google.protobuf.message import Message
from udpa.type.v1 import typed_struct_pb2

from mizzen.api.types import Duration

TYPE_PREFIX = "type.googleapis.com/"
V3 = config_source_pb2.V3
ADS_CONFIG = config_source_pb2.ConfigSource(
    ads=config_source_pb2.AggregatedConfigSource(),
    initial_fetch_timeout=duration_pb2.Duration(),
    resource_api_version=V3,
)
"""Resources come over the same ADS stream; wait for them without a time limit."""


def pack(message: Message) -> any_pb2.Any:
    """The message in an Any; equal messages give equal bytes."""
    return any_pb2.Any(
        type_url=TYPE_PREFIX + message.DESCRIPTOR.full_name,
        value=message.SerializeToString(deterministic=True),
    )


def duration(value: Duration | float | None) -> duration_pb2.Duration | None:
    """A protobuf Duration; numbers are seconds; None stays None (field unset)."""
    if value is None:
        return None
    return pb_duration(value if isinstance(value, Duration) else Duration.of(value))


def pb_duration(value: Duration) -> duration_pb2.Duration:
    """A protobuf Duration; both of its parts have the sign of the whole."""
    seconds, nanos = divmod(abs(value.nanos), 1_000_000_000)
    sign = -1 if value.nanos < 0 else 1
    return duration_pb2.Duration(seconds=sign * seconds, nanos=sign * nanos)


def uint32(value: int | None) -> wrappers_pb2.UInt32Value | None:
    return None if value is None else wrappers_pb2.UInt32Value(value=value)


def boolean(value: bool | None) -> wrappers_pb2.BoolValue | None:
    return None if value is None else wrappers_pb2.BoolValue(value=value)


def struct(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object as a Struct."""
    out = struct_pb2.Struct()
    out.update(value)
    return out


def typed_struct(type_url: str, value: Mapping[str, Any]) -> any_pb2.Any:
    """A message that has no descriptor here, as udpa.type.v1.TypedStruct in an Any."""
    return pack(typed_struct_pb2.TypedStruct(type_url=type_url, value=struct(value)))


def address(host: str, port: int) -> address_pb2.Address:
    """A TCP socket's address; with port 0 the host is the path of a Unix socket."""
    if port == 0:
        return address_pb2.Address(pipe=address_pb2.Pipe(path=host))
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=host, port_value=port))


def metadata(**filters: Mapping[str, Any]) -> base_pb2.Metadata:
    """filter_metadata by filter name."""
    return base_pb2.Metadata(filter_metadata={name: struct(value) for name, value in filters.items()})


def config_path(namespace: str, kind: str, name: str) -> str:
    """Where an Istio object is said to be in `istio.config` metadata: kind in kebab case ("virtual-service")."""
    group = "networking.istio.io/v1" if kind != "envoy-filter" else "networking.istio.io/v1alpha3"
    return f"/apis/{group}/namespaces/{namespace}/{kind}/{name}"


def grpc_cluster(name: str) -> grpc_service_pb2.GrpcService:
    """A gRPC service behind a cluster."""
    return grpc_service_pb2.GrpcService(envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=name))
