"""describe, authz check, check-inject: objects and dumps in, istioctl's lines out."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mizzen.istioctl import authz, injectors
from mizzen.istioctl.compare import comparison
from mizzen.istioctl.describe import World, describe_pod, describe_service, target_port
from mizzen.up.install import Plan, injector

POD: dict[str, Any] = yaml.safe_load("""
metadata: {name: cart-1, namespace: shop, labels: {app: cart, version: v1}}
spec:
  containers:
  - {name: web, ports: [{containerPort: 8000, name: http}, {containerPort: 53, protocol: UDP}]}
  - {name: istio-proxy, ports: [{containerPort: 15090}]}
status: {phase: Running, containerStatuses: [{name: web, ready: true}, {name: istio-proxy, ready: true}]}
""")
SERVICE: dict[str, Any] = yaml.safe_load("""
metadata: {name: cart, namespace: shop}
spec: {selector: {app: cart}, ports: [{name: http, port: 80, targetPort: http}, {port: 53, protocol: UDP}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}
""")


def without_proxy() -> dict[str, Any]:
    return {**POD, "spec": {"containers": POD["spec"]["containers"][:1]}}


def test_a_pod_and_its_service() -> None:
    text = describe_pod(POD, World(namespace="shop", services=[SERVICE]))
    assert text.splitlines()[:6] == [
        "Pod: cart-1",
        "   Pod Revision: default",
        "   Pod Ports: 8000 (web), 53/UDP (web), 15090 (istio-proxy)",
        "-" * 20,
        "Service: cart",
        "   Port: http 80/HTTP targets pod port 8000",
    ]
    assert "Effective PeerAuthentication:\n   Workload mTLS mode: PERMISSIVE\n" in text


def test_a_pod_outside_the_mesh() -> None:
    world = World(namespace="default", services=[SERVICE])
    assert "WARNING: cart-1.shop is not part of mesh; no Istio sidecar" in describe_pod(without_proxy(), world)
    assert "Service: cart.shop" in describe_pod(without_proxy(), world, ignore_unmeshed=True)


def test_warnings() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {
            "securityContext": {"runAsUser": 1337},
            "containers": [{"name": "web"}, {"name": "istio-proxy"}],
        },
        "status": {"phase": "Running", "containerStatuses": [{"name": "web", "ready": False}]},
    }
    lines = describe_pod(pod, World(namespace="shop")).splitlines()
    for line in (
        "   Pod does not expose ports",
        "WARNING: Pod p Container web NOT READY",
        "   WARNING: User ID (UID) 1337 is reserved for the sidecar proxy.",
        "Suggestion: add 'app' label to pod for Istio telemetry.",
        "Suggestion: add 'version' label to pod for Istio telemetry.",
    ):
        assert line in lines
    pending = describe_pod({**pod, "status": {"phase": "Pending"}}, World(namespace="shop"))
    assert pending.splitlines()[-1] == "   Pod is not Running (Pending)"


def test_services_without_pods() -> None:
    assert "Service cart has no pods." in describe_service(SERVICE, World(namespace="shop"))
    world = World(namespace="shop", pods=[without_proxy()])
    assert "Service cart has no Istio pods." in describe_service(SERVICE, world)


def test_a_gateway_leads_to_a_service() -> None:
    gateway = yaml.safe_load("""
metadata: {name: front, namespace: shop}
spec: {selector: {app: cart}, servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]}
""")
    routes = yaml.safe_load("""
metadata: {name: cart, namespace: shop}
spec:
  gateways: [front]
  hosts: ["*"]
  http: [{match: [{uri: {prefix: /cart}}], route: [{destination: {host: cart}}]}]
""")
    world = World(namespace="shop", services=[SERVICE], pods=[POD], gateways=[gateway], virtual_services=[routes])
    text = describe_service(SERVICE, world)
    assert "Exposed on Ingress Gateway http://192.0.2.1:8080\nVirtualService: cart\n   Match: /cart*\n" in text


@pytest.mark.parametrize(("target", "expected"), [("http", 8000), (8000, 8000), ("none", None), (None, 80)])
def test_target_ports(target: Any, expected: int | None) -> None:
    assert target_port({"port": 80, "targetPort": target}, POD) == expected


RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"


def test_policies_of_a_proxy() -> None:
    filters = [
        {"@type": RBAC, "rules": {"action": "DENY", "policies": {"ns[a]-policy[no]-rule[0]": {}}}},
        {"@type": RBAC, "rules": {"policies": {f"ns[a]-policy[yes]-rule[{n}]": {} for n in range(2)}}},
        {"@type": RBAC, "shadow_rules": {"policies": {"istio-ext-authz-x-ns[a]-policy[ask]-rule[0]": {}}}},
        {"@type": RBAC, "rules": {}},
    ]
    listener = {"filter_chains": [{"filters": [{"typed_config": one} for one in filters]}]}
    part = {"@type": "x.ListenersConfigDump", "static_listeners": [{"listener": listener}]}
    assert authz.rows({"configs": [part]}) == [
        ("DENY", "no.a", "1"),
        ("ALLOW", "_anonymous_match_nothing_", "1"),
        ("ALLOW", "yes.a", "2"),
        ("CUSTOM", "ask.a", "1"),
    ]


@pytest.mark.parametrize(
    ("namespace", "pod", "injected", "reason"),
    [
        ({"istio-injection": "enabled"}, {}, True, "Namespace label istio-injection=enabled matches"),
        ({"istio.io/rev": "default"}, {}, True, "Namespace label istio.io/rev=default matches"),
        ({}, {"sidecar.istio.io/inject": "true"}, True, "Pod label sidecar.istio.io/inject=true matches"),
        (
            {"istio-injection": "enabled"},
            {"sidecar.istio.io/inject": "false"},
            False,
            "Pod has sidecar.istio.io/inject=false label, preventing injection",
        ),
        (
            {"istio-injection": "disabled"},
            {},
            False,
            "Namespace has istio-injection=disabled label, preventing injection",
        ),
        ({}, {}, False, injectors.NO_MATCH),
    ],
)
def test_who_injects(namespace: dict[str, str], pod: dict[str, str], injected: bool, reason: str) -> None:
    (verdict,) = injectors.verdicts([injector(Plan(host="192.0.2.1"))], namespace, pod)
    assert (verdict.injected, verdict.reason) == (injected, reason)


def test_two_injectors_are_one_too_many() -> None:
    one = injector(Plan(host="192.0.2.1"))
    other = {**one, "metadata": {**one["metadata"], "name": "second"}}
    found = injectors.verdicts([one, other], {"istio-injection": "enabled"}, {})
    assert injectors.warning(found).startswith("ERROR: multiple webhooks")
    assert injectors.warning([]).startswith("ERROR: no injection webhook")


def test_numbers_do_not_differ_by_their_spelling() -> None:
    def dump(value: Any) -> dict[str, Any]:
        cluster = {"name": "a", "x": [value]}
        return {"configs": [{"@type": "x.ClustersConfigDump", "dynamic_active_clusters": [{"cluster": cluster}]}]}

    assert comparison(dump(100.0), dump(100)).startswith("Clusters Match\n")
    assert comparison(dump(100.5), dump(100)).startswith("Clusters Don't Match\n")
