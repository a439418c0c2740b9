"""Strategic merge: what comes first, what merges, what is replaced."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from mizzen.istiod.inject.strategic_merge import merge

POD: dict[str, Any] = {
    "spec": {
        "containers": [{"name": "a", "args": ["1", "2"], "env": [{"name": "X", "value": "1"}]}, {"name": "b"}],
        "tolerations": [{"key": "k"}],
        "nodeName": "n",
    }
}


@pytest.mark.parametrize(
    ("patch", "path", "expected"),
    [
        ({"containers": [{"name": "c"}]}, "containers", ["c", "a", "b"]),
        ({"containers": [{"name": "b", "image": "i"}]}, "containers", ["a", "b"]),
        ({"containers": [{"name": "b"}, {"name": "a"}]}, "containers", ["b", "a"]),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, "containers", ["b"]),
        ({"containers": [{"$patch": "replace"}, {"name": "z"}]}, "containers", ["z"]),
        ({"tolerations": [{"key": "other"}]}, "tolerations", [{"key": "other"}]),
        ({"nodeName": None}, "nodeName", None),
    ],
)
def test_lists(patch: dict[str, Any], path: str, expected: Any) -> None:
    before = copy.deepcopy(POD)
    got = merge(POD, {"spec": patch})["spec"].get(path)
    if path == "containers":
        got = [entry["name"] for entry in got]
    assert got == expected
    assert before == POD


def test_items_merge_by_field() -> None:
    patch = {"spec": {"containers": [{"name": "a", "args": ["3"], "env": [{"name": "Y", "value": "2"}]}]}}
    container = merge(POD, patch)["spec"]["containers"][0]
    assert container["args"] == ["3"]
    assert [entry["name"] for entry in container["env"]] == ["Y", "X"]


def test_finalizers_are_a_set() -> None:
    merged = merge({"metadata": {"finalizers": ["a", "b"]}}, {"metadata": {"finalizers": ["b", "c"]}})
    assert merged["metadata"]["finalizers"] == ["b", "c", "a"]


def test_replace_directive() -> None:
    patch = {"spec": {"securityContext": {"$patch": "replace", "runAsUser": 1}}}
    assert merge({"spec": {"securityContext": {"fsGroup": 2}}}, patch)["spec"]["securityContext"] == {"runAsUser": 1}
