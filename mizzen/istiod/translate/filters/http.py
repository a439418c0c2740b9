"""The HTTP filters of a connection manager, in Istio's order.

Takes the chain context and what is special of one chain, gives HttpFilter messages. The order is one list, FILTERS.
Not here: what policies become (security/), extensions (extensions.py), routes' own per-filter configs (routes).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import dynamic_forward_proxy_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as grpc_stats_pb2
from envoy.extensions.filters.http.grpc_web.v3 import grpc_web_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.translate.extension_plugins import AUTHN, AUTHZ, STATS, UNSPECIFIED
from mizzen.istiod.translate.filters import abilities
from mizzen.istiod.translate.filters.context import ChainContext, ListenerClass
from mizzen.istiod.translate.filters.extensions import http_extensions
from mizzen.istiod.translate.messages import boolean, pack, typed_struct
from mizzen.istiod.translate.security import jwt
from mizzen.istiod.translate.security.authorization import custom_filters, policy_filters
from mizzen.istiod.translate.telemetry import stats
from mizzen.wire.istio import PEER_METADATA, AlpnFilterConfig

HttpFilter = hcm_pb2.HttpFilter
ISTIO_HEADERS: dict[str, Any] = {"istio_headers": {}}


class HttpChain(msgspec.Struct, frozen=True):
    """What of one chain its HTTP filters depend on.

    protocol: of the port; port: the number that extensions match by, 0 = none; dns_cache: config of the dynamic
    forward proxy's cache, for wildcard hosts that are resolved by name.
    """

    protocol: Protocol = Protocol.HTTP
    port: int = 0
    dns_cache: Any = None


def http_filters(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    """All filters of a connection manager, the router last."""
    return [one for build in FILTERS for one in build(ctx, chain)]


def _plain(name: str, config: Any) -> Any:
    return HttpFilter(name=name, typed_config=pack(config))


def _peer_metadata(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    if not abilities.can_run(ctx.node, abilities.PEER_METADATA):
        return []
    exchange = ctx.headers.metadata_exchange_headers
    in_mesh = exchange is not None and exchange.mode == "IN_MESH"
    return [_peer_metadata_filter(ctx.inbound, in_mesh)]


@cache
def _peer_metadata_filter(inbound: bool, in_mesh: bool) -> Any:
    discovery = [ISTIO_HEADERS, {"workload_discovery": {}}]
    propagation = {"istio_headers": {"skip_external_clusters": True}} if in_mesh else ISTIO_HEADERS
    side = "downstream" if inbound else "upstream"
    value = {f"{side}_discovery": discovery, f"{side}_propagation": [ISTIO_HEADERS if inbound else propagation]}
    return HttpFilter(name="istio.metadata_exchange", typed_config=typed_struct(PEER_METADATA, value))


def _grpc_web(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    if chain.protocol is not Protocol.GRPC_WEB:
        return []
    return [_plain("envoy.filters.http.grpc_web", grpc_web_pb2.GrpcWeb())]


@cache
def _grpc_stats_filter() -> Any:
    config = grpc_stats_pb2.FilterConfig(emit_filter_state=True, stats_for_all_methods=boolean(False))
    return _plain("envoy.filters.http.grpc_stats", config)


def _grpc_stats(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    return [_grpc_stats_filter()] if abilities.can_run(ctx.node, abilities.GRPC_STATS) else []


@cache
def _alpn_filter() -> Any:
    overrides = (
        ("HTTP10", ["istio-http/1.0", "istio", "http/1.0"]),
        ("HTTP11", ["istio-http/1.1", "istio", "http/1.1"]),
        ("HTTP2", ["istio-h2", "istio", "h2"]),
    )
    rows = [AlpnFilterConfig.AlpnOverride(upstream_protocol=name, alpn_override=alpn) for name, alpn in overrides]
    return _plain("istio.alpn", AlpnFilterConfig(alpn_override=rows))


def _alpn(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    return [] if ctx.inbound or not abilities.can_run(ctx.node, abilities.ALPN) else [_alpn_filter()]


@cache
def _fault_and_cors() -> list[Any]:
    return [
        _plain("envoy.filters.http.fault", fault_pb2.HTTPFault()),
        _plain("envoy.filters.http.cors", cors_pb2.Cors()),
    ]


def _per_route(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    """Filters that do nothing unless a route says so."""
    return _fault_and_cors()


def _stats(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    config = stats_config(ctx)
    return [] if config is None else [_plain(stats.NAME, config)]


def stats_config(ctx: ChainContext) -> Any:
    """The config of istio.stats for listeners of this class, None when there is no such filter."""
    if not abilities.can_run(ctx.node, abilities.STATS):
        return None
    no_fallback = ctx.cls is not ListenerClass.OUTBOUND or not ctx.node.is_sidecar
    return stats.stats_config(ctx.telemetry.metrics, no_fallback)


def _dynamic_forward_proxy(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    if chain.dns_cache is None:
        return []
    config = dynamic_forward_proxy_pb2.FilterConfig(dns_cache_config=chain.dns_cache)
    return [_plain("envoy.filters.http.dynamic_forward_proxy", config)]


def _router(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    debug = ctx.headers.envoy_debug_headers
    suppress = debug is not None and debug.disabled is True
    config = router_pb2.Router(suppress_envoy_headers=suppress)
    return [_plain("envoy.filters.http.router", config)]


def _custom(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    named = custom_filters(ctx.snap, ctx.authorization, tcp=False, sidecar=ctx.node.is_sidecar)
    return [_plain(name, config) for name, config in named]


def _phase(name: str) -> Callable[[ChainContext, HttpChain], list[Any]]:
    def build(ctx: ChainContext, chain: HttpChain) -> list[Any]:
        return http_extensions(ctx, name, chain.port)

    return build


def _jwt(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    config = jwt.jwt_authn(ctx.authentication, ctx.snap.keys, ctx.node.is_sidecar)
    return [] if config is None else [_plain(jwt.NAME, config)]


def _rbac(ctx: ChainContext, chain: HttpChain) -> list[Any]:
    return [_plain(name, config) for name, config in policy_filters(ctx.snap, ctx.authorization, tcp=False)]


FILTERS: tuple[Callable[[ChainContext, HttpChain], list[Any]], ...] = (
    _peer_metadata,  # first: everything after may ask who the peer is
    _custom,
    _phase(AUTHN),
    _jwt,
    _phase(AUTHZ),
    _rbac,
    _phase(STATS),
    _phase(UNSPECIFIED),
    _grpc_web,
    _grpc_stats,
    _alpn,
    _per_route,
    _stats,
    _dynamic_forward_proxy,
    _router,
)
