"""Locality load balancing: which setting holds, and what it makes of the localities of a load assignment.

Takes the setting, the proxy's place and labels, and localities with their endpoints; changes weights and priorities of
LocalityLbEndpoints messages. Not here: which endpoints there are (endpoints.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mizzen.api.istio.destination_rule import ZoneAwareLoadBalancerSetting
from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.istio.networking import Failover, LoadBalancerSettings, LocalityLoadBalancerSetting
from mizzen.istiod.node import Locality
from mizzen.istiod.registry.model import Endpoint, Service
from mizzen.istiod.registry.workloads import HOSTNAME, NETWORK, REGION, SUBZONE, ZONE

PREFER_CLOSE = LocalityLoadBalancerSetting(enabled=True, failover_priority=(NETWORK, REGION, ZONE))
PREFER_NODE = LocalityLoadBalancerSetting(enabled=True, failover_priority=(NETWORK, REGION, ZONE, SUBZONE, HOSTNAME))
DISTRIBUTIONS = {"PreferClose": PREFER_CLOSE, "PreferSameZone": PREFER_CLOSE, "PreferSameNode": PREFER_NODE}


class Group(msgspec.Struct):
    """One locality of a load assignment with the endpoints it was made from, in the order of its lb_endpoints."""

    message: Any
    endpoints: list[Endpoint]


class Setting(msgspec.Struct, frozen=True):
    """What holds for one service: one of the two kinds of setting.

    forced: fails over without outlier detection.
    """

    locality: LocalityLoadBalancerSetting | None = None
    zones: ZoneAwareLoadBalancerSetting | None = None
    forced: bool = False

    def fails_over(self, outlier: bool) -> bool:
        return self.forced or outlier

    @property
    def failover_priority(self) -> tuple[str, ...]:
        """Labels that endpoints are ranked by."""
        if self.zones is not None:
            return self.zones.failover_priority
        return self.locality.failover_priority if self.locality is not None else ()

    def depends_on_place(self, outlier: bool) -> bool:
        """Whether proxies in different places are told different weights or priorities."""
        if self.zones is not None:
            return self.forced
        return self.locality is not None and (bool(self.locality.distribute) or self.fails_over(outlier))


def locality_setting(mesh: MeshConfig, balancer: LoadBalancerSettings | None, svc: Service) -> Setting | None:
    """The DestinationRule's setting, else the service's trafficDistribution, else the mesh's; None = none at all.

    On one level a zone-aware setting goes before the other kind, and counts (as "no zones") even when it is switched off.
    """
    if balancer is not None and balancer.zone_aware_lb_setting is not None:
        return _zones(balancer.zone_aware_lb_setting)
    if balancer is not None and balancer.locality_lb_setting is not None:
        return _localities(balancer.locality_lb_setting)
    distribution = DISTRIBUTIONS.get(svc.traffic_distribution)
    if distribution is not None:
        return Setting(distribution, forced=True)
    if mesh.zone_aware_lb_setting is not None:
        return _zones(mesh.zone_aware_lb_setting)
    return _localities(mesh.locality_lb_setting) if mesh.locality_lb_setting is not None else None


def _zones(setting: ZoneAwareLoadBalancerSetting) -> Setting:
    return Setting(zones=setting, forced=setting.enabled is not False)


def _localities(setting: LocalityLoadBalancerSetting) -> Setting | None:
    return None if setting.enabled is False else Setting(setting)


def balance(
    groups: list[Group], setting: Setting | None, place: Locality, labels: Mapping[str, str], outlier: bool
) -> list[Any]:
    """LocalityLbEndpoints with weights and priorities by the setting. outlier: hosts can be ejected."""
    messages = [group.message for group in groups]
    if setting is None or not groups:
        return messages
    if (zones := setting.zones) is not None:
        if not setting.forced:
            return messages
        ranked = _by_labels(groups, zones.failover_priority, labels) if zones.failover_priority else messages
        return _compacted(
            [(one.priority * 3 + _region_rank(one.locality, zones.failover, place), one) for one in ranked]
        )
    own = setting.locality
    assert own is not None  # a Setting has one of the two
    if own.distribute:
        return _distributed(messages, own, place)
    if not setting.fails_over(outlier):
        return messages
    if own.failover_priority:
        out = _by_labels(groups, own.failover_priority, labels)
        return _by_region(out, own.failover, place) if own.failover else out
    return _by_region(messages, own.failover, place)


def _matches(place: tuple[str, str, str], pattern: str) -> bool:
    """Whether a place lies in `region/zone/subzone`, where `*` or missing parts after the region stand for anything."""
    region, zone, subzone = (*pattern.split("/", 2), "", "", "")[:3]
    return (
        region in ("*", place[0])
        and (zone in ("*", "") or zone == place[1])
        and (subzone in ("*", "") or subzone == place[2])
    )


def _parts(locality: Any) -> tuple[str, str, str]:
    return locality.region, locality.zone, locality.sub_zone


def _distributed(groups: list[Any], setting: LocalityLoadBalancerSetting, place: Locality) -> list[Any]:
    own = (place.region, place.zone, place.subzone)
    rule = next((one for one in setting.distribute if _matches(own, one.from_)), None)
    if rule is None:
        return groups
    left = set(range(len(groups)))
    for pattern in sorted(rule.to, key=lambda text: (-len(text.replace("*", "")), text)):
        found = [index for index in sorted(left) if _matches(_parts(groups[index].locality), pattern)]
        left -= set(found)
        total = sum(groups[index].load_balancing_weight.value for index in found)
        for index in found:
            weight = groups[index].load_balancing_weight
            share = weight.value * rule.to[pattern] / total if total else 0
            if share > 0:
                weight.value = math.ceil(share)
    for index in left:
        groups[index].ClearField("lb_endpoints")
    return groups


def _by_region(groups: list[Any], failover: Sequence[Failover], place: Locality) -> list[Any]:
    """Priorities by how near a locality is."""
    return _compacted([(group.priority * 5 + _rank(group.locality, failover, place), group) for group in groups])


def _compacted(ranks: list[tuple[int, Any]]) -> list[Any]:
    """Priorities by rank; those that would stay empty are left out of the count."""
    order = {rank: index for index, rank in enumerate(sorted({rank for rank, _ in ranks}))}
    for rank, group in ranks:
        group.priority = order[rank]
    return [group for _, group in ranks]


def _region_rank(locality: Any, failover: Sequence[Failover], place: Locality) -> int:
    """0: the proxy's region, whose zones Envoy balances; 1: the one it fails over to; 2: any other."""
    if locality.region == place.region:
        return 0
    rule = next((one for one in failover if one.from_ == place.region), None)
    return 1 if rule is not None and rule.to == locality.region else 2


def _rank(locality: Any, failover: Sequence[Failover], place: Locality) -> int:
    parts = _parts(locality)
    own = (place.region, place.zone, place.subzone)
    near = next((index for index in range(3) if parts[index] != own[index]), 3)
    if near > 0:
        return 3 - near
    for rule in failover:
        if rule.from_ == place.region:
            return 3 if rule.to == locality.region else 4
    return 3


def _by_labels(groups: list[Group], keys: Sequence[str], labels: Mapping[str, str]) -> list[Any]:
    """Each locality split by how many of the labels its endpoints share with the proxy, first mismatch counting."""
    if not labels:
        return [group.message for group in groups]
    wanted = [_wanted(key, labels) for key in keys]
    split: dict[int, list[Any]] = {}
    for group in groups:
        parts: dict[int, list[int]] = {}
        for index, endpoint in enumerate(group.endpoints):
            parts.setdefault(_mismatch(wanted, endpoint.labels), []).append(index)
        for rank, indexes in parts.items():
            message = type(group.message)()
            message.CopyFrom(group.message)
            message.ClearField("lb_endpoints")
            message.lb_endpoints.extend(group.message.lb_endpoints[index] for index in indexes)
            message.load_balancing_weight.value = sum(e.load_balancing_weight.value for e in message.lb_endpoints)
            split.setdefault(rank, []).append(message)
    out = []
    for priority, rank in enumerate(sorted(split)):
        for message in split[rank]:
            message.priority = priority
            out.append(message)
    return out


def _wanted(key: str, labels: Mapping[str, str]) -> tuple[str, str]:
    name, given, value = key.partition("=")
    return (name, value) if given else (name, labels.get(name, ""))


def _mismatch(wanted: Sequence[tuple[str, str]], labels: Mapping[str, str]) -> int:
    """How many labels are left from the first one that differs: 0 = all agree."""
    for index, (name, value) in enumerate(wanted):
        if labels.get(name, "") != value:
            return len(wanted) - index + (len(wanted) if index == 0 and name == NETWORK else 0)
    return 0
