"""Filter chains before they become messages: what a connection must look like, and the filters that it gets.

Takes Chain values, gives envoy FilterChain messages and the listener filters that their matches need.
Not here: which chains a listener has (listeners_outbound.py, gateway_listeners.py), network filters (filters/).
Source: envoy.config.listener.v3.FilterChainMatch.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from envoy.config.core.v3 import address_pb2
from envoy.config.listener.v3 import listener_components_pb2 as components
from envoy.config.listener.v3 import listener_pb2
from google.protobuf.wrappers_pb2 import UInt32Value

from mizzen.istiod.translate.messages import duration

HTTP_ALPNS = ("http/1.1", "h2c")
"""What the HTTP inspector finds on a connection in the clear."""
MTLS_ALPNS = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
"""What clients of the mesh offer under mutual TLS."""
RAW = "raw_buffer"
CONNECT_TIMEOUT_S = 15.0


class Chain(msgspec.Struct, frozen=True):
    """One filter chain. Empty match fields take any connection.

    server_names: SNI hosts, `*` = any; cidrs: original destinations; transport_socket: for TLS that ends here;
    filters: network filters, the terminal one last; config_path: the object that it comes from, "" = none told.
    """

    filters: Sequence[Any] = ()
    server_names: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    application_protocols: tuple[str, ...] = ()
    transport_protocol: str = ""
    transport_socket: Any = None
    offers_alpn: bool = False
    config_path: str = ""

    @property
    def match(self) -> tuple[object, ...]:
        """What a connection must look like; chains of one listener must differ in it."""
        names = () if "*" in self.server_names else tuple(sorted(self.server_names))
        return names, tuple(sorted(self.cidrs)), tuple(sorted(self.application_protocols)), self.transport_protocol

    @property
    def matches_all(self) -> bool:
        return self.match == ((), (), (), "")


def filter_chain(chain: Chain) -> components.FilterChain:
    """The message, without a match when every connection will do."""
    out = components.FilterChain(
        filters=chain.filters,
        transport_socket=chain.transport_socket,
        transport_socket_connect_timeout=duration(CONNECT_TIMEOUT_S),
    )
    if not chain.matches_all:
        match = out.filter_chain_match
        match.application_protocols.extend(chain.application_protocols)
        match.transport_protocol = chain.transport_protocol
        if "*" not in chain.server_names:
            match.server_names.extend(chain.server_names)
        match.prefix_ranges.extend(cidr_range(cidr) for cidr in sorted(chain.cidrs) if is_cidr(cidr))
    if chain.config_path:
        out.metadata.filter_metadata["istio"]["config"] = chain.config_path
    return out


def is_cidr(text: str) -> bool:
    """Whether it can be matched: what admission refuses may still stand in files, and holds no other chain up."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def cidr_range(text: str) -> address_pb2.CidrRange:
    """An address or CIDR as a range; an address is a range of one."""
    network = ipaddress.ip_network(text, strict=False)
    address = text.partition("/")[0]
    return address_pb2.CidrRange(address_prefix=address, prefix_len=UInt32Value(value=network.prefixlen))


def inspects_tls(chains: Iterable[Chain]) -> bool:
    """Whether SNI or ALPN have to be read before a chain can be chosen."""
    return any(chain.server_names or chain.offers_alpn for chain in chains)


def inspects_http(chains: Iterable[Chain]) -> bool:
    """Whether the first bytes have to be read to tell HTTP from the rest."""
    return any(set(HTTP_ALPNS) & set(chain.application_protocols) for chain in chains)


def bind_address(bind: str, port: int) -> address_pb2.Address:
    """Where a listener is bound; port 0 makes the bind a path."""
    if port == 0:
        return address_pb2.Address(pipe=address_pb2.Pipe(path=bind.removeprefix("unix://")))
    return address_pb2.Address(socket_address=address_pb2.SocketAddress(address=bind, port_value=port))


def additional_addresses(binds: Iterable[str], port: int) -> list[listener_pb2.AdditionalAddress]:
    """Further addresses of one listener."""
    return [listener_pb2.AdditionalAddress(address=bind_address(bind, port)) for bind in binds]
