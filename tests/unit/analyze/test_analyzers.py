"""What each analyzer finds, and what it leaves alone: objects in short, expected codes beside them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mizzen.api.manifest import Document
from mizzen.istiod.analysis.analyzers import ANALYZERS
from mizzen.istiod.analysis.model import Mesh
from tests.unit.api.rules import KINDS

VERSIONS = {"Deployment": "apps/v1", "CustomResourceDefinition": "apiextensions.k8s.io/v1"}
VERSIONS |= dict.fromkeys(
    ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"), "admissionregistration.k8s.io/v1"
)
SERVICE = "Service a: {spec: {selector: {app: a}, ports: [{name: http, port: 80, targetPort: 80}]}}"
POD = "Pod a: {metadata: {labels: {app: a}}, spec: {containers: [{name: istio-proxy, image: x}]}}"
NAMESPACE = "Namespace shop: {metadata: {labels: {istio-injection: enabled}}}"
INGRESS = "Pod gw: {metadata: {labels: {istio: gw}}, spec: {containers: [{name: istio-proxy, image: x}]}}"
INGRESS_SERVICE = (
    "Service gw: {spec: {selector: {istio: gw}, ports: [{name: http, port: 80}, {name: https, port: 443}]}}"
)
GATEWAY = "Gateway gw: {spec: {selector: {istio: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.com]}]}}"


def objects(text: str) -> list[Document]:
    """Objects from lines `Kind name: {…}` or `Kind namespace/name: {…}`; the namespace is shop unless it is said."""
    found = []
    for title, body in yaml.safe_load(text).items():
        kind, _, full = title.partition(" ")
        namespace, slash, name = full.rpartition("/")
        body = body or {}
        meta: dict[str, Any] = {"name": name, **body.pop("metadata", {})}
        if kind not in ("Namespace", "Node", "CustomResourceDefinition") and not kind.endswith("WebhookConfiguration"):
            meta["namespace"] = namespace if slash else "shop"
        version = KINDS[kind].api_version if kind in KINDS else VERSIONS.get(kind, "v1")
        found.append(Document({"apiVersion": version, "kind": kind, "metadata": meta, **body}, "", 1))
    return found


def codes(*parts: str) -> list[str]:
    mesh = Mesh(objects("\n".join(parts)))
    for analyzer in ANALYZERS:
        analyzer.analyze(mesh)
    return sorted(f"{message.type.code[-4:]} {message.resource.name}" for message in mesh.results())


def route(host: str, more: str = "", spec: str = "hosts: [a]") -> str:
    return f"VirtualService vs: {{spec: {{{spec}, http: [{{route: [{{destination: {{host: {host}{more}}}}}]}}]}}}}"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([SERVICE, POD, NAMESPACE, route("a")], []),
        ([SERVICE, POD, NAMESPACE, route("a.shop.svc.cluster.local")], []),
        ([SERVICE, POD, NAMESPACE, route("b")], ["0101 vs"]),
        ([SERVICE, POD, NAMESPACE, route("a", ", port: {number: 81}")], ["0101 vs"]),
        ([INGRESS, INGRESS_SERVICE, NAMESPACE, route("gw")], ["0112 vs"]),
        ([INGRESS, INGRESS_SERVICE, NAMESPACE, route("gw", ", port: {number: 443}")], []),
        ([SERVICE, POD, NAMESPACE, route("a", ", subset: v1")], ["0101 vs"]),
        (
            [
                SERVICE,
                POD,
                NAMESPACE,
                "DestinationRule a: {spec: {host: a, subsets: [{name: v1}]}}",
                route("a", ", subset: v1"),
            ],
            [],
        ),
        ([SERVICE, POD, "DestinationRule a: {spec: {host: a, subsets: [{name: v1, labels: {v: '1'}}]}}"], ["0173 a"]),
        (["DestinationRule a: {spec: {host: a}}"], ["0174 a"]),
        ([SERVICE, POD, "DestinationRule a: {spec: {host: a, trafficPolicy: {tls: {mode: SIMPLE}}}}"], ["0128 a"]),
        (
            [
                "ServiceEntry a: {spec: {hosts: ['*.a.com'], ports: [{number: 80, name: http, protocol: HTTP}]}}",
                NAMESPACE,
                route("x.a.com"),
            ],
            [],
        ),
        (
            [
                "ServiceEntry far/a: {spec: {hosts: [a.com], exportTo: [.], ports: [{number: 80, name: http, protocol: HTTP}]}}",
                NAMESPACE,
                route("a.com"),
            ],
            ["0101 vs"],
        ),
        ([SERVICE, POD, NAMESPACE, route("a", spec="hosts: [a.com], gateways: [gw]")], ["0101 vs", "0132 vs"]),
        (
            [
                SERVICE,
                POD,
                NAMESPACE,
                INGRESS,
                INGRESS_SERVICE,
                GATEWAY,
                route("a", spec="hosts: [a.com], gateways: [gw]"),
            ],
            [],
        ),
        (
            [
                SERVICE,
                POD,
                NAMESPACE,
                INGRESS,
                INGRESS_SERVICE,
                GATEWAY,
                route("a", spec="hosts: [b.com], gateways: [gw]"),
            ],
            ["0132 vs"],
        ),
        ([GATEWAY], ["0101 gw"]),
        ([GATEWAY, INGRESS], ["0162 gw"]),
        (
            [
                INGRESS,
                INGRESS_SERVICE,
                "Gateway gw: {spec: {selector: {istio: gw}, servers: [{port: {number: 443, name: a, protocol: HTTPS}, "
                "hosts: [a.com], tls: {mode: SIMPLE, credentialName: c}}]}}",
            ],
            ["0101 gw"],
        ),
        ([INGRESS, INGRESS_SERVICE, GATEWAY, GATEWAY.replace("Gateway gw", "Gateway g2")], ["0145 g2", "0145 gw"]),
        (
            [INGRESS, INGRESS_SERVICE, GATEWAY, GATEWAY.replace("Gateway gw", "Gateway g2").replace("a.com", "b.com")],
            [],
        ),
        (["Namespace shop: {}"], ["0102 shop"]),
        (["Namespace kube-system: {}", "Namespace istio-system: {}"], []),
        (["Namespace shop: {metadata: {labels: {istio-injection: disabled}}}"], []),
        (["Namespace shop: {metadata: {labels: {istio-injection: enabled, istio.io/rev: a}}}"], ["0123 shop"]),
        ([NAMESPACE, "Pod a: {spec: {containers: [{name: app, image: x}]}}"], ["0103 a"]),
        ([NAMESPACE, "Pod a: {spec: {hostNetwork: true, containers: [{name: app, image: x}]}}"], []),
        (
            [
                NAMESPACE,
                "Pod a: {spec: {containers: [{name: app, image: x}], initContainers: [{name: istio-proxy, image: y}]}}",
            ],
            [],
        ),
        (["Service a: {spec: {ports: [{name: web, port: 80}]}}"], ["0118 a"]),
        (["Service a: {spec: {ports: [{name: web, port: 80, appProtocol: http}]}}"], []),
        (["Service a: {spec: {ports: [{name: web, port: 53, protocol: UDP}, {name: db, port: 3306}]}}"], []),
        (["Service a: {spec: {type: ExternalName, externalName: b.com, ports: [{name: tcp, port: 80}]}}"], ["0150 a"]),
        (
            ["Sidecar a: {spec: {egress: [{hosts: ['./*']}]}}", "Sidecar b: {spec: {egress: [{hosts: ['./*']}]}}"],
            ["0111 a", "0111 b"],
        ),
        (
            [
                "Sidecar a: {spec: {egress: [{hosts: ['./*']}]}}",
                "Sidecar other/b: {spec: {egress: [{hosts: ['./*']}]}}",
            ],
            [],
        ),
        (["Sidecar a: {spec: {workloadSelector: {labels: {app: b}}, egress: [{hosts: ['./*']}]}}", POD], ["0101 a"]),
        ([POD, NAMESPACE, "AuthorizationPolicy a: {spec: {selector: {matchLabels: {app: b}}}}"], ["0127 a"]),
        ([POD, NAMESPACE, "AuthorizationPolicy a: {spec: {selector: {matchLabels: {app: a}}}}"], []),
        (
            [POD, NAMESPACE, "AuthorizationPolicy a: {spec: {rules: [{from: [{source: {namespaces: [sh*, moon]}}]}]}}"],
            ["0101 a"],
        ),
        (["Telemetry a: {spec: {accessLogging: [{}]}}"], ["0157 a"]),
        (["Telemetry a: {}", "Telemetry b: {spec: {}}"], ["0160 a", "0160 b"]),
        (
            ["EnvoyFilter a: {spec: {configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}}"],
            ["0133 a", "0151 a"],
        ),
        (
            ["EnvoyFilter a: {spec: {priority: 1, configPatches: [{applyTo: CLUSTER, patch: {operation: REMOVE}}]}}"],
            ["0133 a"],
        ),
        (
            ["ServiceEntry a: {spec: {hosts: [a.com], ports: [{number: 5, name: x, protocol: TCP}]}}"],
            ["0133 a", "0134 a"],
        ),
        (["PeerAuthentication a: {spec: {mtls: {mode: HARD}}}"], ["0106 a"]),
        (["Pod a: {spec: {containers: 5}}"], ["0106 a"]),
        (["Service a: {metadata: {annotations: {no.istio.io/such: x}}}"], ["0108 a"]),
        (["Service a: {metadata: {annotations: {proxy.istio.io/config: x}}}"], ["0107 a"]),
        (
            ["Service a: {metadata: {annotations: {no.istio.io/such: x, galley.istio.io/analyze-suppress: IST0108}}}"],
            [],
        ),
    ],
)
def test_analyzers(parts: list[str], expected: list[str]) -> None:
    assert codes(*parts) == expected
