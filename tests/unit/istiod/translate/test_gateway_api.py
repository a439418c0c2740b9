"""The Gateway API and Ingresses: requests through what they are translated into."""

from __future__ import annotations

import pytest

from tests.unit.istiod.translate.simulation import Call, Mesh, node, snapshot

BASE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: v1
kind: Service
metadata: {name: edge-istio, namespace: edge}
spec:
  clusterIP: 10.0.0.9
  selector: {gw: edge}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 9000, targetPort: 9000}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: edge, labels: {gw: edge}}
spec: {containers: [{name: p, image: p}]}
status: {phase: Running, podIP: 10.1.1.1, podIPs: [{ip: 10.1.1.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: grpc, port: 7000}]}
---
apiVersion: v1
kind: Service
metadata: {name: private, namespace: other}
spec: {clusterIP: 10.0.0.2, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  gatewayClassName: istio
  listeners:
  - name: http
    port: 80
    protocol: HTTP
    hostname: "*.shop.test"
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: shop}}}}
  - {name: tcp, port: 9000, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: edge, namespace: edge}]
  hostnames: [a.shop.test]
  rules:
  - matches: [{path: {type: PathPrefix, value: /app}}]
    backendRefs: [{name: web, port: 80}]
  - matches: [{path: {type: Exact, value: /app/exact}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
  - matches: [{path: {type: PathPrefix, value: /app/deep}, method: POST}]
    backendRefs: [{name: web, port: 7000}]
  - matches: [{path: {type: PathPrefix, value: /private}}]
    backendRefs: [{name: private, namespace: other, port: 80}]
  - matches: [{path: {type: PathPrefix, value: /none}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{name: edge, namespace: edge, sectionName: http}]
  hostnames: [rpc.shop.test]
  rules:
  - matches: [{method: {service: shop.Web, method: Get}}]
    backendRefs: [{name: web, port: 7000}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: stranger, namespace: other}
spec:
  parentRefs: [{name: edge, namespace: edge}]
  hostnames: [b.shop.test]
  rules: [{backendRefs: [{name: private, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: raw, namespace: shop}
spec: {parentRefs: [{name: edge, namespace: edge, sectionName: tcp}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mesh, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules: [{matches: [{path: {type: PathPrefix, value: /in}}], backendRefs: [{name: web, port: 7000}]}]
"""
GRANT = """
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: open, namespace: other}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: [{group: "", kind: Service}]}
"""
WEB, RPC = "outbound|80||web.shop.svc.cluster.local", "outbound|7000||web.shop.svc.cluster.local"
CASES = [
    (Call("a.shop.test", "/app"), WEB),
    (Call("a.shop.test", "/app/x"), WEB),
    (Call("a.shop.test", "/apple"), "no route"),
    (Call("a.shop.test", "/app/exact"), "redirect"),
    (Call("a.shop.test", "/app/deep/x", "POST"), RPC),
    (Call("a.shop.test", "/app/deep/x"), WEB),
    (Call("a.shop.test", "/private"), "outbound|80||invalid.backend.local"),
    (Call("a.shop.test", "/none"), "500"),
    (Call("b.shop.test"), "no route"),
    (Call("rpc.shop.test", "/shop.Web/Get"), RPC),
    (Call("rpc.shop.test", "/shop.Web/Put"), "no route"),
]


def edge(text: str) -> Mesh:
    return Mesh(snapshot(text), node("edge", {"gw": "edge"}, "router"))


@pytest.mark.parametrize(("call", "expected"), CASES)
def test_requests(call: Call, expected: str) -> None:
    assert edge(BASE).get("http.8080", call) == expected


def test_a_grant_opens_another_namespace() -> None:
    answer = edge(BASE + GRANT).get("http.8080", Call("a.shop.test", "/private"))
    assert answer == "outbound|80||private.other.svc.cluster.local"


def test_tcp_routes() -> None:
    assert edge(BASE).connect("10.1.1.1", 9000) == WEB


def test_routes_of_a_service_hold_inside_the_mesh() -> None:
    mesh = Mesh(snapshot(BASE), node("shop"))
    assert mesh.get("80", Call("web", "/in")) == RPC
    assert mesh.get("80", Call("web", "/out")) == "no route"


INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop, annotations: {kubernetes.io/ingress.class: istio}}
spec:
  rules:
  - host: i.shop.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
      - {path: /rpc, pathType: Prefix, backend: {service: {name: web, port: {number: 7000}}}}
      - {path: /rpc/exact, pathType: Exact, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: grpc, port: 7000}]}
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", WEB), ("/x", WEB), ("/rpc", RPC), ("/rpc/x", RPC), ("/rpcs", WEB), ("/rpc/exact", WEB)],
)
def test_ingress(path: str, expected: str) -> None:
    mesh = Mesh(snapshot(INGRESS), node("istio-system", {"istio": "ingressgateway"}, "router"))
    assert mesh.get("http.80", Call("i.shop.test", path)) == expected


POLICY = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: roots, namespace: shop}
data: {ca.crt: x}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: web, namespace: shop}
spec:
  targetRefs: [{group: "", kind: Service, name: web, sectionName: http}]
  validation: {hostname: web.internal, caCertificateRefs: [{group: "", kind: ConfigMap, name: roots}]}
"""


def test_backend_tls_policies_are_destination_rules() -> None:
    (rule,) = snapshot(BASE + POLICY).translated.destination_rules
    policy = rule.spec.traffic_policy
    assert rule.spec.host == "web.shop.svc.cluster.local"
    assert policy is not None and policy.tls is None
    tls = policy.port_level_settings[0].tls
    assert tls is not None and (tls.sni, tls.credential_name) == ("web.internal", "configmap://shop/roots")
