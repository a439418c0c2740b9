"""Load balancing of clusters: the policy, consistent hashing, slow start, locality weights.

Takes LoadBalancerSettings, writes into a Draft. Not here: where endpoints stand in priorities (locality.py).
"""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2

from mizzen.api.istio.networking import ConsistentHashLB, LoadBalancerSettings
from mizzen.istiod.translate.cluster_draft import Draft
from mizzen.istiod.translate.locality import Setting
from mizzen.istiod.translate.messages import duration

Cluster = cluster_pb2.Cluster
CommonLb = Cluster.CommonLbConfig
DEFAULT_RING_SIZE = 1024
DEFAULT_WARMUP_PERCENT, DEFAULT_AGGRESSION = 10.0, 1.0


def apply_balancer(draft: Draft, settings: LoadBalancerSettings | None) -> None:
    """The balancing policy; LEAST_REQUEST when nothing is said."""
    cluster = draft.cluster
    if cluster.type == Cluster.ORIGINAL_DST or cluster.HasField("cluster_type"):
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        return
    simple = (settings.simple if settings is not None else None) or "UNSPECIFIED"
    if simple == "PASSTHROUGH":
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        cluster.ClearField("load_assignment")
        cluster.ClearField("eds_cluster_config")
        return
    if simple == "RANDOM":
        cluster.lb_policy = Cluster.RANDOM
    elif simple == "ROUND_ROBIN":
        cluster.lb_policy = Cluster.ROUND_ROBIN
        _slow_start(settings, cluster.round_robin_lb_config)
    else:
        cluster.lb_policy = Cluster.LEAST_REQUEST
        _slow_start(settings, cluster.least_request_lb_config)
    if settings is not None and settings.consistent_hash is not None:
        apply_consistent_hash(cluster, settings.consistent_hash)


def _slow_start(settings: LoadBalancerSettings | None, config: Any) -> None:
    if settings is None:
        return
    if settings.warmup is not None:
        warmup, slow = settings.warmup, config.slow_start_config
        slow.slow_start_window.CopyFrom(duration(warmup.duration))
        percent = warmup.minimum_percent if warmup.minimum_percent is not None else DEFAULT_WARMUP_PERCENT
        slow.min_weight_percent.value = percent
        slow.aggression.runtime_key = "("  # as Istio's: no key at runtime has that name
        slow.aggression.default_value = warmup.aggression if warmup.aggression is not None else DEFAULT_AGGRESSION
    elif settings.warmup_duration_secs is not None:
        config.slow_start_config.slow_start_window.CopyFrom(duration(settings.warmup_duration_secs))


def apply_consistent_hash(cluster: Any, setting: ConsistentHashLB) -> None:
    """Balancing by a hash of the request, on a ring or a Maglev table."""
    for name in ("least_request_lb_config", "round_robin_lb_config"):
        cluster.ClearField(name)
    if setting.maglev is not None:
        cluster.lb_policy = Cluster.MAGLEV
        if setting.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = setting.maglev.table_size
        return
    cluster.lb_policy = Cluster.RING_HASH
    if setting.ring_hash is not None:
        if setting.ring_hash.minimum_ring_size:
            cluster.ring_hash_lb_config.minimum_ring_size.value = setting.ring_hash.minimum_ring_size
        return
    cluster.ring_hash_lb_config.minimum_ring_size.value = setting.minimum_ring_size or DEFAULT_RING_SIZE


def apply_locality_setting(draft: Draft, setting: Setting | None, outlier: bool) -> None:
    """How a cluster balances over localities: by zones, or by weights where they are distributed or failover can happen.

    outlier: hosts can be ejected.
    """
    common = draft.cluster.common_lb_config
    if setting is None:
        return
    if setting.zones is not None:
        common.zone_aware_lb_config.SetInParent()
        if not setting.forced:
            common.zone_aware_lb_config.routing_enabled.value = 0
        if setting.zones.min_cluster_size is not None:
            common.zone_aware_lb_config.min_cluster_size.value = setting.zones.min_cluster_size
    elif setting.locality is not None:
        fails_over = setting.fails_over(outlier) and (setting.locality.failover or setting.locality.failover_priority)
        if setting.locality.distribute or fails_over:
            common.locality_weighted_lb_config.SetInParent()
