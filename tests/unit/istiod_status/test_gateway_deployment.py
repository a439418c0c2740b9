"""What is made for a Gateway."""

from __future__ import annotations

from typing import Any

import yaml

from mizzen.istiod.gateway_api.deployment import covers, is_managed, objects, proxy_container, service_ports
from mizzen.istiod.gateway_api.parameters import BadParameters, patches
from mizzen.istiod.inject import Settings

GATEWAY: dict[str, Any] = yaml.safe_load("""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: edge
  namespace: infra
  uid: u-1
  labels: {team: net}
  annotations: {kubectl.kubernetes.io/last-applied-configuration: x}
spec:
  gatewayClassName: istio
  listeners:
  - {name: Web.Site, port: 80, protocol: HTTP}
  - {name: more, port: 80, protocol: HTTP}
  - {name: web-site, port: 8443, protocol: HTTPS}
""")


def made(gateway: dict[str, Any] = GATEWAY, *parameters: Any) -> dict[str, Any]:
    return {obj["kind"]: obj for obj in objects(gateway, Settings(), parameters)}


def test_names_owners_and_labels() -> None:
    for obj in made().values():
        meta = obj["metadata"]
        assert (meta["name"], meta["namespace"], meta["ownerReferences"][0]["uid"]) == ("edge-istio", "infra", "u-1")
        assert meta["labels"] == {
            "team": "net",
            "gateway.networking.k8s.io/gateway-name": "edge",
            "gateway.networking.k8s.io/gateway-class-name": "istio",
            "gateway.istio.io/managed": "istio.io-gateway-controller",
        }
        assert meta["annotations"] == {}


def test_infrastructure_takes_the_place_of_own_labels() -> None:
    gateway = {
        **GATEWAY,
        "spec": {**GATEWAY["spec"], "infrastructure": {"labels": {"a": "b"}, "annotations": {"c": "d"}}},
    }
    service = made(gateway)["Service"]["metadata"]
    assert "team" not in service["labels"]
    assert (service["labels"]["a"], service["annotations"]) == ("b", {"c": "d"})
    pod = made(gateway)["Deployment"]["spec"]["template"]["metadata"]
    assert (pod["labels"]["a"], pod["annotations"]["c"]) == ("b", "d")


def test_the_proxy() -> None:
    deployment = made()["Deployment"]
    template = deployment["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "15020"
    assert template["spec"]["serviceAccountName"] == "edge-istio"
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    container = proxy_container(deployment)
    assert container["args"][:2] == ["proxy", "router"]
    assert {port["containerPort"] for port in container["ports"]} == {15020, 15021, 15090}
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert env["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/infra/deployments/edge-istio"


def test_ports_are_named_once() -> None:
    ports = service_ports(GATEWAY["spec"]["listeners"])
    assert [(port["name"], port["port"]) for port in ports] == [
        ("status-port", 15021),
        ("web-site", 80),
        ("https-8443", 8443),
    ]


def test_what_annotations_choose() -> None:
    annotations = {
        "networking.istio.io/service-type": "ClusterIP",
        "gateway.istio.io/name-override": "front",
        "gateway.istio.io/service-account": "own",
    }
    gateway = {**GATEWAY, "metadata": {**GATEWAY["metadata"], "annotations": annotations}}
    found = made(gateway)
    assert (found["Service"]["spec"]["type"], found["Service"]["metadata"]["name"]) == ("ClusterIP", "front")
    assert found["ServiceAccount"]["metadata"]["name"] == "own"
    assert found["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == "own"
    assert found["Deployment"]["metadata"]["annotations"] == {}


def test_addresses() -> None:
    def with_addresses(*given: dict[str, str]) -> dict[str, Any]:
        return {**GATEWAY, "spec": {**GATEWAY["spec"], "addresses": list(given)}}

    assert (
        made(with_addresses({"type": "IPAddress", "value": "192.0.2.1"}))["Service"]["spec"]["loadBalancerIP"]
        == "192.0.2.1"
    )
    assert is_managed(GATEWAY)
    assert not is_managed(with_addresses({"type": "Hostname", "value": "ingress.infra"}))


def test_parameters_are_laid_over() -> None:
    own = patches(
        {
            "deployment": "spec: {replicas: 3, template: {spec: {containers: [{name: istio-proxy, image: own:1}]}}}",
            "service": "spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}\nmetadata: {name: other}",
        }
    )
    found = made(GATEWAY, own)
    assert found["Deployment"]["spec"]["replicas"] == 3
    assert proxy_container(found["Deployment"])["image"] == "own:1"
    assert proxy_container(found["Deployment"])["args"]
    service = found["Service"]
    assert service["metadata"]["name"] == "edge-istio"
    ports = {port["port"]: port.get("nodePort") for port in service["spec"]["ports"]}
    assert (service["spec"]["type"], ports) == ("NodePort", {15021: None, 80: 30080, 8443: None})


def test_parameters_that_cannot_be_used() -> None:
    for data in ({"horizontalPodAutoscaler": "{}"}, {"surprise": "{}"}, {"service": "- a"}, {"service": "{"}):
        try:
            patches(data)
        except BadParameters:
            continue
        raise AssertionError(data)


def test_what_is_there_is_not_applied_again() -> None:
    service = made()["Service"]
    stored = {**service, "spec": {**service["spec"], "clusterIP": "10.0.0.1", "sessionAffinity": "None"}}
    stored["spec"]["ports"] = [
        {**port, "targetPort": port["port"], "nodePort": 30000} for port in service["spec"]["ports"]
    ]
    stored["metadata"] = {k: v for k, v in service["metadata"].items() if k != "annotations"}
    assert covers(stored, service)
    assert not covers({**stored, "spec": {**stored["spec"], "type": "NodePort"}}, service)
