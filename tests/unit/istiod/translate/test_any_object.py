"""No object of the right types makes translation raise, whatever kind and fields it has, for any type of proxy.

More than is asked: admission refuses many of these before they get here.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.istiod import dump
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.snapshot import Snapshot
from tests.support.typed_objects import spec_of

KINDS = [kind for kind in kinds.ISTIO_KINDS if kind.kind not in ("WorkloadGroup", "ProxyConfig")]
MESH = load_mesh_config()


def _object(version: str, kind: str, name: str, spec: Any, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "spec": spec,
    }


def _service(name: str, ports: dict[str, int]) -> dict[str, Any]:
    spec = {
        "clusterIP": "10.0.0.1",
        "selector": {"app": name},
        "ports": [{"name": n, "port": p} for n, p in ports.items()],
    }
    return _object("v1", "Service", name, spec)


def _pod(name: str, ip: str) -> dict[str, Any]:
    pod = _object("v1", "Pod", name, {"containers": [{"name": "app"}], "serviceAccountName": name}, app=name)
    return pod | {"status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}}


BASE = [
    kinds.decode(one)
    for one in (
        _service("a", {"http": 80, "tcp": 9000, "grpc-x": 81, "auto": 82}),
        _service("b", {"https": 443, "http": 80}),
        _pod("a", "10.1.0.1"),
        _pod("edge", "10.1.0.2"),
    )
]
NODES = [
    dump.node_of({"type": kind, "namespace": "shop", "pod": pod, "ip": ip, "labels": {"app": pod}})
    for kind, pod, ip in (("sidecar", "a", "10.1.0.1"), ("router", "edge", "10.1.0.2"))
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_never_raises(kind: kinds.Kind, data: st.DataObject) -> None:
    given_object = _object(kind.api_version, kind.kind, "it", data.draw(spec_of(kind.type)))
    try:
        obj = kinds.decode(given_object)
    except Invalid:
        assume(False)
    snap = Snapshot.build([*BASE, obj], MESH)
    for node in NODES:
        dump.dump_node(snap, node)
