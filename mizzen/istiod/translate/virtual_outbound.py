"""The listener that redirected traffic arrives at, and what becomes of traffic to destinations nobody knows.

Takes a snapshot and a sidecar, gives the listener `virtualOutbound` and the HTTP proxy's one. Not here: the listeners
that it hands connections of known destinations to (listeners_outbound.py).
"""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3 import base_pb2 as core
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2 as routes
from envoy.config.route.v3 import route_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.addresses import wildcards
from mizzen.istiod.translate.chains import HTTP_ALPNS, bind_address
from mizzen.istiod.translate.cluster_names import ALLOW_ANY_DYNAMIC_DNS as DYNAMIC_DNS
from mizzen.istiod.translate.cluster_names import BLACKHOLE, PASSTHROUGH
from mizzen.istiod.translate.dynamic_dns import dns_cache
from mizzen.istiod.translate.filters import ChainContext, HttpOptions, ListenerClass, TcpOptions, http_filter_chain
from mizzen.istiod.translate.filters.network import blackhole_filters, tcp_filter_chain
from mizzen.istiod.translate.listener_filters import http_inspector
from mizzen.istiod.translate.outbound_policy import ALLOW_ANY_DYNAMIC_DNS, BLOCK, outbound_policy
from mizzen.istiod.translate.route_scope import destination_cluster
from mizzen.istiod.translate.telemetry.access_log import access_logs

LISTEN_PORT = 15001


def unknown_destination_filters(ctx: ChainContext) -> list[Any]:
    """The filters for connections to a destination outside the registry."""
    policy = outbound_policy(ctx.snap, ctx.node)
    cluster = BLACKHOLE if policy.mode == BLOCK else PASSTHROUGH
    if policy.mode != BLOCK and policy.egress_proxy is not None:
        cluster = destination_cluster(policy.egress_proxy, None, 0)
    return tcp_filter_chain(ctx, TcpOptions(cluster=cluster))


def virtual_outbound(snap: Snapshot, node: Node) -> list[listener_pb2.Listener]:
    """The listener `virtualOutbound`; none when no traffic is redirected."""
    if node.interception_mode == "NONE":
        return []
    ctx = ChainContext(snap, node, ListenerClass.OUTBOUND)
    port = snap.mesh.proxy_listen_port or LISTEN_PORT
    out = listener_pb2.Listener(
        name="virtualOutbound",
        address=bind_address(wildcards(node)[0], port),
        traffic_direction=core.OUTBOUND,
        max_connections_to_accept_per_socket_event=UInt32Value(value=1),
        access_log=access_logs(snap, ctx.telemetry.logs, of="listener"),
    )
    out.use_original_dst.value = True
    if node.interception_mode == "TPROXY":
        out.transparent.value = True
    if node.flag("OUTBOUND_LISTENER_EXACT_BALANCE"):
        out.connection_balance_config.exact_balance.SetInParent()
    refused = out.filter_chains.add(name="virtualOutbound-blackhole", filters=blackhole_filters(ctx))
    refused.filter_chain_match.destination_port.value = port
    if outbound_policy(snap, node).mode == ALLOW_ANY_DYNAMIC_DNS:
        _add_dynamic_http(out, ctx)
    out.filter_chains.add(name="virtualOutbound-catchall-tcp", filters=unknown_destination_filters(ctx))
    return [out]


def _add_dynamic_http(out: listener_pb2.Listener, ctx: ChainContext) -> None:
    """HTTP to unknown hosts goes to the address that their name resolves to."""
    out.listener_filters.append(http_inspector())
    chain = out.filter_chains.add(name="virtualOutbound-catchall-tcp-http")
    chain.filter_chain_match.application_protocols.extend(HTTP_ALPNS)
    route = routes.Route(name="allow_any_dynamic_dns", match=routes.RouteMatch(prefix="/"))
    route.route.cluster = DYNAMIC_DNS
    route.route.timeout.SetInParent()
    config = route_pb2.RouteConfiguration(name="allow_any_dynamic_dns")
    config.virtual_hosts.add(name="allow_any_dynamic_dns", domains=["*"], routes=[route])
    options = HttpOptions(
        stat_prefix="outbound_allow_any_dynamic_dns;",
        route_config=config,
        dns_cache=dns_cache(ctx.node),
    )
    chain.filters.extend(http_filter_chain(ctx, options))
