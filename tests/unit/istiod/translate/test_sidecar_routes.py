"""Requests through a sidecar's routes: `GET host/path with headers → cluster`."""

from __future__ import annotations

import pytest

from tests.unit.istiod.translate.simulation import Call, Mesh, node, snapshot

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: http-admin, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: shop}
spec: {clusterIP: 10.0.0.2, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other}
spec: {clusterIP: 10.0.0.3, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: shop}
spec: {clusterIP: None, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop, creationTimestamp: "2024-01-01T00:00:00Z"}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {prefix: /v1/}, method: {exact: POST}}]
    route: [{destination: {host: reviews, subset: v1}}]
  - match: [{sourceLabels: {tier: batch}}]
    directResponse: {status: 429}
  - match: [{queryParams: {canary: {exact: "yes"}}, withoutHeaders: {x-pin: {}}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
  - match: [{uri: {regex: "/item/[0-9]+"}}]
    redirect: {uri: /items}
  - match: [{port: 9080}]
    route: [{destination: {host: ratings, port: {number: 80}}}]
  - match: [{uri: {exact: /only}}]
    route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: younger, namespace: shop, creationTimestamp: "2025-01-01T00:00:00Z"}
spec: {hosts: [reviews.shop.svc.cluster.local], http: [{directResponse: {status: 418}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wide, namespace: shop}
spec: {hosts: ["*.other.svc.cluster.local"], http: [{directResponse: {status: 402}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: elsewhere, namespace: shop}
spec: {hosts: [api.example.com], http: [{route: [{destination: {host: ratings}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gateway-only, namespace: shop}
spec: {hosts: [ratings], gateways: [shop/edge], http: [{directResponse: {status: 500}}]}
"""
REVIEWS = "outbound|80||reviews.shop.svc.cluster.local"
V1, V2 = (f"outbound|80|{subset}|reviews.shop.svc.cluster.local" for subset in ("v1", "v2"))
RATINGS = "outbound|80||ratings.shop.svc.cluster.local"

CASES = [
    ("80", Call("reviews", headers={"end-user": "jason"}), V2),
    ("80", Call("reviews.shop:80", headers={"end-user": "jason"}), V2),
    ("80", Call("10.0.0.1", headers={"end-user": "jason"}), V2),
    ("80", Call("REVIEWS.shop.svc", headers={"end-user": "jason"}), V2),
    ("80", Call("reviews.shop.svc.cluster.local.", headers={"end-user": "jason"}), V2),
    ("80", Call("reviews", "/v1/x", "POST"), V1),
    ("80", Call("reviews", "/v1/x", "GET"), "no route"),
    ("80", Call("reviews", "/?canary=yes"), f"{V1}=90 {V2}=10"),
    ("80", Call("reviews", "/?canary=yes", headers={"x-pin": "1"}), "no route"),
    ("80", Call("reviews", "/item/7"), "redirect"),
    ("80", Call("reviews", "/item/x"), "no route"),
    ("80", Call("reviews", "/only"), REVIEWS),
    ("9080", Call("reviews:9080", "/any"), RATINGS),
    ("80", Call("ratings"), RATINGS),
    ("80", Call("far.other"), "402"),
    ("80", Call("far"), "PassthroughCluster"),
    ("80", Call("api.example.com"), RATINGS),
    ("9080", Call("api.example.com"), "PassthroughCluster"),
    ("80", Call("pod-1.pods.shop.svc.cluster.local"), "outbound|80||pods.shop.svc.cluster.local"),
    ("80", Call("unknown.example.com"), "PassthroughCluster"),
    ("no-port", Call("reviews"), "no route"),
]


@pytest.mark.parametrize(("name", "call", "expected"), CASES)
def test_requests(name: str, call: Call, expected: str) -> None:
    assert Mesh(snapshot(SERVICES + RULES), node()).get(name, call) == expected


def test_source_labels_choose_the_clients() -> None:
    snap = snapshot(SERVICES + RULES)
    assert Mesh(snap, node(labels={"tier": "batch"})).get("80", Call("reviews")) == "429"
    assert Mesh(snap, node(labels={"tier": "web"})).get("80", Call("reviews")) == "no route"


def test_other_namespaces_need_the_namespace_in_short_names() -> None:
    mesh = Mesh(snapshot(SERVICES), node("other"))
    assert mesh.get("80", Call("ratings.shop")) == RATINGS
    assert mesh.get("80", Call("ratings")) == "PassthroughCluster"
    assert mesh.get("80", Call("far")) == "outbound|80||far.other.svc.cluster.local"


SIDECAR = """
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {mode: %s}
  egress: [{hosts: ["./ratings.shop.svc.cluster.local"]}]
"""


@pytest.mark.parametrize(("mode", "unknown"), [("REGISTRY_ONLY", "502"), ("ALLOW_ANY", "PassthroughCluster")])
def test_a_sidecar_hides_hosts(mode: str, unknown: str) -> None:
    mesh = Mesh(snapshot(SERVICES + SIDECAR.replace("%s", mode).lstrip("-\n")), node())
    assert mesh.get("80", Call("ratings")) == RATINGS
    assert mesh.get("80", Call("reviews")) == unknown


def test_equal_clients_share_their_routes() -> None:
    snap = snapshot(SERVICES + RULES)
    first = Mesh(snap, node(labels={"app": "a"})).route("80", Call("reviews", "/only"))
    second = Mesh(snap, node(labels={"app": "b"})).route("80", Call("reviews", "/only"))
    assert first == second
