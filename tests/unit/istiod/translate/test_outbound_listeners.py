"""Connections from an application behind a sidecar: `10.0.0.1:80 → cluster or routes`."""

from __future__ import annotations

import pytest

from mizzen.istiod.translate.clusters import clusters
from tests.unit.istiod.translate.simulation import Mesh, node, snapshot

SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}, {name: tcp, port: 9000}, {name: auto, port: 7000}, {name: tls, port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: base, namespace: shop}
spec: {clusterIP: 10.0.0.2, ports: [{name: mongo, port: 27017}, {name: dns, port: 5300, protocol: UDP}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: range, namespace: shop}
spec: {hosts: [range.test], addresses: [192.0.2.0/24], ports: [{number: 6000, name: tcp, protocol: TCP}], resolution: NONE}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: names, namespace: shop}
spec: {hosts: [a.test, "*.b.test"], ports: [{number: 8443, name: tls, protocol: TLS}], resolution: NONE}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mixed, namespace: shop}
spec: {hosts: [mixed.test], ports: [{number: 80, name: tcp, protocol: TCP}], resolution: DNS, endpoints: [{address: m.test}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  tcp:
  - match: [{port: 9000, sourceLabels: {app: special}}]
    route: [{destination: {host: base, port: {number: 27017}}}]
  - match: [{port: 9000}]
    route: [{destination: {host: web, port: {number: 9000}}, weight: 1}, {destination: {host: base, port: {number: 27017}}, weight: 3}]
  tls:
  - match: [{port: 443, sniHosts: [web.test]}]
    route: [{destination: {host: web, port: {number: 443}}}]
"""


def cluster(port: int, host: str) -> str:
    return f"outbound|{port}||{host}"


WEB, BASE = "web.shop.svc.cluster.local", "base.shop.svc.cluster.local"
CASES = [
    (("10.0.0.1", 80), {"http": True}, "rds:80"),
    (("10.9.9.9", 80), {"http": True}, "rds:80"),
    (("10.9.9.9", 80), {}, cluster(80, "mixed.test")),
    (("10.0.0.1", 9000), {}, f"{cluster(9000, WEB)}=1 {cluster(27017, BASE)}=3"),
    (("10.0.0.1", 7000), {"http": True}, f"rds:{WEB}:7000"),
    (("10.0.0.1", 7000), {}, cluster(7000, WEB)),
    (("10.0.0.1", 443), {"sni": "web.test"}, cluster(443, WEB)),
    (("10.0.0.1", 443), {"sni": "else.test"}, "PassthroughCluster"),
    (("10.0.0.2", 27017), {}, cluster(27017, BASE)),
    (("10.0.0.2", 5300), {}, "PassthroughCluster"),
    (("192.0.2.77", 6000), {}, cluster(6000, "range.test")),
    (("198.51.100.1", 6000), {}, "PassthroughCluster"),
    (("203.0.113.1", 8443), {"sni": "a.test"}, cluster(8443, "a.test")),
    (("203.0.113.1", 8443), {"sni": "x.b.test"}, cluster(8443, "*.b.test")),
    (("203.0.113.1", 8443), {"sni": "b.other"}, "PassthroughCluster"),
    (("203.0.113.1", 12345), {}, "PassthroughCluster"),
    (("10.1.1.1", 15001), {}, "BlackHoleCluster"),
]


@pytest.mark.parametrize(("to", "how", "expected"), CASES)
def test_connections(to: tuple[str, int], how: dict[str, object], expected: str) -> None:
    assert Mesh(snapshot(SERVICES), node()).connect(*to, **how) == expected  # type: ignore[arg-type]


def test_tcp_rules_by_source_labels() -> None:
    mesh = Mesh(snapshot(SERVICES), node(labels={"app": "special"}))
    assert mesh.connect("10.0.0.1", 9000) == cluster(27017, BASE)


def test_without_interception_services_are_on_the_loopback_address() -> None:
    mesh = Mesh(snapshot(SERVICES), node(INTERCEPTION_MODE="NONE"))
    assert mesh.connect("127.0.0.1", 80, http=True) == "rds:80"
    assert mesh.connect("10.0.0.1", 12345) == "refused"


SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress:
  - {port: {number: 9000, protocol: TCP, name: tcp}, bind: 127.0.0.1, captureMode: NONE, hosts: ["./web.shop.svc.cluster.local"]}
  - {hosts: ["./base.shop.svc.cluster.local"]}
---
"""


def test_a_sidecars_own_listener() -> None:
    mesh = Mesh(snapshot(SIDECAR + SERVICES), node())
    assert mesh.connect("127.0.0.1", 9000).startswith(cluster(9000, WEB))
    assert mesh.connect("10.0.0.2", 27017) == cluster(27017, BASE)
    assert mesh.connect("10.0.0.1", 7000) == "BlackHoleCluster"


DYNAMIC = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}, egress: [{hosts: ["./*"]}]}
---
"""


def test_unknown_http_goes_where_its_name_resolves_to() -> None:
    snap = snapshot(DYNAMIC + SERVICES)
    mesh = Mesh(snap, node())
    assert mesh.connect("203.0.113.1", 12345) == "PassthroughCluster"
    assert mesh.connect("203.0.113.1", 12345, http=True) == "rds:"
    assert "AllowAnyDynamicDNSCluster" in [cluster.name for cluster in clusters(snap, mesh.node)]
