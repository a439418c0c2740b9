"""The checked-in CRDs are what the types say, and structural as a kube-apiserver wants them."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mizzen.api.crds import FOLDER, all_crds, text

CRDS = all_crds()


def name(crd: dict[str, Any]) -> str:
    return str(crd["metadata"]["name"])


@pytest.mark.parametrize("crd", CRDS, ids=name)
def test_not_stale(crd: dict[str, Any]) -> None:
    path = FOLDER / f"{crd['spec']['group']}_{crd['spec']['names']['plural']}.yaml"
    assert path.read_text(encoding="utf-8") == text(crd), "run `make generate`"


def test_no_file_too_many() -> None:
    assert len(list(FOLDER.glob("*.yaml"))) == len(CRDS)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for key, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{key}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


@pytest.mark.parametrize("crd", CRDS, ids=name)
def test_structural(crd: dict[str, Any]) -> None:
    versions = crd["spec"]["versions"]
    assert [v["storage"] for v in versions].count(True) == 1
    for version in versions:
        for path, node in nodes(version["schema"]["openAPIV3Schema"]):
            open_ = node.get("x-kubernetes-preserve-unknown-fields") or node.get("x-kubernetes-int-or-string")
            assert "type" in node or open_, path
            assert set(node.get("required", ())) <= set(node.get("properties", ())), path
            assert not ("properties" in node and "additionalProperties" in node), path
            for key in node.get("x-kubernetes-list-map-keys", ()):
                item = node["items"]
                assert key in item["required"] or "default" in item["properties"][key], path
            for rule in node.get("x-kubernetes-validations", ()):
                assert rule["rule"]
                assert rule["message"]


def test_names_and_columns() -> None:
    by_name = {name(crd): crd["spec"] for crd in yaml.safe_load_all("---\n".join(map(text, CRDS)))}
    spec = by_name["virtualservices.networking.istio.io"]
    assert [v["name"] for v in spec["versions"]] == ["v1", "v1beta1", "v1alpha3"]
    assert spec["names"]["shortNames"] == ["vs"]
    assert spec["names"]["categories"] == ["istio-io", "networking-istio-io"]
    assert [c["name"] for c in spec["versions"][0]["additionalPrinterColumns"]] == ["Gateways", "Hosts", "Age"]
    assert by_name["telemetries.telemetry.istio.io"]["versions"][0] | {"schema": 0} == {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
        "schema": 0,
        "subresources": {"status": {}},
    }
    route = by_name["httproutes.gateway.networking.k8s.io"]["versions"][0]["schema"]["openAPIV3Schema"]
    rules = route["properties"]["spec"]["properties"]["rules"]
    assert rules["items"]["properties"]["matches"]["default"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    assert rules["items"]["properties"]["backendRefs"]["items"]["properties"]["weight"]["default"] == 1
