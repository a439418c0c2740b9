"""Filter-chain matching in Envoy's order, criterion by criterion, the most specific first and without going back.

Takes FilterChainMatch protos, gives the chain of a connection. Source: envoy.config.listener.v3.FilterChainMatch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.matchers import Ranges
from mizzen.proxy.net.connection import Downstream

NO = -1
LOOPBACK = ("127.", "::1")


class ChainMatch:
    """What one chain asks for. Each method tells how specifically a connection fits, NO when it does not."""

    def __init__(self, message: Any) -> None:
        if message.address_suffix or message.HasField("suffix_len"):
            raise Unsupported("FilterChainMatch.address_suffix")
        self.port = message.destination_port.value if message.HasField("destination_port") else None
        self.destinations = Ranges(message.prefix_ranges)
        self.names: tuple[str, ...] = tuple(name.lower() for name in message.server_names)
        for name in self.names:
            if ("*" in name and not (name.startswith("*.") or name == "*")) or name.count("*") > 1:
                raise ConfigError(
                    f'error adding listener: partial wildcards are not supported in "server_names": {name}'
                )
        self.transport: str = message.transport_protocol
        self.alpn: frozenset[str] = frozenset(message.application_protocols)
        self.direct_sources = Ranges(message.direct_source_prefix_ranges)
        self.source_type = message.source_type
        self.sources = Ranges(message.source_prefix_ranges)
        self.source_ports = frozenset(message.source_ports)

    def by_port(self, conn: Downstream) -> int:
        return 0 if self.port is None else 1 if self.port == conn.local[1] else NO

    def by_destination(self, conn: Downstream) -> int:
        return (
            0
            if not self.destinations
            else 1 + longest
            if (longest := self.destinations.longest(conn.local[0])) >= 0
            else NO
        )

    def by_name(self, conn: Downstream) -> int:
        if not self.names:
            return 0
        wanted = conn.server_name
        best = NO
        for name in self.names:
            if name == wanted:
                return 1 << 20
            if name == "*":
                best = max(best, 1)
            elif name.startswith("*.") and wanted.endswith(name[1:]) and len(wanted) > len(name) - 1:
                best = max(best, len(name))
        return best

    def by_transport(self, conn: Downstream) -> int:
        return 0 if not self.transport else 1 if self.transport == (conn.transport_protocol or "raw_buffer") else NO

    def by_alpn(self, conn: Downstream) -> int:
        return 0 if not self.alpn else 1 if not self.alpn.isdisjoint(conn.alpn) else NO

    def by_direct_source(self, conn: Downstream) -> int:
        return (
            0
            if not self.direct_sources
            else 1 + longest
            if (longest := self.direct_sources.longest(conn.direct_remote[0])) >= 0
            else NO
        )

    def by_source_type(self, conn: Downstream) -> int:
        if self.source_type == 0:
            return 0
        remote = conn.remote[0]
        own = remote.startswith(LOOPBACK) or remote == conn.local[0] or conn.remote[1] < 0
        return 1 if own == (self.source_type == 1) else NO

    def by_source(self, conn: Downstream) -> int:
        return 0 if not self.sources else 1 + longest if (longest := self.sources.longest(conn.remote[0])) >= 0 else NO

    def by_source_port(self, conn: Downstream) -> int:
        return 0 if not self.source_ports else 1 if conn.remote[1] in self.source_ports else NO


# the order that Envoy goes through
CRITERIA: tuple[Callable[[ChainMatch, Downstream], int], ...] = (
    ChainMatch.by_port,
    ChainMatch.by_destination,
    ChainMatch.by_name,
    ChainMatch.by_transport,
    ChainMatch.by_alpn,
    ChainMatch.by_direct_source,
    ChainMatch.by_source_type,
    ChainMatch.by_source,
    ChainMatch.by_source_port,
)


def choose(chains: Sequence[Any], conn: Downstream) -> Any:
    """The chain (anything with a `match`) for a connection; None when none fits."""
    left = list(chains)
    for criterion in CRITERIA:
        scores = [criterion(chain.match, conn) for chain in left]
        best = max(scores, default=NO)
        if best == NO:
            return None
        if len(left) > 1 or scores[0] == NO:
            left = [chain for chain, score in zip(left, scores, strict=True) if score == best]
    return left[0] if left else None


ALPN_ANY = "istio-http/1.0"
