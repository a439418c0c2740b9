"""A container's variables: references, sources, Services, the downward API, and what is missing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mizzen.runtime.kubelet.environment import Missing, environment, references
from mizzen.runtime.kubelet.expand import expand
from mizzen.runtime.kubelet.fields import Facts, UnknownField, escaped, field, quoted, resource
from tests.unit.kubelet.pods import pod

FACTS = Facts("node1", "10.0.0.9", ("10.1.0.2", "fd00::2"), {"cpu": "4", "memory": "8Gi"})
OBJECTS: dict[tuple[str, str], Any] = {
    ("ConfigMap", "conf"): {"metadata": {"namespace": "shop", "name": "conf"}, "data": {"K": "v", "L": "w"}},
    ("Secret", "sec"): {"metadata": {"namespace": "shop"}, "data": {"P": base64.b64encode(b"hush").decode()}},
}


def lookup(kind: str, name: str) -> Any:
    return OBJECTS.get((kind, name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("plain", "plain"), ("$(A)", "1"), ("x$(A)y$(B)z", "x1y2z"), ("$(NONE)", "$(NONE)"), ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"), ("$A", "$A"), ("$(A", "$(A"), ("$", "$"), ("$$", "$"), ("$(C)", "$(A)"), ("$()", "$()"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2", "C": "$(A)"}) == expected


def env(
    *items: dict[str, Any], sources: tuple[dict[str, Any], ...] = (), services: tuple[Any, ...] = ()
) -> dict[str, str]:
    container = {"name": "a", "env": list(items), "envFrom": list(sources)}
    return environment(pod("a"), container, FACTS, lookup, services)


def ref(kind: str, name: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {kind: {"name": name, "key": key, **more}}}


def test_later_values_see_earlier_ones() -> None:
    found = env(
        {"name": "A", "value": "$(B)"}, {"name": "B", "value": "b-$(K)"}, {"name": "C", "value": "$(B)"},
        sources=({"configMapRef": {"name": "conf"}},),
    )  # fmt: skip
    assert found == {"K": "v", "L": "w", "A": "$(B)", "B": "b-v", "C": "b-v"}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (ref("configMapKeyRef", "conf", "K"), {"X": "v"}),
        (ref("secretKeyRef", "sec", "P"), {"X": "hush"}),
        (ref("configMapKeyRef", "conf", "none", optional=True), {}),
        (ref("secretKeyRef", "none", "P", optional=True), {}),
        ({"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"X": "10.1.0.2"}),
        ({"name": "X", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}, {"X": "4"}),
        ({"name": "X"}, {"X": ""}),
    ],
)
def test_values_from(item: dict[str, Any], expected: dict[str, str]) -> None:
    assert env(item) == expected


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (ref("configMapKeyRef", "none", "K"), 'configmap "none" not found'),
        (ref("configMapKeyRef", "conf", "Z"), "couldn't find key Z in ConfigMap shop/conf"),
        (ref("secretKeyRef", "sec", "Z"), "couldn't find key Z in Secret shop/sec"),
    ],
)
def test_what_is_missing_is_named(item: dict[str, Any], text: str) -> None:
    with pytest.raises(Missing, match=text):
        env(item)


def test_whole_objects() -> None:
    assert env(sources=({"secretRef": {"name": "sec"}, "prefix": "S_"},)) == {"S_P": "hush"}
    assert env(sources=({"configMapRef": {"name": "none", "optional": True}},)) == {}
    with pytest.raises(Missing, match='secret "none" not found'):
        env(sources=({"secretRef": {"name": "none"}},))


def service(namespace: str, name: str, address: str = "10.96.0.5") -> dict[str, Any]:
    ports = [{"name": "http-web", "port": 80}, {"port": 53, "protocol": "UDP"}]
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": address, "ports": ports}}


def test_services() -> None:
    found = env(services=(service("shop", "my-web"), service("other", "far"), service("shop", "headless", "None")))
    assert found["MY_WEB_SERVICE_HOST"] == "10.96.0.5"
    assert found["MY_WEB_SERVICE_PORT"] == "80"
    assert found["MY_WEB_SERVICE_PORT_HTTP_WEB"] == "80"
    assert found["MY_WEB_PORT"] == found["MY_WEB_PORT_80_TCP"] == "tcp://10.96.0.5:80"
    assert found["MY_WEB_PORT_53_UDP_PROTO"] == "udp"
    assert not [name for name in found if name.startswith(("FAR", "HEADLESS"))]


def test_without_links_only_the_api_server_is_there() -> None:
    container: dict[str, Any] = {"name": "a"}
    services = (service("shop", "web"), service("default", "kubernetes", "10.96.0.1"))
    found = environment(pod("a", enableServiceLinks=False), container, FACTS, lookup, services)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert "WEB_SERVICE_HOST" not in found


def test_references_are_collected() -> None:
    spec = pod("a", "b", init=({"name": "i", "envFrom": [{"secretRef": {"name": "x"}}]},))
    spec["spec"]["containers"][0]["env"] = [ref("configMapKeyRef", "y", "k"), ref("secretKeyRef", "z", "k")]
    assert references(spec) == {("Secret", "x"), ("ConfigMap", "y"), ("Secret", "z")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web"), ("metadata.namespace", "shop"), ("metadata.uid", "u1"), ("spec.nodeName", "node1"),
        ("status.hostIP", "10.0.0.9"), ("status.podIP", "10.1.0.2"), ("status.podIPs", "10.1.0.2,fd00::2"),
        ("metadata.labels['app']", "shop"), ("metadata.labels['none']", ""), ("metadata.annotations['a/b']", ""),
        ("metadata.labels", 'app="shop"\nzone="a"'),
    ],
)  # fmt: skip
def test_fields(path: str, expected: str) -> None:
    spec = pod("a")
    spec["metadata"]["labels"] = {"zone": "a", "app": "shop"}
    assert field(spec, path, FACTS) == expected


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(UnknownField, match=r"unsupported fieldPath: spec\.containers"):
        field(pod("a"), "spec.containers", FACTS)
    with pytest.raises(UnknownField, match="container none not found"):
        resource(pod("a"), {"containerName": "none", "resource": "limits.cpu"}, {}, FACTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", '"a"'), ('say "x"\\', '"say \\"x\\"\\\\"'), ("a\nb\tc\r", '"a\\nb\\tc\\r"'), ("naïve ☃", '"naïve ☃"'),
        ("\x01\x7f", '"\\x01\\x7f"'), ("\a\b\f\v", '"\\a\\b\\f\\v"'), ("\u200b", '"\\u200b"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)  # fmt: skip
def test_quoting_is_gos(text: str, expected: str) -> None:
    assert quoted(text) == expected


def test_no_labels_is_an_empty_file() -> None:
    assert escaped(None) == ""


@pytest.mark.parametrize(
    ("resources", "what", "divisor", "expected"),
    [
        ({"limits": {"cpu": "1500m"}}, "limits.cpu", None, "2"),
        ({"limits": {"cpu": "1500m"}}, "limits.cpu", "1m", "1500"),
        ({"limits": {"memory": "64Mi"}}, "limits.memory", "1Mi", "64"),
        ({"limits": {"memory": "64Mi"}}, "limits.memory", "0", "67108864"),
        ({}, "limits.memory", "1Gi", "8"),
        ({}, "requests.cpu", None, "0"),
        ({"limits": {"cpu": "2"}}, "requests.cpu", None, "2"),
        ({"limits": {"cpu": "2"}, "requests": {"cpu": "250m"}}, "requests.cpu", "1m", "250"),
    ],
)
def test_resources(resources: dict[str, Any], what: str, divisor: str | None, expected: str) -> None:
    reference = {"resource": what, **({"divisor": divisor} if divisor else {})}
    assert resource(pod("a"), reference, {"name": "a", "resources": resources}, FACTS) == expected
