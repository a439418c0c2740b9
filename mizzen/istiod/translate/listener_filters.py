"""Listener filters: what looks at a connection before a filter chain is chosen.

Takes the filter chains of a listener, gives ListenerFilter messages. The inspectors of virtualInbound are switched off for
the ports that do not need them. Not here: network filters (filters/).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.original_src.v3 import original_src_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.type.v3 import range_pb2

from mizzen.istiod.node import Node
from mizzen.istiod.translate.messages import pack, uint32

ListenerFilter = listener_components_pb2.ListenerFilter
Predicate = listener_components_pb2.ListenerFilterChainMatchPredicate
LAST_PORT = 65535
ORIGINAL_SRC_MARK = 1337
PLAIN_HTTP = frozenset({"http/1.0", "http/1.1", "h2c"})


@cache
def tls_inspector() -> Any:
    """Reads the ClientHello: SNI and ALPN."""
    config = tls_inspector_pb2.TlsInspector(initial_read_buffer_size=uint32(512))
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(config))


@cache
def http_inspector() -> Any:
    """Tells HTTP/1 and HTTP/2 in the clear from other bytes."""
    config = http_inspector_pb2.HttpInspector()
    return ListenerFilter(name="envoy.filters.listener.http_inspector", typed_config=pack(config))


@cache
def proxy_protocol() -> Any:
    """Reads a PROXY protocol header."""
    config = proxy_protocol_pb2.ProxyProtocol()
    return ListenerFilter(name="envoy.filters.listener.proxy_protocol", typed_config=pack(config))


@cache
def original_dst() -> Any:
    """Finds where a redirected connection wanted to go."""
    config = original_dst_pb2.OriginalDst()
    return ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=pack(config))


@cache
def original_src() -> Any:
    """Keeps the client's address towards the application (TPROXY)."""
    config = original_src_pb2.OriginalSrc(mark=ORIGINAL_SRC_MARK)
    return ListenerFilter(name="envoy.filters.listener.original_src", typed_config=pack(config))


def inbound(node: Node, chains: Iterable[Any], own: bool) -> list[Any]:
    """The filters of an inbound listener. own: it is bound for itself, and no connection was redirected to it."""
    out = [] if own else [original_dst()]
    if not own and node.interception_mode == "TPROXY":
        out.append(original_src())
    tls: dict[int, bool] = {}
    http: dict[int, bool] = {}
    for chain in chains:
        match = chain.filter_chain_match
        port = match.destination_port.value
        tls[port] = tls.get(port, False) or match.transport_protocol == "tls"
        http[port] = http.get(port, False) or bool(PLAIN_HTTP & set(match.application_protocols))
    if any(tls.values()):
        out.append(_disabled(tls_inspector(), _where_off(tls)))
    if any(http.values()):
        out.append(_disabled(http_inspector(), _any_of([port for port, needed in http.items() if not needed])))
    return out


def _where_off(needed: dict[int, bool]) -> Any:
    """Ports that do not need an inspector; port 0 stands for all that no chain names."""
    if needed.get(0, False):
        return _any_of([port for port, on in needed.items() if not on])
    return Predicate(not_match=_any_of([port for port, on in needed.items() if on]))


def _any_of(ports: list[int]) -> Any:
    rules = [
        Predicate(destination_port_range=range_pb2.Int32Range(start=port, end=port + 1))
        for port in sorted(ports)
        if port <= LAST_PORT  # no connection comes to another one
    ]
    if not rules:
        return None
    return rules[0] if len(rules) == 1 else Predicate(or_match=Predicate.MatchSet(rules=rules))


def _disabled(filter_: Any, where: Any) -> Any:
    if where is None:
        return filter_
    out = ListenerFilter()
    out.CopyFrom(filter_)
    out.filter_disabled.CopyFrom(where)
    return out
