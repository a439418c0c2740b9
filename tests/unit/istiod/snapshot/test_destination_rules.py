"""Which DestinationRule holds: client's namespace, service's namespace, root; exportTo; merging."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api import kinds
from mizzen.istiod.snapshot.destination_rules import DestinationRules

HOST = "a.shop.svc.cluster.local"


def rule(namespace: str, name: str, host: str = HOST, **spec: Any) -> Any:
    return kinds.decode(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"host": host, **spec},
        }
    )


def found(objects: list[Any], client: str) -> list[tuple[str, str]]:
    rules = DestinationRules.build(objects, "istio-system", ["*"], "cluster.local")
    return [source for one in rules.find(client, HOST, "shop") for source in one.sources]


@pytest.mark.parametrize(
    ("objects", "client", "expected"),
    [
        ([], "client", []),
        ([rule("shop", "s"), rule("client", "c"), rule("istio-system", "r")], "client", [("client", "c")]),
        ([rule("shop", "s"), rule("istio-system", "r")], "client", [("shop", "s")]),
        ([rule("istio-system", "r")], "client", [("istio-system", "r")]),
        ([rule("shop", "s", exportTo=["."]), rule("istio-system", "r")], "client", [("istio-system", "r")]),
        ([rule("shop", "s", exportTo=["client"])], "client", [("shop", "s")]),
        ([rule("shop", "s", exportTo=["other"])], "client", []),
        ([rule("client", "w", "*.cluster.local"), rule("client", "e")], "client", [("client", "e")]),
        ([rule("client", "w", "*.cluster.local"), rule("shop", "e")], "client", [("client", "w")]),
        ([rule("istio-system", "r", exportTo=["."])], "istio-system", [("istio-system", "r")]),
        ([rule("shop", "short", "a")], "client", [("shop", "short")]),
        ([rule("shop", "s1"), rule("shop", "s2")], "client", [("shop", "s1"), ("shop", "s2")]),
        ([rule("other", "o")], "client", []),
    ],
)
def test_lookup(objects: list[Any], client: str, expected: list[tuple[str, str]]) -> None:
    assert found(objects, client) == expected


def test_merge_adds_subsets_and_keeps_the_first_policy() -> None:
    policy = {"loadBalancer": {"simple": "RANDOM"}}
    objects = [
        rule("shop", "s1", subsets=[{"name": "v1", "labels": {"v": "1"}}]),
        rule("shop", "s2", subsets=[{"name": "v1", "labels": {"v": "9"}}, {"name": "v2"}], trafficPolicy=policy),
    ]
    (merged,) = DestinationRules.build(objects, "istio-system", ["*"], "").find("client", HOST, "shop")
    assert [(subset.name, dict(subset.labels)) for subset in merged.spec.subsets] == [("v1", {"v": "1"}), ("v2", {})]
    assert merged.spec.traffic_policy is not None


def test_other_export_stays_apart() -> None:
    objects = [rule("shop", "s1", exportTo=["*"]), rule("shop", "s2", exportTo=["client"])]
    rules = DestinationRules.build(objects, "istio-system", ["*"], "")
    assert len(rules.find("client", HOST, "shop")) == 2
    assert len(rules.find("else", HOST, "shop")) == 1
