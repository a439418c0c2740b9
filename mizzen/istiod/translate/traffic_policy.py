"""Traffic policies merged for one port and subset: DestinationRule, port level, subset, mesh default.

Takes specs, gives one TrafficPolicy without port-level settings. Not here: what a policy becomes (cluster_*.py).
"""

from __future__ import annotations

import msgspec

from mizzen.api.istio.mesh import DefaultTrafficPolicy
from mizzen.api.istio.networking import DestinationRuleSpec, Subset, TrafficPolicy


def policy_for(
    rule: DestinationRuleSpec | None, port: int, subset: Subset | None = None, mesh: DefaultTrafficPolicy | None = None
) -> TrafficPolicy:
    """The policy that holds for a service port and subset of a rule.

    Port-level settings replace the four blocks that they can hold whole; a subset's blocks replace the rule's one by one;
    the mesh's defaults stand where nothing is said.
    """
    policy = TrafficPolicy()
    if rule is not None:
        policy = overlay(policy, rule.traffic_policy, port)
    if subset is not None:
        policy = overlay(policy, subset.traffic_policy, port)
    if mesh is not None:
        policy = msgspec.structs.replace(
            policy,
            connection_pool=policy.connection_pool or mesh.connection_pool,
            outlier_detection=policy.outlier_detection or mesh.outlier_detection,
        )
    return policy


def overlay(base: TrafficPolicy, over: TrafficPolicy | None, port: int) -> TrafficPolicy:
    """One policy over another for a port."""
    if over is None:
        return base
    merged = msgspec.structs.replace(
        base,
        connection_pool=over.connection_pool or base.connection_pool,
        outlier_detection=over.outlier_detection or base.outlier_detection,
        load_balancer=over.load_balancer or base.load_balancer,
        tls=over.tls or base.tls,
        tunnel=over.tunnel or base.tunnel,
        proxy_protocol=over.proxy_protocol or base.proxy_protocol,
        retry_budget=over.retry_budget or base.retry_budget,
    )
    for level in over.port_level_settings:
        if level.port is not None and level.port.number == port:
            return msgspec.structs.replace(
                merged,
                connection_pool=level.connection_pool,
                outlier_detection=level.outlier_detection,
                load_balancer=level.load_balancer,
                tls=level.tls,
            )
    return merged


def subset_named(rule: DestinationRuleSpec | None, name: str) -> Subset | None:
    """A rule's subset by name."""
    return next((subset for subset in rule.subsets if subset.name == name), None) if rule is not None else None
