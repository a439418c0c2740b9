"""Where the ingress gateway is reached."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.manifest import load
from mizzen.istiod.config.store import decode
from mizzen.istiod.objects import Objects
from mizzen.istiod.status.ingresses import addresses

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {type: LoadBalancer, externalIPs: [192.0.2.1]}
status: {loadBalancer: {ingress: [{hostname: lb.test}, {ip: 192.0.2.9}]}}
"""
ELSEWHERE = """
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec: {type: ExternalName, externalName: edge.test}
"""
PODS = """
apiVersion: v1
kind: Node
metadata: {name: one}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}, {type: ExternalIP, address: 192.0.2.5}]}
---
apiVersion: v1
kind: Node
metadata: {name: two}
status: {addresses: [{type: InternalIP, address: 10.0.0.2}]}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: istio-system, labels: {istio: ingressgateway}}
spec: {nodeName: NODE, containers: [{name: istio-proxy}]}
"""
PODS += POD.replace("NAME", "a").replace("NODE", "one") + POD.replace("NAME", "b").replace("NODE", "two")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SERVICE, [{"ip": "192.0.2.1"}, {"ip": "192.0.2.9"}, {"hostname": "lb.test"}]),
        (ELSEWHERE, [{"hostname": "edge.test"}]),
        (PODS, [{"ip": "10.0.0.2"}, {"ip": "192.0.2.5"}]),
        ("", []),
    ],
)
def test_addresses(text: str, expected: list[dict[str, Any]]) -> None:
    objects = Objects.of([decode(document.object) for document in load(text + "\n")])
    assert addresses(objects, MeshConfig(), "istio-system") == expected
