"""Whatever the objects and whatever a proxy is served: translation, statuses and origins go without an error."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mizzen.api import kinds
from mizzen.api.errors import Invalid
from mizzen.istiod import gateway_api
from mizzen.istiod.config.store import decode
from mizzen.istiod.gateway_api.statuses import statuses
from mizzen.istiod.objects import Objects
from mizzen.istiod.status.origins import origins
from mizzen.istiod.translate import generate
from mizzen.istiod.xds.encode import pack
from mizzen.istiod.xds.types import CDS, LDS, RDS
from tests.support.typed_objects import spec_of
from tests.support.xds_corpus import nodes, snapshot

KINDS = [k for k in kinds.GATEWAY_API_KINDS if k.kind not in ("GatewayClass", "ListenerSet", "ReferenceGrant")]
BASE = [
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}},
    {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "a"},
        "spec": {"gatewayClassName": "istio", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]},
    },
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_statuses(kind: kinds.Kind, data: st.DataObject, caplog: pytest.LogCaptureFixture) -> None:
    obj: dict[str, Any] = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "it"},
        "spec": data.draw(spec_of(kind.type)),
    }
    if kind.kind == "Gateway":
        obj["spec"]["gatewayClassName"] = "istio"
    elif kind.kind.endswith("Route"):
        obj["spec"]["parentRefs"] = [{"name": "a"}, {"name": "a", "kind": "Service", "group": ""}]
    try:
        objects = Objects.of([decode(one) for one in [*BASE, obj]])
    except Invalid:
        assume(False)
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        found = statuses(objects, "cluster.local")
    gateway_api.translate(objects, "cluster.local")
    assert not caplog.records
    assert len(found) >= 2


CASES = (
    "bookshop-baseline",
    "gateway-api",
    "envoyfilter-listeners",
    "envoyfilter-routes-clusters",
    "authz-conditions",
    "gw-tls-modes",
    "wasm-and-extensions",
)


@pytest.mark.parametrize("case", CASES)
def test_origins(case: str) -> None:
    snap = snapshot(case)
    for node in nodes(case).values():
        for type_url in (CDS, LDS):
            for name, message in generate(snap, node, type_url, None):
                for kind, _ in origins(snap, node, type_url, name, pack(type_url, message)).every:
                    assert kind
        for name, message in generate(snap, node, RDS, ["80", "8080", "http.8080"]):
            origins(snap, node, RDS, name, pack(RDS, message))
