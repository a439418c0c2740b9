"""AdmissionReviews: who is injected, how refusals are answered, what the path says."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from mizzen.api.errors import Invalid
from mizzen.istiod.inject import InjectionConfig, Settings, admit, admit_json
from mizzen.istiod.inject.config import read_config
from mizzen.istiod.inject.decision import webhook_selects
from mizzen.istiod.inject.webhook import BadRequest, path_variables


def pod(**metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "app", "image": "i", "ports": [{"containerPort": 80}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **metadata}, "spec": spec}


def review(obj: dict[str, Any], namespace: str = "shop", version: str = "v1") -> dict[str, Any]:
    request = {"uid": "u-1", "namespace": namespace, "operation": "CREATE", "object": obj}
    return {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview", "request": request}


def applied(obj: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A JSONPatch applied, by the few operations that there are."""
    result: dict[str, Any] = json.loads(json.dumps(obj))
    for operation in json.loads(base64.b64decode(answer["response"]["patch"])):
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = result
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        if isinstance(place, list):
            place.append(operation["value"]) if last == "-" else place.__setitem__(int(last), operation["value"])
        elif operation["op"] == "remove":
            del place[last]
        else:
            place[last] = operation["value"]
    return result


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_pod_is_injected(version: str) -> None:
    obj = pod()
    answer = admit(review(obj, version=version), Settings(native_sidecars=True))
    assert answer["apiVersion"] == f"admission.k8s.io/{version}"
    assert answer["response"]["uid"] == "u-1"
    assert answer["response"]["patchType"] == "JSONPatch"
    injected = applied(obj, answer)
    assert [entry["name"] for entry in injected["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]
    owner = {entry["name"]: entry.get("value") for entry in injected["spec"]["initContainers"][1]["env"]}
    assert owner["ISTIO_META_OWNER"] == "kubernetes://apis/v1/namespaces/shop/pods/p"


def test_left_alone() -> None:
    for obj, namespace in ((pod(labels={"sidecar.istio.io/inject": "false"}), "shop"), (pod(), "kube-system")):
        assert admit(review(obj, namespace), Settings())["response"] == {"uid": "u-1", "allowed": True}


def test_a_bad_annotation_is_refused_by_name() -> None:
    name = "traffic.sidecar.istio.io/excludeInboundPorts"
    response = admit(review(pod(annotations={name: "http"})), Settings())["response"]
    assert not response["allowed"]
    assert name in response["status"]["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
    ],
)
def test_bad_requests(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        admit_json(body, Settings(), content_type=content_type)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "path",
    ["/inject/cluster/c--slash--1/net/n1/other/x", "/inject/:ENV:cluster=c--slash--1:ENV:net=n1:ENV:other=x"],
)
def test_path_variables(path: str) -> None:
    expected = {"ISTIO_META_CLUSTER_ID": "c/1", "ISTIO_META_NETWORK": "n1", "OTHER": "x"}
    assert path_variables(path) == expected
    obj = pod()
    injected = applied(obj, admit(review(obj), Settings(), path))
    assert injected["metadata"]["labels"]["topology.istio.io/network"] == "n1"


NAMESPACES = {
    "on": {"istio-injection": "enabled"},
    "off": {"istio-injection": "disabled"},
    "none": {},
    "rev": {"istio.io/rev": "r1"},
}


@pytest.mark.parametrize(
    ("namespace", "labels", "revision", "expected"),
    [
        ("on", {}, "default", True),
        ("on", {"sidecar.istio.io/inject": "false"}, "default", False),
        ("on", {}, "r1", False),
        ("off", {"sidecar.istio.io/inject": "true"}, "default", False),
        ("none", {}, "default", False),
        ("none", {"sidecar.istio.io/inject": "true"}, "default", True),
        ("none", {"istio.io/rev": "r1"}, "r1", True),
        ("none", {"istio.io/rev": "r1", "sidecar.istio.io/inject": "true"}, "default", False),
        ("rev", {}, "r1", True),
        ("rev", {}, "default", False),
    ],
)
def test_selectors(namespace: str, labels: dict[str, str], revision: str, expected: bool) -> None:
    assert webhook_selects(NAMESPACES[namespace], labels, revision) is expected


def test_policy_and_selectors_of_the_configuration() -> None:
    never = {"matchLabels": {"job": "yes"}}
    config = InjectionConfig(policy="disabled", always_inject_selector=({"matchLabels": {"mesh": "in"}},))
    config = InjectionConfig(
        policy=config.policy, always_inject_selector=config.always_inject_selector, never_inject_selector=(never,)
    )
    settings = Settings(config=config)
    for labels, expected in (({}, False), ({"mesh": "in"}, True), ({"mesh": "in", "job": "yes"}, False)):
        assert ("patch" in admit(review(pod(labels=labels)), settings)["response"]) is expected


def test_own_templates() -> None:
    patch = {"spec": {"priorityClassName": "mesh", "containers": [{"name": "istio-proxy", "env": [{"name": "A"}]}]}}
    config = read_config(
        {"templates": {"extra": patch}, "aliases": {"both": ["sidecar", "extra"]}, "defaultTemplates": ["both"]}
    )
    obj = pod()
    injected = applied(obj, admit(review(obj), Settings(config=config)))
    assert injected["spec"]["priorityClassName"] == "mesh"
    proxy = next(entry for entry in injected["spec"]["containers"] if entry["name"] == "istio-proxy")
    assert proxy["env"][0] == {"name": "A"}
    assert proxy["args"][:2] == ["proxy", "sidecar"]


def test_templates_in_gos_language() -> None:
    text = """
metadata:
  labels:
    rev: {{ .Revision }}
    app-was: {{ index .ObjectMeta.Labels "app" | default "none" | quote }}
  annotations:
    {{- range $n, $c := .Spec.Containers }}
    container-{{ $n }}: "{{ $c.Name }} {{ len $c.Ports }}"
    {{- end }}
spec:
  {{- with .Values.extra }}
  priorityClassName: {{ .priority }}
  {{- end }}
  containers:
  - name: istio-proxy
    env:
    - name: TRUST
      value: {{ .MeshConfig.TrustDomain }}
    {{- range $key, $value := .ProxyConfig.ProxyMetadata }}
    - {name: "{{ $key }}", value: "{{ $value }}"}
    {{- end }}
    {{- if isset .ObjectMeta.Annotations `mesh.test/debug` }}
    args: [debug]
    {{- end }}
"""
    config = read_config({"templates": {"mine": text}, "defaultTemplates": ["sidecar", "mine"]})
    obj = pod(labels={"app": "cart"})
    settings = Settings(config=config, given={"extra": {"priority": "mesh"}})
    injected = applied(obj, admit(review(obj), settings))
    assert injected["metadata"]["labels"]["rev"] == "default"
    assert injected["metadata"]["labels"]["app-was"] == "cart"
    assert injected["metadata"]["annotations"]["container-0"].startswith(obj["spec"]["containers"][0]["name"])
    assert injected["spec"]["priorityClassName"] == "mesh"
    proxy = next(entry for entry in injected["spec"]["containers"] if entry["name"] == "istio-proxy")
    assert {"name": "TRUST", "value": "cluster.local"} in proxy["env"]
    assert proxy["args"][:2] == ["proxy", "sidecar"]


@pytest.mark.parametrize("text", ["a: {{ .Revision", "{{ if }}", "{{ end }}", "a: {{ if .x }}"])
def test_templates_that_cannot_be_read_are_refused_by_name(text: str) -> None:
    with pytest.raises(Invalid, match=r"templates\.mine"):
        read_config({"templates": {"mine": text}})


@pytest.mark.parametrize(
    "text", ["a: {{ nosuch 1 }}", "{{ .Revision.x.y }}", "- {{ .Revision }}", "a: [{{ .Revision }}"]
)
def test_a_template_that_fails_refuses_the_pod_by_name(text: str) -> None:
    config = read_config({"templates": {"mine": text}, "defaultTemplates": ["mine"]})
    response = admit(review(pod()), Settings(config=config))["response"]
    assert not response["allowed"] and "templates.mine" in response["status"]["message"]


def test_injecting_twice_changes_nothing() -> None:
    settings = Settings(native_sidecars=True)
    obj = pod(annotations={"prometheus.io/port": "9000"})
    obj["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/r", "port": 80}}
    once = applied(obj, admit(review(obj), settings))
    again = admit(review(once), settings)["response"]
    operations = json.loads(base64.b64decode(again["patch"])) if "patch" in again else []
    assert operations == []


def test_openshift_ranges() -> None:
    annotations = {"openshift.io/sa.scc.uid-range": "1000650000/10000"}
    answer = admit(review(pod()), Settings(), namespace_annotations=annotations)
    assert "1000659999" in base64.b64decode(answer["response"]["patch"]).decode()


def test_core_dumps_by_annotation() -> None:
    name = "sidecar.istio.io/enableCoreDump"
    obj = pod(annotations={name: "true"})
    for native, expected in (
        (True, ["istio-init", "istio-proxy", "enable-core-dump"]),
        (False, ["istio-init", "enable-core-dump"]),
    ):
        injected = applied(obj, admit(review(obj), Settings(native_sidecars=native)))
        assert [entry["name"] for entry in injected["spec"]["initContainers"]] == expected
