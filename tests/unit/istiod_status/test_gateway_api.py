"""Statuses of the Gateway API's objects: which condition, which reason, for which mistake."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.manifest import load
from mizzen.istiod.config.store import decode
from mizzen.istiod.gateway_api.statuses import statuses
from mizzen.istiod.objects import Objects
from mizzen.istiod.status.gateway_reporter import following
from tests.unit.istiod_status.certificates import secret

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: istio, generation: 1}
spec: {controllerName: istio.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra, generation: 4}
spec:
  gatewayClassName: istio
  listeners:
  - {name: web, port: 80, protocol: HTTP, hostname: "*.shop.test", allowedRoutes: {namespaces: {from: All}}}
  - {name: own, port: 8080, protocol: HTTP}
"""
FRONT = """
---
apiVersion: v1
kind: Service
metadata: {name: edge-istio, namespace: infra}
spec: {type: LoadBalancer, ports: [{name: web, port: 80}, {name: own, port: 8080}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.9}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: edge-istio-1, namespace: infra, labels: {kubernetes.io/service-name: edge-istio}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.5], conditions: {ready: true}}]
ports: [{name: web, port: 80}]
"""
BACKEND = """
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
"""
ROUTE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop, generation: 2}
spec:
  parentRefs: [PARENT]
  hostnames: [HOST]
  rules: [{backendRefs: [BACKEND]}]
"""
PARENT, BACKEND_REF, HOST = "{name: edge, namespace: infra}", "{name: cart, port: 80}", "cart.shop.test"


def route(parent: str = PARENT, backend: str = BACKEND_REF, host: str = HOST) -> str:
    return ROUTE.replace("PARENT", parent).replace("BACKEND", backend).replace("HOST", host)


def of(text: str) -> dict[str, Any]:
    """Statuses by kind/name."""
    objects = Objects.of([decode(document.object) for document in load(text)])
    return {f"{kind}/{key[1]}": status for (kind, key), status in statuses(objects, "cluster.local").items()}


def brief(conditions: list[dict[str, Any]]) -> dict[str, str]:
    return {one["type"]: f"{one['status']} {one['reason']}" for one in conditions}


GOOD = {"Accepted": "True Accepted", "ResolvedRefs": "True ResolvedRefs"}


def test_all_is_well() -> None:
    found = of(GATEWAY + FRONT + BACKEND + route())
    gateway = found["K8sGateway/edge"]
    assert brief(gateway["conditions"]) == {"Accepted": "True Accepted", "Programmed": "True Programmed"}
    assert all(one["observedGeneration"] == 4 for one in gateway["conditions"])
    assert gateway["addresses"] == [{"type": "IPAddress", "value": "192.0.2.9"}]
    web, own = gateway["listeners"]
    assert (web["attachedRoutes"], own["attachedRoutes"]) == (1, 0)
    assert [kind["kind"] for kind in web["supportedKinds"]] == ["HTTPRoute", "GRPCRoute"]
    assert brief(web["conditions"]) == {**GOOD, "Conflicted": "False NoConflicts", "Programmed": "True Programmed"}
    (parent,) = found["HTTPRoute/cart"]["parents"]
    assert parent["controllerName"] == "istio.io/gateway-controller"
    expected = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "infra"}
    assert parent["parentRef"] == expected
    assert brief(parent["conditions"]) == GOOD
    assert brief(found["GatewayClass/istio"]["conditions"]) == {"Accepted": "True Accepted"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (route(host="cart.other.test"), "False NoMatchingListenerHostname"),
        (route(parent="{name: edge, namespace: infra, sectionName: own}"), "False NotAllowedByListeners"),
        (route(parent="{name: edge, namespace: infra, sectionName: none}"), "False NoMatchingParent"),
        (route(parent="{name: edge, namespace: infra, port: 81}"), "False NoMatchingParent"),
        (route(parent="{kind: Service, group: '', name: cart}"), "True Accepted"),
        (route(parent="{kind: Service, group: '', name: absent}"), "False NoMatchingParent"),
    ],
)
def test_why_a_route_is_not_accepted(changed: str, expected: str) -> None:
    (parent,) = of(GATEWAY + FRONT + BACKEND + changed)["HTTPRoute/cart"]["parents"]
    assert brief(parent["conditions"]) == {"Accepted": expected, "ResolvedRefs": "True ResolvedRefs"}


def test_a_gateway_of_others_gets_no_word_from_us() -> None:
    assert of(GATEWAY + BACKEND + route(parent="{name: foreign}"))["HTTPRoute/cart"] == {"parents": []}


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("{name: absent, port: 80}", "False BackendNotFound"),
        ("{name: cart, namespace: other, port: 80}", "False RefNotPermitted"),
        ("{name: cart, kind: Bucket, group: storage.example, port: 80}", "False InvalidKind"),
        ("{name: cart}", "False UnsupportedValue"),
        (
            "{name: cart.shop.svc.cluster.local, kind: Hostname, group: networking.istio.io, port: 80}",
            "True ResolvedRefs",
        ),
    ],
)
def test_why_references_are_not_resolved(backend: str, expected: str) -> None:
    found = of(GATEWAY + FRONT + BACKEND + route(backend=backend))
    (parent,) = found["HTTPRoute/cart"]["parents"]
    assert brief(parent["conditions"]) == {"Accepted": "True Accepted", "ResolvedRefs": expected}
    assert found["K8sGateway/edge"]["listeners"][0]["attachedRoutes"] == 1, "attached all the same"


def test_an_unsupported_filter() -> None:
    text = route().replace(
        "rules: [{", "rules: [{filters: [{type: ExtensionRef, extensionRef: {group: a.b, kind: C, name: d}}], "
    )
    (parent,) = of(GATEWAY + FRONT + BACKEND + text)["HTTPRoute/cart"]["parents"]
    assert brief(parent["conditions"])["Accepted"] == "False UnsupportedValue"


LISTENERS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: istio
  listeners: [LISTENERS]
"""
TLS = "{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [REF]}}"


def listener(text: str, more: str = "") -> dict[str, str]:
    return brief(of(LISTENERS.replace("LISTENERS", text) + more)["K8sGateway/edge"]["listeners"][0]["conditions"])


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        ("{name: a, port: 80, protocol: UDP}", "", {"Accepted": "False UnsupportedProtocol"}),
        (TLS.replace("REF", "{name: c}"), "", {"ResolvedRefs": "False InvalidCertificateRef"}),
        (TLS.replace("REF", "{name: c, namespace: x}"), "", {"ResolvedRefs": "False RefNotPermitted"}),
        (TLS.replace("REF", "{name: c, kind: Box, group: a.b}"), "", {"ResolvedRefs": "False InvalidCertificateRef"}),
        (
            TLS.replace("REF", "{name: c}"),
            secret("infra", "c", good=False),
            {"ResolvedRefs": "False InvalidCertificateRef"},
        ),
    ],
)
def test_listeners_that_are_not_served(text: str, more: str, expected: dict[str, str]) -> None:
    found = listener(text, more)
    assert found["Programmed"] == "False Invalid"
    assert expected.items() <= found.items()


def test_a_listener_with_its_certificate() -> None:
    found = listener(TLS.replace("REF", "{name: c}"), secret("infra", "c", good=True))
    assert (found["Programmed"], found["ResolvedRefs"]) == ("True Programmed", "True ResolvedRefs")


def test_kinds_that_do_not_fit() -> None:
    text = "{name: a, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}, {kind: TCPRoute}]}}"
    status = of(LISTENERS.replace("LISTENERS", text))["K8sGateway/edge"]["listeners"][0]
    assert brief(status["conditions"])["ResolvedRefs"] == "False InvalidRouteKinds"
    assert [kind["kind"] for kind in status["supportedKinds"]] == ["HTTPRoute"]


def test_two_protocols_on_one_port() -> None:
    text = "{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: TCP}"
    assert listener(text)["Conflicted"] == "True ProtocolConflict"


def gateway(text: str) -> dict[str, str]:
    return brief(of(text)["K8sGateway/edge"]["conditions"])


def test_what_is_in_front_of_a_gateway() -> None:
    assert gateway(GATEWAY)["Programmed"] == "False AddressNotAssigned", "no Service"
    assert gateway(GATEWAY + FRONT.replace("ready: true", "ready: false"))["Programmed"] == "False AddressNotAssigned"
    assert gateway(GATEWAY + FRONT.replace("[{ip: 192.0.2.9}]", "[]"))["Programmed"] == "False AddressNotAssigned"
    assert gateway(GATEWAY + FRONT.replace(", {name: own, port: 8080}", ""))["Programmed"] == "False AddressNotAssigned"
    inside = of(GATEWAY + FRONT.replace("LoadBalancer", "ClusterIP"))["K8sGateway/edge"]
    assert brief(inside["conditions"])["Programmed"] == "True Programmed"
    assert inside["addresses"] == [{"type": "Hostname", "value": "edge-istio.infra.svc.cluster.local"}]


def test_some_listeners_or_none() -> None:
    good, bad = "{name: a, port: 80, protocol: HTTP}", "{name: b, port: 81, protocol: UDP}"
    assert gateway(LISTENERS.replace("LISTENERS", f"{good}, {bad}"))["Accepted"] == "True ListenersNotValid"
    assert gateway(LISTENERS.replace("LISTENERS", bad))["Accepted"] == "False ListenersNotValid"


def test_parameters() -> None:
    named = GATEWAY.replace(
        "gatewayClassName: istio",
        "gatewayClassName: istio\n  infrastructure: {parametersRef: {group: '', kind: ConfigMap, name: opts}}",
    )
    options = "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: opts, namespace: infra}\ndata: {DATA}\n"
    assert gateway(named)["Accepted"] == "False InvalidParameters"
    assert gateway(named + options.replace("DATA", "service: 'spec: {type: ClusterIP}'"))["Accepted"] == "True Accepted"
    assert (
        gateway(named + options.replace("DATA", "podDisruptionBudget: '{}'"))["Accepted"] == "False InvalidParameters"
    )


POLICY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: cart, namespace: shop, generation: 3}
spec:
  targetRefs: [{group: "", kind: Service, name: TARGET}]
  validation: {hostname: cart.test, CA}
"""
SYSTEM = "wellKnownCACertificates: System"


@pytest.mark.parametrize(
    ("target", "roots", "expected"),
    [
        ("cart", SYSTEM, GOOD),
        ("absent", SYSTEM, {**GOOD, "Accepted": "False TargetNotFound"}),
        (
            "cart",
            "caCertificateRefs: [{group: '', kind: ConfigMap, name: none}]",
            {"Accepted": "False NoValidCACertificate", "ResolvedRefs": "False InvalidCACertificateRef"},
        ),
        (
            "cart",
            "caCertificateRefs: [{group: a.b, kind: Box, name: none}]",
            {"Accepted": "False NoValidCACertificate", "ResolvedRefs": "False InvalidKind"},
        ),
    ],
)
def test_policies(target: str, roots: str, expected: dict[str, str]) -> None:
    text = GATEWAY + FRONT + BACKEND + route() + POLICY.replace("TARGET", target).replace("CA}", roots + "}")
    (ancestor,) = of(text)["BackendTLSPolicy/cart"]["ancestors"]
    kind = "Gateway" if target == "cart" else "Service"
    assert ancestor["ancestorRef"]["kind"] == kind
    assert brief(ancestor["conditions"]) == expected


def test_others_entries_and_times_stay() -> None:
    (entry,) = of(GATEWAY + FRONT + BACKEND + route())["HTTPRoute/cart"]["parents"]
    foreign = {"parentRef": {"name": "x"}, "controllerName": "other.example/c", "conditions": []}
    first = following({"parents": [foreign]}, {"parents": [entry]}, "t1")
    second = following(first, {"parents": [entry]}, "t2")
    assert first == second
    assert first["parents"][0] == foreign
    assert {one["lastTransitionTime"] for one in first["parents"][1]["conditions"]} == {"t1"}
    assert following(first, {"parents": []}, "t3") == {"parents": [foreign]}
