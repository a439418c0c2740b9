"""kubectl's move to server-side apply, times of applies, YAML as Kubernetes writes it, names in field selectors."""

import json

import pytest

from mizzen.runtime.apiserver.handlers import _selected_name
from mizzen.runtime.apiserver.patching import last_applied, managed, typed
from mizzen.runtime.apiserver.patching.managed import Conflicts, Manager
from mizzen.runtime.apiserver.patching.shapes import struct_shape
from mizzen.runtime.apiserver.requestinfo import parse
from mizzen.runtime.apiserver.yamlout import to_yaml

SHAPE = struct_shape("core/v1.ConfigMap")
KUBECTL = Manager("kubectl", "Apply", "v1")


def config_map(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, "data": data}


def live():
    obj = config_map(a="1", b="1")
    obj["metadata"]["annotations"] = {last_applied.ANNOTATION: json.dumps(config_map(a="1"))}
    owned = [{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
              "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}}}]  # fmt: skip
    return obj, owned


def applied(config, who=KUBECTL, now="2026-02-02T00:00:00Z"):
    obj, owned = live()
    last = last_applied.configuration(obj)
    return managed.applied(
        obj, config, SHAPE, who, now, owned, force=False, empty={}, yields=typed.field_set(last, SHAPE)
    )


def test_what_kubectl_applied_before_is_not_in_its_way():
    result = applied(config_map(a="2"))
    assert result.object["data"] == {"a": "2", "b": "1"}
    text = last_applied.renewed(result.object, config_map(a="2"))["metadata"]["annotations"][last_applied.ANNOTATION]
    assert json.loads(text)["data"] == {"a": "2"}
    with pytest.raises(Conflicts) as refused:
        applied(config_map(a="2", b="2"))
    assert [one.path for one in refused.value.found] == [".data.b"]


def test_an_apply_that_changes_nothing_has_no_time():
    obj, owned = live()
    result = managed.applied(
        obj, config_map(a="1"), SHAPE, KUBECTL, "2026-02-02T00:00:00Z", owned, force=False, empty={}
    )
    (mine,) = [one for one in result.entries if one["manager"] == "kubectl"]
    assert "time" not in mine


def test_yaml_quotes_what_would_be_read_as_something_else():
    tree = {"a": "2026-01-01T00:00:00Z", "b": "12", "c": "plain", "d": "y", "e": "two\nlines\n", "f": "*x", "g": "true"}
    lines = to_yaml(tree).decode().splitlines()
    assert lines[:4] == ['a: "2026-01-01T00:00:00Z"', 'b: "12"', "c: plain", 'd: "y"']
    assert lines[4:] == ["e: |", "  two", "  lines", "f: '*x'", 'g: "true"']


@pytest.mark.parametrize(
    ("method", "query", "name"),
    [
        ("GET", "fieldSelector=metadata.name%3Dopen", "open"),
        ("GET", "watch=1&fieldSelector=metadata.name%3Dopen", "open"),
        ("DELETE", "fieldSelector=metadata.name%3Dopen", "open"),
        ("GET", "fieldSelector=metadata.name!%3Dopen", ""),
        ("GET", "fieldSelector=type%3Dx", ""),
        ("GET", "fieldSelector=nonsense", ""),
        ("GET", "", ""),
    ],
)
def test_the_name_that_a_field_selector_leaves(method, query, name):
    assert _selected_name(parse(method, f"/api/v1/namespaces/n/secrets?{query}")) == name
