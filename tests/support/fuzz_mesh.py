"""A small mesh that an arbitrary object or mesh setting is put into, and what proxies are served differently for it.

`changed(objects, mesh)` translates everything for a sidecar, one without interception, and a gateway. For tests that look for objects
that make translation raise, or emit what readers refuse.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.message import Message

from mizzen.api import kinds
from mizzen.istiod import dump
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot

READ = ("Service", "EndpointSlice", "Pod", "Node", "Namespace", "Ingress", "IngressClass", "Secret", "ConfigMap")
"""Kubernetes' kinds that istiod reads."""
KINDS = [
    kind
    for kind in kinds.KINDS
    if kind in kinds.ISTIO_KINDS or kind in kinds.GATEWAY_API_KINDS or (kind.kind in READ and kind.group != "events")
]
MESH = load_mesh_config()


def make(version: str, kind: str, name: str, spec: Any, **labels: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


def _service(name: str, ports: dict[str, int]) -> dict[str, Any]:
    named = [{"name": n, "port": p} for n, p in ports.items()]
    return make("v1", "Service", name, {"clusterIP": "10.0.0.1", "selector": {"app": name}, "ports": named})


def _pod(name: str, ip: str) -> dict[str, Any]:
    pod = make("v1", "Pod", name, {"containers": [{"name": "app"}], "serviceAccountName": name}, app=name)
    return pod | {"status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}}


BASE = [
    kinds.decode(one)
    for one in (
        _service("a", {"http": 80, "tcp": 9000, "grpc-x": 81, "auto": 82}),
        _service("b", {"https": 443, "http": 80}),
        _pod("a", "10.1.0.1"),
        _pod("edge", "10.1.0.2"),
        make("networking.istio.io/v1", "Gateway", "edge", {
            "selector": {"app": "edge"},
            "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
        }),
    )
]  # fmt: skip
NODES: tuple[Node, ...] = tuple(
    dump.node_of({"type": kind, "namespace": "shop", "pod": pod, "ip": ip, "labels": {"app": pod}, "metadata": more})
    for kind, pod, ip, more in (
        ("sidecar", "a", "10.1.0.1", {}),
        ("sidecar", "c", "10.1.0.3", {"INTERCEPTION_MODE": "NONE"}),
        ("router", "edge", "10.1.0.2", {}),
    )
)


def _served(snap: Snapshot) -> list[tuple[str, Message]]:
    return [
        (section, message)
        for node in NODES
        for section, messages in dump.resources(snap, node).items()
        for message in messages
    ]


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


@cache
def _usual() -> frozenset[bytes]:
    return frozenset(_bytes(message) for _, message in _served(Snapshot.build(BASE, MESH)))


def changed(objects: list[Any], mesh: Any = MESH) -> list[tuple[str, Message]]:
    """(section, message) of every resource that is not served without these objects and settings."""
    made = _served(Snapshot.build([*BASE, *objects], mesh))
    return [(section, message) for section, message in made if _bytes(message) not in _usual()]
