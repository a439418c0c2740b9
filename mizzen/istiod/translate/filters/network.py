"""Network filters of TCP chains.

Takes the chain context and where the bytes go, gives envoy.config.listener.v3.Filter messages in Istio's order.
Not here: which cluster that is (listeners), weighted routes' clusters (routes of TCP and TLS).
"""

from __future__ import annotations

from typing import Any

import msgspec
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.network.mongo_proxy.v3 import mongo_proxy_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.type.v3 import hash_policy_pb2

from mizzen.api.types import Duration
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.translate.extension_plugins import AUTHN, AUTHZ, STATS, UNSPECIFIED
from mizzen.istiod.translate.filters import abilities
from mizzen.istiod.translate.filters.context import ChainContext, idle_timeout
from mizzen.istiod.translate.filters.exchange import metadata_exchange
from mizzen.istiod.translate.filters.extensions import network_extensions
from mizzen.istiod.translate.filters.http import stats_config
from mizzen.istiod.translate.messages import duration, pack
from mizzen.istiod.translate.security.authorization import custom_filters, policy_filters
from mizzen.istiod.translate.telemetry import stats
from mizzen.istiod.translate.telemetry.access_log import access_logs

Filter = listener_components_pb2.Filter
TcpProxy = tcp_proxy_pb2.TcpProxy
TCP_PROXY = "envoy.filters.network.tcp_proxy"


class TcpOptions(msgspec.Struct, frozen=True):
    """Where a TCP chain leads.

    stat_prefix: "" = the cluster's name; cluster, or weighted: (cluster, weight) pairs; idle_timeout: "None" = the
    proxy's IDLE_TIMEOUT counts; max_connection_duration, source_ip_hash, tunnel: from the DestinationRule;
    protocol: of the port (Mongo gets its own filter); port: that extensions are matched by; sni_proxy: config of the
    SNI dynamic forward proxy; logged: False for chains that only refuse; exchange: metadata exchange on a gateway's chain.
    """

    cluster: str = ""
    weighted: tuple[tuple[str, int], ...] = ()
    stat_prefix: str = ""
    protocol: Protocol = Protocol.TCP
    port: int = 0
    idle_timeout: Duration | None = None
    max_connection_duration: Duration | None = None
    source_ip_hash: bool = False
    tunnel: Any = None
    sni_proxy: Any = None
    logged: bool = True
    exchange: bool = False


def tcp_filter_chain(ctx: ChainContext, options: TcpOptions) -> list[Any]:
    """All filters of a TCP chain, the TCP proxy last."""
    proxy = tcp_proxy(ctx, options)
    return [
        *(metadata_exchange(ctx) if ctx.inbound or options.exchange else ()),
        *_before_stats(ctx, options),
        *_stats(ctx),
        *_sni_proxy(options),
        *_mongo(ctx, options, proxy.stat_prefix),
        Filter(name=TCP_PROXY, typed_config=pack(proxy)),
    ]


def blackhole_filters(ctx: ChainContext, cluster: str = "BlackHoleCluster") -> list[Any]:
    """Filters of a chain that drops what comes: statistics, and a cluster without endpoints. Not logged, not policed."""
    proxy = TcpProxy(cluster=cluster, stat_prefix=cluster)
    first = metadata_exchange(ctx) if ctx.inbound else []
    return [*first, *_stats(ctx), Filter(name=TCP_PROXY, typed_config=pack(proxy))]


def tcp_proxy(ctx: ChainContext, options: TcpOptions) -> Any:
    """The TCP proxy's config."""
    proxy = TcpProxy(
        stat_prefix=options.stat_prefix or options.cluster,
        access_log=access_logs(ctx.snap, ctx.telemetry.logs, "tcp") if options.logged else (),
        max_downstream_connection_duration=duration(options.max_connection_duration),
        tunneling_config=options.tunnel,
    )
    if options.weighted:
        weights = TcpProxy.WeightedCluster.ClusterWeight
        proxy.weighted_clusters.clusters.extend(weights(name=name, weight=weight) for name, weight in options.weighted)
    else:
        proxy.cluster = options.cluster
    idle = options.idle_timeout if options.idle_timeout is not None else idle_timeout(ctx)
    if idle is not None:
        proxy.idle_timeout.CopyFrom(duration(idle))
    if options.source_ip_hash:
        proxy.hash_policy.append(hash_policy_pb2.HashPolicy(source_ip=hash_policy_pb2.HashPolicy.SourceIp()))
    return proxy


def _before_stats(ctx: ChainContext, options: TcpOptions) -> list[Any]:
    """Authorization, with extensions between."""
    policies = ctx.authorization
    if options.sni_proxy is not None:  # whose destination the client chooses: policed on the way out, too
        policies = ctx.snap.authorization_policies.for_node(ctx.node)
    custom = custom_filters(ctx.snap, policies, tcp=True, sidecar=ctx.node.is_sidecar)
    rbac = policy_filters(ctx.snap, policies, tcp=True)
    return [
        *(Filter(name=name, typed_config=pack(config)) for name, config in custom),
        *network_extensions(ctx, AUTHN, options.port),
        *network_extensions(ctx, AUTHZ, options.port),
        *(Filter(name=name, typed_config=pack(config)) for name, config in rbac),
        *network_extensions(ctx, STATS, options.port),
        *network_extensions(ctx, UNSPECIFIED, options.port),
    ]


def _stats(ctx: ChainContext) -> list[Any]:
    config = stats_config(ctx)
    return [] if config is None else [Filter(name=stats.NAME, typed_config=pack(config))]


def _sni_proxy(options: TcpOptions) -> list[Any]:
    if options.sni_proxy is None:
        return []
    config = options.sni_proxy
    return [Filter(name="envoy.extensions.filters.network.sni_dynamic_forward_proxy", typed_config=pack(config))]


def _mongo(ctx: ChainContext, options: TcpOptions, stat_prefix: str) -> list[Any]:
    if options.protocol is not Protocol.MONGO or not abilities.can_run(ctx.node, abilities.MONGO):
        return []
    config = mongo_proxy_pb2.MongoProxy(stat_prefix=stat_prefix)
    return [Filter(name="envoy.filters.network.mongo_proxy", typed_config=pack(config))]
