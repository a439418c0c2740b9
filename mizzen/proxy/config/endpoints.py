"""ClusterLoadAssignment → hosts by priority. Hosts that were there before keep their objects, counters and connections."""

from __future__ import annotations

import time
from typing import Any

from mizzen.proxy.accesslog.format import struct_value
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.supported import check
from mizzen.proxy.config.values import seconds, socket_address, wrapped
from mizzen.proxy.upstream.host import EDS_FLAGS, FAILED_EDS, Host

EDS_MASK = 0
for _flags in EDS_FLAGS.values():
    EDS_MASK |= _flags


class Assignment:
    """Endpoints of a cluster as given: hosts by priority, locality weights, overprovisioning, drop percentages."""

    __slots__ = (
        "drops",
        "endpoint_stale_after",
        "locality_weights",
        "overprovisioning",
        "priorities",
        "weighted_priority_health",
    )

    def __init__(self) -> None:
        self.priorities: list[list[Host]] = []
        self.locality_weights: dict[tuple[int, tuple[str, str, str]], int] = {}
        self.overprovisioning = 140
        self.weighted_priority_health = False
        self.drops: list[tuple[str, float]] = []
        self.endpoint_stale_after = 0.0


def metadata_of(message: Any) -> dict[str, Any] | None:
    return {name: struct_value(struct) for name, struct in message.filter_metadata.items()} or None


def host_of(lb_endpoint: Any, locality: tuple[str, str, str], priority: int, known: dict[Any, Host]) -> Host:
    """The host of one LbEndpoint. Raises ConfigError."""
    endpoint = lb_endpoint.endpoint
    address = socket_address(endpoint.address, "Endpoint.address")
    weight = wrapped(lb_endpoint, "load_balancing_weight", 1) or 1
    host = Host(address, endpoint.hostname, weight, priority)
    old = known.get(host.key)
    if old is not None:
        host = old
        host.weight, host.priority = weight, priority
    else:
        host.since = time.monotonic()
    host.locality = locality
    host.metadata = metadata_of(lb_endpoint.metadata) if lb_endpoint.HasField("metadata") else None
    host.canary = bool(((host.metadata or {}).get("envoy.lb") or {}).get("canary"))
    host.flags = host.flags & ~EDS_MASK | EDS_FLAGS.get(lb_endpoint.health_status, FAILED_EDS)
    check = endpoint.health_check_config
    host.disable_active_health_check = check.disable_active_health_check
    host.health_hostname = check.hostname
    host.health_address = None
    if check.HasField("address"):
        host.health_address = socket_address(check.address, "Endpoint.health_check_config.address")
    elif check.port_value:
        host.health_address = (address[0], check.port_value)
    return host


def assignment(message: Any, known: dict[Any, Host]) -> Assignment:
    """The Assignment of a ClusterLoadAssignment whose addresses are IPs or sockets. `known` are the cluster's present hosts."""
    check(message, "ClusterLoadAssignment")
    out = Assignment()
    seen: dict[Any, Host] = {}
    for group in message.endpoints:
        locality = (group.locality.region, group.locality.zone, group.locality.sub_zone)
        while len(out.priorities) <= group.priority:
            out.priorities.append([])
        if group.HasField("load_balancing_weight"):
            out.locality_weights[group.priority, locality] = group.load_balancing_weight.value
        for lb_endpoint in group.lb_endpoints:
            host = host_of(lb_endpoint, locality, group.priority, known)
            if host.key in seen:
                continue
            seen[host.key] = host
            out.priorities[group.priority].append(host)
    policy = message.policy
    out.overprovisioning = wrapped(policy, "overprovisioning_factor", 140)
    out.weighted_priority_health = policy.weighted_priority_health
    if policy.HasField("endpoint_stale_after"):
        out.endpoint_stale_after = seconds(policy.endpoint_stale_after)
    for drop in policy.drop_overloads:
        out.drops.append(
            (drop.category, drop.drop_percentage.numerator / (100, 10_000, 1_000_000)[drop.drop_percentage.denominator])
        )
    if any(not endpoints for endpoints in out.priorities) and len(out.priorities) > 1 and not message.endpoints:
        raise ConfigError("priorities must not have gaps")
    return out
