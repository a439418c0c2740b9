"""Which balancer a cluster's configuration asks for: the one place where LB policies are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.upstream.balancer import POLICIES, Balancer

if TYPE_CHECKING:
    from mizzen.proxy.config.clusters import ClusterConfig

CONFIGS = {"LEAST_REQUEST": "least_request_lb_config", "ROUND_ROBIN": "round_robin_lb_config"}


def make_balancer(config: ClusterConfig, cluster: Any) -> Balancer:
    """The balancer of a cluster. Raises Unsupported for a policy or field that is not built."""
    proto = config.proto
    name = config.lb_policy
    if name == "CLUSTER_PROVIDED":
        name = "ROUND_ROBIN"
    if name not in POLICIES:
        raise Unsupported(f"Cluster {config.name}.lb_policy {name}")
    if proto.HasField("lb_subset_config") and proto.lb_subset_config.subset_selectors:
        raise Unsupported(f"Cluster {config.name}.lb_subset_config")
    field = CONFIGS.get(name)
    policy_config: Any = getattr(proto, field) if field and proto.HasField(field) else None
    if policy_config is not None and policy_config.HasField("slow_start_config"):
        raise Unsupported(f"Cluster {config.name}.{field}.slow_start_config")
    factory = POLICIES[name]
    return Balancer(lambda: factory(policy_config), config.panic_percent, config.fail_on_panic)
