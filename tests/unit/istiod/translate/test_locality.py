"""Locality load balancing: shares, failover by region, failover by labels."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2

from mizzen.api.istio.destination_rule import ZoneAwareLoadBalancerSetting
from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.istio.networking import Distribute, Failover, LoadBalancerSettings, LocalityLoadBalancerSetting
from mizzen.istiod.node import Locality
from mizzen.istiod.registry.model import Endpoint, Service
from mizzen.istiod.translate.locality import Group, Setting, balance, locality_setting

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
    assert outcome(balance(groups, Setting(setting), PLACE, {}, False)) == [
        ("east/east-1/rack1", 40, 0, 1),
        ("east/east-1/rack2", 40, 0, 1),
        ("west/west-1", 20, 0, 1),
        ("north", 1, 0, 0),
    ]


def test_distribute_from_elsewhere_changes_nothing() -> None:
    setting = LocalityLoadBalancerSetting(distribute=(Distribute(from_="south/*", to={"west/*": 100}),))
    assert outcome(balance([group("east"), group("west")], Setting(setting), PLACE, {}, True)) == [
        ("east", 1, 0, 1),
        ("west", 1, 0, 1),
    ]


@pytest.mark.parametrize("failover", [False, True])
def test_failover_by_nearness(failover: bool) -> None:
    groups = [group(label) for label in ("east/east-1/rack1", "east/east-1/rack2", "east/east-2", "west")]
    priorities = [
        priority
        for _, _, priority, _ in outcome(balance(groups, Setting(LocalityLoadBalancerSetting()), PLACE, {}, failover))
    ]
    assert priorities == ([0, 1, 2, 3] if failover else [0, 0, 0, 0])


def test_failover_to_a_region() -> None:
    setting = LocalityLoadBalancerSetting(failover=(Failover(from_="east", to="north"),))
    groups = [group("east/east-1/rack1"), group("west"), group("north")]
    assert [priority for _, _, priority, _ in outcome(balance(groups, Setting(setting), PLACE, {}, True))] == [0, 2, 1]


def test_failover_by_labels_splits_localities() -> None:
    setting = LocalityLoadBalancerSetting(failover_priority=("version", "rack=r9"))
    near = Endpoint("192.0.2.1", 80, "http", labels={"version": "v1", "rack": "r9"})
    half = Endpoint("192.0.2.2", 80, "http", labels={"version": "v1"}, weight=3)
    far = Endpoint("192.0.2.3", 80, "http", labels={"version": "v2", "rack": "r9"})
    found = balance([group("east", near, half, far)], Setting(setting), PLACE, {"version": "v1"}, True)
    assert outcome(found) == [("east", 1, 0, 1), ("east", 3, 1, 1), ("east", 1, 2, 1)]


def test_zone_aware_routing_keeps_other_regions_behind() -> None:
    zones = ZoneAwareLoadBalancerSetting(failover=(Failover(from_="east", to="west"),))
    groups = [group("north"), group("west"), group("east"), group("east/other")]
    ranked = [
        priority for _, _, priority, _ in outcome(balance(groups, Setting(zones=zones, forced=True), PLACE, {}, False))
    ]
    assert ranked == [2, 1, 0, 0]
    off = Setting(zones=ZoneAwareLoadBalancerSetting(enabled=False))
    assert {priority for _, _, priority, _ in outcome(balance(groups[:2], off, PLACE, {}, True))} == {2, 1}


def test_a_zone_aware_setting_goes_before_others_of_its_level() -> None:
    zones, localities = ZoneAwareLoadBalancerSetting(enabled=False), LocalityLoadBalancerSetting()
    svc = Service("a.b", "b", "a", ())
    both = LoadBalancerSettings(zone_aware_lb_setting=zones, locality_lb_setting=localities)
    assert locality_setting(MeshConfig(), both, svc) == Setting(zones=zones)
    assert locality_setting(
        MeshConfig(zone_aware_lb_setting=zones), LoadBalancerSettings(locality_lb_setting=localities), svc
    ) == Setting(localities)
    close = Service("a.b", "b", "a", (), traffic_distribution="PreferClose")
    found = locality_setting(MeshConfig(zone_aware_lb_setting=zones), None, close)
    assert found is not None and found.forced and found.zones is None
