"""Which balancer a cluster's configuration asks for: the one place where LB policies are chosen.

`load_balancing_policy` names extensions whose messages have the fields of the older ones; the first that is known is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.upstream.balancer import POLICIES, Balancer, Policy, SlowStart
from mizzen.proxy.upstream.ring_hash import Maglev, RingHash
from mizzen.proxy.upstream.subsets import SubsetBalancer

if TYPE_CHECKING:
    from mizzen.proxy.config.clusters import ClusterConfig

CONFIGS = {
    "LEAST_REQUEST": "least_request_lb_config",
    "MAGLEV": "maglev_lb_config",
    "RING_HASH": "ring_hash_lb_config",
    "ROUND_ROBIN": "round_robin_lb_config",
}
HASHED: dict[str, Callable[[Any, bool], Policy]] = {"MAGLEV": Maglev, "RING_HASH": RingHash}
EXTENSION = "envoy.extensions.load_balancing_policies."
EXTENSIONS = {
    EXTENSION + "least_request.v3.LeastRequest": "LEAST_REQUEST",
    EXTENSION + "maglev.v3.Maglev": "MAGLEV",
    EXTENSION + "random.v3.Random": "RANDOM",
    EXTENSION + "ring_hash.v3.RingHash": "RING_HASH",
    EXTENSION + "round_robin.v3.RoundRobin": "ROUND_ROBIN",
}


def _chosen(config: ClusterConfig) -> tuple[str, Any, Any, bool]:
    """A policy's name, its message, that of consistent hashing, and whether localities are weighted."""
    proto = config.proto
    where = f"Cluster {config.name}"
    if not proto.HasField("load_balancing_policy"):
        name = "ROUND_ROBIN" if config.lb_policy == "CLUSTER_PROVIDED" else config.lb_policy
        field = CONFIGS.get(name)
        message = getattr(proto, field) if field and proto.HasField(field) else None
        common = proto.common_lb_config
        return (
            name,
            message,
            common.consistent_hashing_lb_config,
            common.WhichOneof("locality_config_specifier") == "locality_weighted_lb_config",
        )
    return _of_extensions(proto.load_balancing_policy, where)


def _of_extensions(policy: Any, where: str) -> tuple[str, Any, Any, bool]:
    """As _chosen, of an envoy.config.cluster.v3.LoadBalancingPolicy."""
    from mizzen.proxy.filters.registry import typed

    names = []
    for each in policy.policies:
        extension = each.typed_extension_config
        kind, message = typed(extension.typed_config, extension.name)
        if kind in EXTENSIONS:
            localities = getattr(message, "locality_lb_config", None)
            inside = localities is not None and localities.HasField("locality_weighted_lb_config")
            hashing = getattr(message, "consistent_hashing_lb_config", None)
            if hashing is not None:
                inside = message.HasField("locality_weighted_lb_config")
            return EXTENSIONS[kind], message, hashing, inside
        names.append(extension.name)
    raise Unsupported(f"{where}.load_balancing_policy {', '.join(names)}")


def make_balancer(config: ClusterConfig, cluster: Any) -> Any:
    """The balancer of a cluster. Raises ConfigError, Unsupported for a policy or field that is not built."""
    proto = config.proto
    name, message, hashing, weighted = _chosen(config)
    by_hostname = False
    if name in HASHED and hashing is not None:
        by_hostname = hashing.use_hostname_for_hashing
        if hashing.HasField("hash_balance_factor"):
            raise Unsupported(f"Cluster {config.name}.consistent_hashing_lb_config.hash_balance_factor")
    if name in HASHED:
        hashed = HASHED[name]
        make: Callable[[], Policy] = lambda: hashed(message, by_hostname)  # noqa: E731
    elif name in POLICIES:
        plain, runtime = POLICIES[name], cluster.server.runtime
        config_of = message if name == "LEAST_REQUEST" else None
        make = lambda: plain(config_of, runtime)  # noqa: E731
        if message is not None and name != "RANDOM" and message.HasField("slow_start_config"):
            slow = message.slow_start_config
            make = lambda: SlowStart(plain(config_of, runtime), slow, runtime)  # noqa: E731
    else:
        raise Unsupported(f"Cluster {config.name}.lb_policy {name}")

    def balancer() -> Balancer:
        out = Balancer(make, config.panic_percent, config.fail_on_panic)
        out.locality_weighted = weighted
        return out

    make()  # a bad policy is refused now
    subsets = proto.lb_subset_config
    if not subsets.subset_selectors:
        return balancer()
    if proto.HasField("load_balancing_policy"):
        raise ConfigError(f"Cluster {config.name}: lb_subset_config and load_balancing_policy exclude each other")
    return SubsetBalancer(subsets, balancer, cluster.stats)
