"""Filter chains of a service's TCP or TLS port on a sidecar.

Takes a service, its port and the VirtualServices that name it, gives chains in order of precedence. Not here: HTTP
chains and whole listeners (listeners_outbound.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import sni_dynamic_forward_proxy_pb2

from mizzen.api.istio.virtual_service import VirtualService
from mizzen.istiod.hostname import is_wildcard, overlaps
from mizzen.istiod.internal_names import MESH_GATEWAY
from mizzen.istiod.registry.model import Resolution, Service
from mizzen.istiod.translate.addresses import address_for, wildcards
from mizzen.istiod.translate.chains import Chain
from mizzen.istiod.translate.cluster_flavour import flavour_of
from mizzen.istiod.translate.cluster_outbound import dns_cache
from mizzen.istiod.translate.filters import ChainContext, TcpOptions, tcp_filter_chain
from mizzen.istiod.translate.route_virtual_service import config_path
from mizzen.istiod.translate.tcp_routes import ListenPort, TcpScope, l4_applies, routed, service_route
from mizzen.istiod.translate.virtual_host_domains import short_names

MESH = (MESH_GATEWAY,)


class TcpChains:
    """Builds the chains of one sidecar's services."""

    def __init__(self, ctx: ChainContext, tcp: TcpScope) -> None:
        self.ctx = ctx
        self.tcp = tcp
        self.node = ctx.node
        self.family = flavour_of(ctx.snap, ctx.node).family

    def chains(
        self, svc: Service, port: ListenPort, bind: str, cidrs: tuple[str, ...], rules: Iterable[VirtualService]
    ) -> list[Chain]:
        """bind: the listener's address; cidrs: ranges that the service's traffic is told by, none = the bind
        tells it.
        """
        own = [vs for vs in rules if any(overlaps(host, svc.host) for host in vs.spec.hosts)]
        if port.protocol.is_tls:
            return self._tls(svc, port, bind, cidrs, own)
        return self._tcp(svc, port, cidrs, own)

    def _filters(self, options: TcpOptions) -> list[object]:
        return tcp_filter_chain(self.ctx, options)

    def _tls(
        self, svc: Service, port: ListenPort, bind: str, cidrs: tuple[str, ...], rules: Sequence[VirtualService]
    ) -> list[Chain]:
        out: list[Chain] = []
        seen: set[tuple[object, ...]] = set()
        for vs in rules:
            for route in vs.spec.tls:
                for match in route.match:
                    if not l4_applies(match, port.number, MESH, self.node.labels, self.node.namespace):
                        continue
                    key = (tuple(sorted(match.sni_hosts)), tuple(sorted(match.destination_subnets)))
                    if key in seen:
                        continue
                    seen.add(key)
                    own = match.destination_subnets if port.number else ()
                    filters = self._filters(routed(route.route, vs, port, self.tcp))
                    out.append(Chain(filters, match.sni_hosts, own or cidrs, config_path=config_path(vs)))
        return out or [self._plain_tls(svc, port, bind, cidrs)]

    def _plain_tls(self, svc: Service, port: ListenPort, bind: str, cidrs: tuple[str, ...]) -> Chain:
        """The chain of a TLS port without rules: told by SNI only where the address does not tell it."""
        names: tuple[str, ...] = ()
        options = service_route(svc, port, self.tcp)
        dynamic = svc.resolution is Resolution.DYNAMIC_DNS and is_wildcard(svc.host)
        any_address = address_for(svc, self.node) in wildcards(self.node) and bind in wildcards(self.node)
        if cidrs or any_address or dynamic:
            aliases = [name for alias in svc.aliases for name in (alias, *short_names(alias, self.node.dns_domain))]
            names = (svc.host, *aliases)
        if dynamic:
            proxy = sni_dynamic_forward_proxy_pb2.FilterConfig(
                dns_cache_config=dns_cache(svc, self.family), port_value=port.number
            )
            options = msgspec.structs.replace(options, sni_proxy=proxy)
        return Chain(self._filters(options), names, cidrs)

    def _tcp(
        self, svc: Service, port: ListenPort, cidrs: tuple[str, ...], rules: Sequence[VirtualService]
    ) -> list[Chain]:
        out: list[Chain] = []
        for vs in rules:
            for route in vs.spec.tcp:
                path = config_path(vs)
                if not route.match:
                    return [
                        *out,
                        Chain(self._filters(routed(route.route, vs, port, self.tcp)), (), cidrs, config_path=path),
                    ]
                subnets: list[str] = []
                for match in route.match:
                    if not l4_applies(match, port.number, MESH, self.node.labels, self.node.namespace):
                        continue
                    if not match.destination_subnets or not port.number:
                        filters = self._filters(routed(route.route, vs, port, self.tcp))
                        return [*out, Chain(filters, (), cidrs, config_path=path)]
                    subnets += match.destination_subnets
                if subnets:
                    filters = self._filters(routed(route.route, vs, port, self.tcp))
                    out.append(Chain(filters, (), tuple(subnets)))
                    if sorted(subnets) == sorted(cidrs):
                        return out  # a default chain would have the same match
        return [*out, Chain(self._filters(service_route(svc, port, self.tcp)), (), cidrs)]
