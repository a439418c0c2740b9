"""Which consistent hash a DestinationRule asks for, for a destination of a route and for a service port.

The most specific one counts: the subset's port, the subset, the port, the rule. Not here: envoy's hash policy.
"""

from __future__ import annotations

from mizzen.api.istio.destination_rule import (
    ConsistentHashLB,
    DestinationRule,
    DestinationRuleSpec,
    PortTrafficPolicy,
    TrafficPolicy,
)
from mizzen.api.istio.virtual_service import Destination
from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Service, ServicePort
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.scope import Scope


def hash_of_destination(scope: Scope, node: Node, destination: Destination) -> ConsistentHashLB | None:
    """The hash that the rule of a visible destination asks for."""
    if destination.host not in scope.by_host:
        return None
    rule = scope.destination_rule(node, destination.host)
    return None if rule is None else destination_hash(rule.spec, destination)


def hash_of_service(scope: Scope, node: Node, svc: Service, port: ServicePort) -> ConsistentHashLB | None:
    """The hash for a service port that no VirtualService routes."""
    rule = scope.destination_rule(node, svc.host)
    return None if rule is None else port_hash(rule.spec.traffic_policy, port.number)


def any_service_hash(snap: Snapshot) -> bool:
    """Whether any rule of the mesh could ask for a hash on a whole service or port."""
    return snap.local.get(
        "any service hash", None, lambda: any(map(_hashes, snap.objects.table("DestinationRule").values()))
    )


def _hashes(rule: DestinationRule) -> bool:
    policy = rule.spec.traffic_policy
    if policy is None:
        return False
    return _general(policy) is not None or any(_of(settings) is not None for settings in policy.port_level_settings)


def _of(settings: PortTrafficPolicy) -> ConsistentHashLB | None:
    return settings.load_balancer.consistent_hash if settings.load_balancer is not None else None


def destination_hash(rule: DestinationRuleSpec, destination: Destination) -> ConsistentHashLB | None:
    """The hash for a destination; only a destination that names its port takes that port's settings."""
    port = destination.port.number if destination.port is not None else None
    subset = next((s.traffic_policy for s in rule.subsets if s.name == destination.subset), None)
    return (
        _of_port(subset, port)
        or _general(subset)
        or _of_port(rule.traffic_policy, port)
        or _general(rule.traffic_policy)
    )


def port_hash(policy: TrafficPolicy | None, port: int) -> ConsistentHashLB | None:
    """The hash for a service port without a route of its own: the port's settings replace the general ones."""
    settings = _settings(policy, port)
    return _of(settings) if settings is not None else _general(policy)


def _settings(policy: TrafficPolicy | None, port: int | None) -> PortTrafficPolicy | None:
    if policy is None or port is None:
        return None
    return next((s for s in policy.port_level_settings if s.port is not None and s.port.number == port), None)


def _of_port(policy: TrafficPolicy | None, port: int | None) -> ConsistentHashLB | None:
    settings = _settings(policy, port)
    return _of(settings) if settings is not None else None


def _general(policy: TrafficPolicy | None) -> ConsistentHashLB | None:
    if policy is None or policy.load_balancer is None:
        return None
    return policy.load_balancer.consistent_hash
