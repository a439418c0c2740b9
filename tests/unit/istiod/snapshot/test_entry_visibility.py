"""How far ServiceEntries may be seen by the labels of their namespaces, whatever they export themselves to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from mizzen.api import kinds, mesh_config
from mizzen.istiod.objects import Change
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options

POLICIES = """
serviceEntryVisibility:
  applyToSidecars: %s
  defaultVisibility: NAMESPACE
  policies:
  - {visibility: NONE, matchingRules: [{namespaceSelector: {matchLabels: {entries: hidden}}}]}
  - visibility: PUBLIC
    matchingRules:
    - namespaceSelector: {matchExpressions: [{key: entries, operator: In, values: [shown]}]}
    - namespaceSelector: {matchLabels: {trusted: "yes"}}
  - {visibility: NONE, matchingRules: [{}]}
"""
LABELS = {
    "hidden": {"entries": "hidden"},
    "shown": {"entries": "shown", "trusted": "yes"},
    "half": {"entries": "shown"},
}


def namespace(name: str, labels: dict[str, str]) -> Any:
    return kinds.decode({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def entry(namespace_name: str, export_to: Iterable[str]) -> Any:
    return kinds.decode(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": "it", "namespace": namespace_name},
            "spec": {
                "hosts": ["it.test"],
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
                "resolution": "DNS",
                "exportTo": list(export_to),
            },
        }
    )


def built(owner: str, export_to: Iterable[str], labels: dict[str, str], applies: str = "true") -> Snapshot:
    objects = [namespace(owner, labels), entry(owner, export_to)]
    return Snapshot.build(objects, mesh_config.read(POLICIES % applies), Options())


def seen_by(snap: Snapshot, owner: str) -> str:
    """all, own (its namespace), none."""
    own, other = (any(svc.host == "it.test" for svc in snap.exports.seen_from(ns)) for ns in (owner, "elsewhere"))
    return "all" if own and other else "own" if own else "none" if not other else "others"


@pytest.mark.parametrize(
    ("owner", "export_to", "seen"),
    [
        ("hidden", (), "none"),
        ("hidden", ("*",), "none"),
        ("shown", (), "all"),
        ("shown", (".",), "own"),
        ("shown", ("elsewhere",), "others"),
        ("half", (), "own"),
        ("half", ("*",), "own"),
        ("half", ("elsewhere",), "none"),
        ("half", ("half", "elsewhere"), "own"),
        ("half", ("~",), "none"),
    ],
)
def test_policies_narrow_what_is_exported(owner: str, export_to: Iterable[str], seen: str) -> None:
    assert seen_by(built(owner, export_to, LABELS[owner]), owner) == seen


def test_sidecars_are_not_under_them_unless_they_are_told() -> None:
    assert seen_by(built("hidden", (), LABELS["hidden"], "false"), "hidden") == "all"


def test_a_namespace_that_is_labelled_later() -> None:
    snap = built("hidden", (), {})
    assert seen_by(snap, "hidden") == "own"
    hidden = namespace("hidden", LABELS["hidden"])
    snap = snap.updated([Change("Namespace", ("", "hidden"), hidden)])
    assert seen_by(snap, "hidden") == "none"
