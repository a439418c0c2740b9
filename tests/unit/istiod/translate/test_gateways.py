"""Gateways: which servers share a port, and where requests and connections go."""

from __future__ import annotations

import pytest

from mizzen.istiod.translate.gateways import merged_gateway
from tests.unit.istiod.translate.simulation import Call, Mesh, node, snapshot

BACKEND = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: tcp, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: other}
spec: {clusterIP: 10.0.0.2, ports: [{name: http, port: 8080}]}
---
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["shop/*.shop.test", "*/open.test"]}
  - {port: {number: 80, name: redirect, protocol: HTTP}, hosts: [old.test], tls: {httpsRedirect: true}}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [secure.test], tls: {mode: SIMPLE, credentialName: c}}
  - {port: {number: 443, name: pass, protocol: TLS}, hosts: [pass.test], tls: {mode: PASSTHROUGH}}
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [a.shop.test, open.test, secure.test]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /api}}]
    route: [{destination: {host: api.other.svc.cluster.local}}]
  - route: [{destination: {host: web, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: stranger, namespace: other}
spec: {hosts: [b.shop.test, open.test], gateways: [shop/edge], http: [{match: [{uri: {prefix: /b}}], directResponse: {status: 418}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mesh-only, namespace: shop}
spec: {hosts: [c.shop.test], http: [{directResponse: {status: 500}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: l4, namespace: shop}
spec:
  hosts: [pass.test, "*"]
  gateways: [edge]
  tls: [{match: [{sniHosts: [pass.test]}], route: [{destination: {host: web, port: {number: 9000}}}]}]
  tcp: [{match: [{port: 9000}], route: [{destination: {host: web, port: {number: 9000}}}]}]
"""
WEB, API = "outbound|80||web.shop.svc.cluster.local", "outbound|8080||api.other.svc.cluster.local"
TCP = "outbound|9000||web.shop.svc.cluster.local"
SECURE = "https.443.https.edge.shop"
REQUESTS = [
    ("http.80", Call("a.shop.test"), WEB),
    ("http.80", Call("a.shop.test", "/api/x"), API),
    ("http.80", Call("b.shop.test", "/b"), "no route"),  # the server takes that host from its own namespace only
    ("http.80", Call("open.test", "/b"), "418"),
    ("http.80", Call("open.test", "/"), WEB),
    ("http.80", Call("c.shop.test"), "no route"),
    ("http.80", Call("old.test"), "redirect"),
    (SECURE, Call("secure.test", "/api"), API),
    (SECURE, Call("a.shop.test"), "no route"),
    ("http.81", Call("a.shop.test"), "no route"),
]


def edge(snap_text: str) -> Mesh:
    return Mesh(snapshot(snap_text), node("shop", {"istio": "edge"}, "router"))


@pytest.mark.parametrize(("name", "call", "expected"), REQUESTS)
def test_requests(name: str, call: Call, expected: str) -> None:
    assert edge(BACKEND + GATEWAY).get(name, call) == expected


CONNECTIONS = [
    (80, {"http": True}, "rds:http.80"),
    (443, {"sni": "secure.test"}, f"rds:{SECURE}"),
    (443, {"sni": "pass.test"}, TCP),
    (443, {"sni": "none.test"}, "no chain"),
    (9000, {}, TCP),
    (8080, {}, "refused"),
]


@pytest.mark.parametrize(("port", "how", "expected"), CONNECTIONS)
def test_connections(port: int, how: dict[str, object], expected: str) -> None:
    assert edge(BACKEND + GATEWAY).connect("10.1.1.1", port, **how) == expected  # type: ignore[arg-type]


SERVERS = [
    (["80 HTTP a.test", "80 HTTP b.test"], 0),
    (["80 HTTP a.test", "80 TCP b.test"], 1),
    (["80 TCP a.test", "80 TCP b.test"], 1),
    (["80 HTTP a.test", "80 HTTPS b.test SIMPLE"], 1),
    (["443 HTTPS a.test SIMPLE", "443 HTTPS b.test SIMPLE"], 0),
    (["443 HTTPS a.test SIMPLE", "443 HTTPS a.test SIMPLE"], 1),
    (["443 TLS a.test PASSTHROUGH", "443 TLS b.test SIMPLE"], 0),
    (["443 HTTPS a.test SIMPLE", "443 TCP b.test"], 0),
    (["443 HTTPS a.test SIMPLE", "443 HTTPS b.test SIMPLE", "443 TLS b.test PASSTHROUGH"], 1),
]


@pytest.mark.parametrize(("servers", "rejected"), SERVERS)
def test_servers_of_one_port(servers: list[str], rejected: int) -> None:
    text = (
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g, namespace: shop}\nspec:\n  servers:\n"
    )
    for index, line in enumerate(servers):
        port, protocol, host, *mode = line.split()
        tls = f", tls: {{mode: {mode[0]}, credentialName: c}}" if mode else ""
        text += f"  - {{port: {{number: {port}, name: p{index}, protocol: {protocol}}}, hosts: [{host}]{tls}}}\n"
    snap = snapshot(text)
    assert len(merged_gateway(snap, node("shop", {}, "router")).rejected) == rejected


def test_ports_are_translated_by_the_service_in_front() -> None:
    front = """
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: shop}
spec: {clusterIP: 10.0.0.9, selector: {istio: edge}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {istio: edge}}
spec: {containers: [{name: p, image: p}]}
status: {phase: Running, podIP: 10.1.1.1, podIPs: [{ip: 10.1.1.1}]}
---
"""
    mesh = edge(front + BACKEND + GATEWAY)
    assert mesh.get("http.8080", Call("a.shop.test")) == WEB
    assert mesh.connect("10.1.1.1", 8080, http=True) == "rds:http.8080"
