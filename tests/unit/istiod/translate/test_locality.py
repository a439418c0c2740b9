"""Locality load balancing: shares, failover by region, failover by labels."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2

from mizzen.api.istio.networking import Distribute, Failover, LocalityLoadBalancerSetting
from mizzen.istiod.node import Locality
from mizzen.istiod.registry.model import Endpoint
from mizzen.istiod.translate.locality import Group, balance

PLACE = Locality("east", "east-1", "rack1")


def group(label: str, *endpoints: Endpoint) -> Group:
    region, zone, subzone = (*label.split("/", 2), "", "", "")[:3]
    message = endpoint_components_pb2.LocalityLbEndpoints(
        locality=base_pb2.Locality(region=region, zone=zone, sub_zone=subzone)
    )
    chosen = list(endpoints or (Endpoint("192.0.2.1", 80, "http"),))
    for endpoint in chosen:
        message.lb_endpoints.add().load_balancing_weight.value = endpoint.weight or 1
    message.load_balancing_weight.value = sum(endpoint.weight or 1 for endpoint in chosen)
    return Group(message, chosen)


def outcome(groups: list[Any]) -> list[tuple[str, int, int, int]]:
    """(locality, weight, priority, endpoints) of each."""
    return [
        (
            "/".join(part for part in (g.locality.region, g.locality.zone, g.locality.sub_zone) if part),
            g.load_balancing_weight.value,
            g.priority,
            len(g.lb_endpoints),
        )
        for g in groups
    ]


def test_distribute() -> None:
    share = Distribute(from_="east/*", to={"east/east-1/*": 80, "west/*": 20})
    setting = LocalityLoadBalancerSetting(distribute=(share,))
    groups = [group("east/east-1/rack1"), group("east/east-1/rack2"), group("west/west-1"), group("north")]
    assert outcome(balance(groups, setting, PLACE, {}, False)) == [
        ("east/east-1/rack1", 40, 0, 1),
        ("east/east-1/rack2", 40, 0, 1),
        ("west/west-1", 20, 0, 1),
        ("north", 1, 0, 0),
    ]


def test_distribute_from_elsewhere_changes_nothing() -> None:
    setting = LocalityLoadBalancerSetting(distribute=(Distribute(from_="south/*", to={"west/*": 100}),))
    assert outcome(balance([group("east"), group("west")], setting, PLACE, {}, True)) == [
        ("east", 1, 0, 1),
        ("west", 1, 0, 1),
    ]


@pytest.mark.parametrize("failover", [False, True])
def test_failover_by_nearness(failover: bool) -> None:
    groups = [group(label) for label in ("east/east-1/rack1", "east/east-1/rack2", "east/east-2", "west")]
    priorities = [
        priority for _, _, priority, _ in outcome(balance(groups, LocalityLoadBalancerSetting(), PLACE, {}, failover))
    ]
    assert priorities == ([0, 1, 2, 3] if failover else [0, 0, 0, 0])


def test_failover_to_a_region() -> None:
    setting = LocalityLoadBalancerSetting(failover=(Failover(from_="east", to="north"),))
    groups = [group("east/east-1/rack1"), group("west"), group("north")]
    assert [priority for _, _, priority, _ in outcome(balance(groups, setting, PLACE, {}, True))] == [0, 2, 1]


def test_failover_by_labels_splits_localities() -> None:
    setting = LocalityLoadBalancerSetting(failover_priority=("version", "rack=r9"))
    near = Endpoint("192.0.2.1", 80, "http", labels={"version": "v1", "rack": "r9"})
    half = Endpoint("192.0.2.2", 80, "http", labels={"version": "v1"}, weight=3)
    far = Endpoint("192.0.2.3", 80, "http", labels={"version": "v2", "rack": "r9"})
    found = balance([group("east", near, half, far)], setting, PLACE, {"version": "v1"}, True)
    assert outcome(found) == [("east", 1, 0, 1), ("east", 3, 1, 1), ("east", 1, 2, 1)]
