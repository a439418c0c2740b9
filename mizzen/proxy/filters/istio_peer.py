"""Who a peer is: Istio's peer metadata as a value, on the wire as headers or as the `istio-peer-exchange` prefix.

Takes the node's metadata, headers or a Struct; gives Peer values. Not here: who sends what when (istio_metadata_exchange.py).
Source: the wire behaviour of Istio's peer metadata (x-envoy-peer-metadata, x-envoy-peer-metadata-id).
"""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from google.protobuf import any_pb2, message, struct_pb2

from mizzen.proxy.accesslog.format import struct_value

HEADER, HEADER_ID = "x-envoy-peer-metadata", "x-envoy-peer-metadata-id"
DOWNSTREAM, UPSTREAM = "downstream_peer", "upstream_peer"  # filter state
NO_PEER = "peer_not_found"  # filter state: the other side told nothing of itself
MAGIC = 0x3D230467
STRUCT = "type.googleapis.com/google.protobuf.Struct"


class Peer(NamedTuple):
    """A workload as telemetry sees it; empty text where nothing is known."""

    name: str = ""
    namespace: str = ""
    workload: str = ""
    cluster: str = ""
    app: str = ""
    version: str = ""
    canonical_name: str = ""
    canonical_revision: str = ""
    identity: str = ""
    region: str = ""
    zone: str = ""


def peer_of(metadata: dict[str, Any], locality: Any = None) -> Peer:
    """The Peer of a node's metadata, or of what a peer sent."""
    labels = metadata.get("LABELS")
    labels = labels if isinstance(labels, dict) else {}

    def text(key: str) -> str:
        value = metadata.get(key)
        return value if isinstance(value, str) else ""

    def label(*keys: str) -> str:
        return next((str(labels[key]) for key in keys if labels.get(key)), "")

    app = label("app.kubernetes.io/name", "app")
    version = label("app.kubernetes.io/version", "version")
    return Peer(
        name=text("NAME"),
        namespace=text("NAMESPACE"),
        workload=text("WORKLOAD_NAME"),
        cluster=text("CLUSTER_ID"),
        app=app,
        version=version,
        canonical_name=label("service.istio.io/canonical-name") or app or text("WORKLOAD_NAME"),
        canonical_revision=label("service.istio.io/canonical-revision") or version or "latest",
        identity=text("IDENTITY"),
        region=text("REGION") or (locality.region if locality is not None else ""),
        zone=text("AVAILABILITY_ZONE") or (locality.zone if locality is not None else ""),
    )


def own_struct(node: Any, additional: tuple[str, ...] = ()) -> struct_pb2.Struct:
    """What this proxy tells others of itself."""
    metadata = struct_value(node.metadata) if node.HasField("metadata") else {}
    out = struct_pb2.Struct()
    owner = metadata.get("OWNER")
    account = metadata.get("SERVICE_ACCOUNT")
    namespace = metadata.get("NAMESPACE")
    domain = (
        metadata.get("PROXY_CONFIG", {}).get("trustDomain") if isinstance(metadata.get("PROXY_CONFIG"), dict) else None
    )
    identity = metadata.get("IDENTITY")
    if not identity and account and namespace:
        trust = domain or metadata.get("TRUST_DOMAIN") or metadata.get("MESH_ID") or "cluster.local"
        identity = f"spiffe://{trust}/ns/{namespace}/sa/{account}"
    fields = {
        "NAME": metadata.get("NAME"),
        "NAMESPACE": namespace,
        "WORKLOAD_NAME": metadata.get("WORKLOAD_NAME"),
        "CLUSTER_ID": metadata.get("CLUSTER_ID"),
        "IDENTITY": identity,
        "OWNER": owner,
        "REGION": node.locality.region or None,
        "AVAILABILITY_ZONE": node.locality.zone or None,
    }
    for key, value in fields.items():
        if isinstance(value, str) and value:
            out.fields[key].string_value = value
    labels = metadata.get("LABELS")
    labels = labels if isinstance(labels, dict) else {}
    sent = out.fields["LABELS"].struct_value
    sent.SetInParent()
    own = peer_of(metadata)
    for key, value in (
        ("service.istio.io/canonical-name", own.canonical_name),
        ("service.istio.io/canonical-revision", own.canonical_revision),
        ("app", own.app),
        ("version", own.version),
        *((name, labels.get(name)) for name in additional),
    ):
        if isinstance(value, str) and value:
            sent.fields[key].string_value = value
    return out


def encoded(struct: struct_pb2.Struct) -> str:
    return base64.b64encode(struct.SerializeToString(deterministic=True)).decode("ascii")


_decoded: dict[str, Peer | None] = {}


def decoded(text: str) -> Peer | None:
    """The Peer in a header's value; None for one that makes no sense. Remembered: peers are few."""
    if text in _decoded:
        return _decoded[text]
    peer: Peer | None
    try:
        struct = struct_pb2.Struct.FromString(base64.b64decode(text, validate=True))
        peer = peer_of(struct_value(struct))
    except (ValueError, message.DecodeError):
        peer = None
    if len(_decoded) > 2000:
        _decoded.clear()
    _decoded[text] = peer
    return peer


def exchange_prefix(struct: struct_pb2.Struct, node_id: str) -> bytes:
    """The bytes that each side of an `istio-peer-exchange` connection sends first."""
    outer = struct_pb2.Struct()
    outer.fields[HEADER].struct_value.CopyFrom(struct)
    outer.fields[HEADER_ID].string_value = node_id
    wrapped = any_pb2.Any(type_url=STRUCT, value=outer.SerializeToString(deterministic=True))
    body = wrapped.SerializeToString()
    return MAGIC.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def read_exchange(data: bytes) -> tuple[Peer | None, int] | None:
    """The peer and the length of the prefix at the head of `data`; None for "more"; length -1: not an exchange."""
    if data[:4] != MAGIC.to_bytes(4, "big")[: len(data[:4])]:
        return None, -1
    if len(data) < 8:
        return None
    length = int.from_bytes(data[4:8], "big")
    if len(data) < 8 + length:
        return None if length < 1 << 20 else (None, -1)
    wrapped = any_pb2.Any()
    try:
        wrapped.ParseFromString(data[8 : 8 + length])
        outer = struct_value(struct_pb2.Struct.FromString(wrapped.value))
    except message.DecodeError:
        return None, 8 + length
    inner = outer.get(HEADER)
    return (peer_of(inner) if isinstance(inner, dict) else None), 8 + length


def workload_peer(metadata: dict[str, Any] | None) -> Peer | None:
    """The Peer that an endpoint's `istio.workload` metadata names: workload;namespace;canonical name;revision;cluster."""
    text = ((metadata or {}).get("istio") or {}).get("workload")
    if not isinstance(text, str):
        return None
    parts = (text.split(";") + [""] * 5)[:5]
    return Peer(
        workload=parts[0],
        namespace=parts[1],
        canonical_name=parts[2],
        canonical_revision=parts[3],
        app=parts[2],
        version=parts[3],
        cluster=parts[4],
    )
