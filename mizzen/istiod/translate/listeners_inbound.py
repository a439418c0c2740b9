"""Inbound listeners of a sidecar: virtualInbound with all its filter chains, and listeners that Sidecars bind themselves.

Takes a snapshot and a proxy, gives Listener messages. Not here: which ports there are (inbound_ports.py), which chains a
port has (inbound_chains.py), what stands in a chain (filters/), clusters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2

from mizzen.api.istio.networking import HTTPRetry
from mizzen.istiod.node import Node
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.peer_authentication import Modes
from mizzen.istiod.translate import listener_filters
from mizzen.istiod.translate.filters import (
    ChainContext,
    HttpOptions,
    ListenerClass,
    TcpOptions,
    blackhole_filters,
    http_filter_chain,
    tcp_filter_chain,
)
from mizzen.istiod.translate.filters.abilities import mutual_alpn
from mizzen.istiod.translate.inbound_chains import Row, rows
from mizzen.istiod.translate.inbound_ports import InboundPort, inbound_ports, inbound_stat
from mizzen.istiod.translate.messages import address, boolean, config_path, duration, metadata, uint32
from mizzen.istiod.translate.security.tls_contexts import istio_downstream, tls_socket
from mizzen.istiod.translate.telemetry.access_log import access_logs

FilterChain = listener_components_pb2.FilterChain
Match = listener_components_pb2.FilterChainMatch
PASSTHROUGH = "InboundPassthroughCluster"
VIRTUAL, BLACKHOLE, CATCHALL_HTTP = "virtualInbound", "virtualInbound-blackhole", "virtualInbound-catchall-http"


class Chains(msgspec.Struct, frozen=True):
    """What the chains of one port have in common.

    port: 0 = any; name: of TCP chains, http_name: of HTTP chains; cluster: where they lead; route_name, vhost, operation:
    of the inline route; stat_prefix: of HTTP chains, tcp_stat_prefix: of TCP chains.
    """

    port: int
    protocol: Protocol
    mode: str
    cluster: str
    name: str
    http_name: str
    vhost: str
    operation: str
    stat_prefix: str
    tcp_stat_prefix: str
    sidecar: str = ""


def inbound_listeners(snap: Snapshot, node: Node) -> list[Any]:
    """All inbound listeners, virtualInbound first."""
    ctx = ChainContext(snap, node, ListenerClass.INBOUND)
    modes = snap.peer_authentications.for_workload(node.namespace, node.labels)
    ports = [port for port in inbound_ports(snap, node) if port.number]
    out = []
    if node.interception_mode != "NONE":
        out.append(_virtual(ctx, modes, [port for port in ports if not port.own_listener]))
    for port in ports:
        if port.own_listener:
            chains = _chains(ctx, _port_chains(ctx, port, modes))
            out.append(_listener(ctx, f"{port.bind}_{port.number}", port.bind, port.number, chains, own=True))
    return out


def _virtual(ctx: ChainContext, modes: Modes, ports: Iterable[InboundPort]) -> Any:
    mesh = ctx.snap.mesh
    number = mesh.proxy_inbound_listen_port
    chains = [
        FilterChain(
            name=BLACKHOLE,
            filter_chain_match=Match(destination_port=uint32(number)),
            filters=blackhole_filters(ctx),
        )
    ]
    served = {port.number for port in ports}
    levels = {0: modes.default, **{port: mode for port, mode in modes.ports.items() if port not in served}}
    for level, mode in levels.items():
        chains += _chains(ctx, _passthrough(ctx, level, mode))
    for port in ports:
        chains += _chains(ctx, _port_chains(ctx, port, modes))
    host = "::" if not ctx.node.supports_ipv4 else "0.0.0.0"
    return _listener(ctx, VIRTUAL, host, number, chains, own=False)


def _passthrough(ctx: ChainContext, port: int, mode: str) -> Chains:
    """Chains for what no service of the workload is behind."""
    pattern = ctx.snap.mesh.inbound_cluster_stat_name
    return Chains(
        port=port,
        protocol=Protocol.UNSUPPORTED,
        mode=mode,
        cluster=PASSTHROUGH,
        name=VIRTUAL,
        http_name=CATCHALL_HTTP,
        vhost="inbound|http|0",
        operation=":0/*",
        stat_prefix=PASSTHROUGH,
        tcp_stat_prefix=_unnamed(pattern) if pattern else "",
    )


def _unnamed(pattern: str) -> str:
    """The stat name of passthrough traffic: there is no service, the port is called virtualInbound."""
    for operator in ("%SERVICE%", "%SERVICE_NAME%", "%SERVICE_FQDN%"):
        pattern = pattern.replace(operator, "")
    return pattern.replace("%SERVICE_PORT_NAME%", VIRTUAL).replace("%SERVICE_PORT%", "0").replace("%TARGET_PORT%", "0")


def _port_chains(ctx: ChainContext, port: InboundPort, modes: Modes) -> Chains:
    """Chains of one port of the workload."""
    cluster = f"inbound|{port.number}||"
    pattern = ctx.snap.mesh.inbound_cluster_stat_name
    stat = inbound_stat(pattern, port)
    return Chains(
        port=port.number,
        protocol=port.protocol,
        mode=modes.port(port.number),
        cluster=cluster,
        name=f"{port.bind}_{port.number}",
        http_name=f"{port.bind}_{port.number}",
        vhost=f"inbound|http|{port.service_port}",
        operation=f"{port.host}:{port.service_port}/*",
        stat_prefix=f"inbound_{port.bind}_{port.number}",
        tcp_stat_prefix=stat,
        sidecar=port.host if port.declared else "",
    )


def _chains(ctx: ChainContext, chains: Chains) -> list[Any]:
    return [_chain(ctx, chains, row) for row in rows(chains.protocol, chains.mode)]


def _chain(ctx: ChainContext, chains: Chains, row: Row) -> Any:
    match = Match(transport_protocol=row.transport, application_protocols=row.alpn)
    if chains.port:
        match.destination_port.value = chains.port
    chain = FilterChain(
        name=chains.http_name if row.http else chains.name,
        filter_chain_match=match,
        filters=_http(ctx, chains) if row.http else _tcp(ctx, chains),
    )
    if row.terminates:
        alpn = ["h2", "http/1.1"] if row.http else mutual_alpn(ctx.node, "h2", "http/1.1")
        chain.transport_socket.CopyFrom(tls_socket(istio_downstream(ctx.snap.mesh, alpn)))
    if chains.sidecar:
        name, _, namespace = chains.sidecar.partition(".")
        chain.metadata.CopyFrom(metadata(istio={"config": config_path(namespace, "sidecar", name)}))
    return chain


def _tcp(ctx: ChainContext, chains: Chains) -> list[Any]:
    options = TcpOptions(
        cluster=chains.cluster,
        stat_prefix=chains.tcp_stat_prefix,
        protocol=chains.protocol,
        port=chains.port,
    )
    return tcp_filter_chain(ctx, options)


def _http(ctx: ChainContext, chains: Chains) -> list[Any]:
    options = HttpOptions(
        stat_prefix=f"{chains.stat_prefix};",
        route_config=_route_config(ctx.snap, chains),
        protocol=chains.protocol,
        port=chains.port,
    )
    return http_filter_chain(ctx, options)


def _route_config(snap: Snapshot, chains: Chains) -> Any:
    """The inline route configuration: everything goes to the one cluster."""
    action = route_components_pb2.RouteAction(
        cluster=chains.cluster,
        timeout=duration(0.0),
        max_stream_duration=route_components_pb2.RouteAction.MaxStreamDuration(
            max_stream_duration=duration(0.0), grpc_timeout_header_max=duration(0.0)
        ),
    )
    if not chains.protocol.is_grpc:
        retry = _retry_policy(snap.mesh.default_inbound_http_retry_policy)
        if retry is not None:
            action.retry_policy.CopyFrom(retry)
    route = route_components_pb2.Route(
        name="default",
        match=route_components_pb2.RouteMatch(prefix="/"),
        decorator=route_components_pb2.Decorator(operation=chains.operation),
        route=action,
    )
    host = route_components_pb2.VirtualHost(name=chains.vhost, domains=["*"], routes=[route])
    return route_pb2.RouteConfiguration(name=chains.cluster, virtual_hosts=[host], validate_clusters=boolean(False))


def _retry_policy(policy: HTTPRetry | None) -> Any:
    """Retries towards the own application; None = none."""
    if policy is None:
        return route_components_pb2.RetryPolicy(retry_on="reset-before-request", num_retries=uint32(2))
    if policy.attempts <= 0:
        return None
    out = route_components_pb2.RetryPolicy(
        retry_on=policy.retry_on or "reset-before-request", num_retries=uint32(policy.attempts)
    )
    if policy.backoff is not None:
        out.retry_back_off.base_interval.CopyFrom(duration(policy.backoff))
    return out


def _listener(ctx: ChainContext, name: str, host: str, port: int, chains: list[Any], own: bool) -> Any:
    """A listener around chains. own: it is bound for itself, and no connection was redirected to it."""
    mesh, node = ctx.snap.mesh, ctx.node
    listener = listener_pb2.Listener(
        name=name,
        address=address(host, port),
        traffic_direction=base_pb2.INBOUND,
        filter_chains=chains,
        listener_filters=listener_filters.inbound(node, chains, own),
        listener_filters_timeout=duration(mesh.protocol_detection_timeout or 0.0),
        continue_on_listener_filters_timeout=True,
        max_connections_to_accept_per_socket_event=uint32(1),
    )
    listener.access_log.extend(access_logs(ctx.snap, ctx.telemetry.logs, of="listener"))
    if not own and node.interception_mode == "TPROXY":
        listener.transparent.value = True
    buffer = ctx.connection.listener_per_connection_buffer_limit_bytes if ctx.connection is not None else None
    if buffer is not None:
        listener.per_connection_buffer_limit_bytes.value = buffer
    if node.flag("INBOUND_LISTENER_EXACT_BALANCE"):
        listener.connection_balance_config.exact_balance.SetInParent()
    return listener
