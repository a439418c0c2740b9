"""Network filters of a few lines: sni_cluster, connection_limit.

Source: envoy.extensions.filters.network.{sni_cluster,connection_limit}.v3.
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.values import optional_seconds
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.net.connection import Downstream

CLUSTER_KEY = "envoy.tcp_proxy.cluster"


class SniCluster(NetworkFilter):
    """The TCP proxy's cluster is the server name that the client asked for."""

    def allow(self, conn: Downstream) -> bool:
        if conn.server_name:
            conn.set_filter_state(CLUSTER_KEY, conn.server_name)
        return True


class ConnectionLimit(NetworkFilter):
    """At most so many connections at once; those beyond are closed."""

    def __init__(self, config: Any, server: Any) -> None:
        if optional_seconds(config, "delay"):
            raise Unsupported("ConnectionLimit.delay")
        self.most: int = config.max_connections.value
        self.stats: Any = server.stats.group(
            f"connection_limit.{config.stat_prefix}", ["limited_connections"], ["active_connections"]
        )

    def allow(self, conn: Downstream) -> bool:
        if self.stats.active_connections >= self.most:
            self.stats.limited_connections += 1
            return False
        return True

    def wrap(self, conn: Downstream, inner: Any) -> Any:
        self.stats.active_connections += 1
        return Counted(self.stats, inner)


class Counted:
    """Stands before a connection's protocol until it is gone, to count it."""

    def __init__(self, stats: Any, inner: Any) -> None:
        self.stats = stats
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def connection_made(self, transport: Any) -> None:
        self.inner.connection_made(Swapping(self, transport))

    def connection_lost(self, error: BaseException | None) -> None:
        self.stats.active_connections -= 1
        self.inner.connection_lost(error)


class Swapping:
    """A transport whose protocol may be put in another's place without the count being lost."""

    def __init__(self, owner: Counted, transport: Any) -> None:
        self._owner = owner
        self._transport = transport

    def set_protocol(self, protocol: Any) -> None:
        self._owner.inner = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def sni_cluster(config: Any, server: Any, listener: Any) -> SniCluster:
    return SniCluster()


def connection_limit(config: Any, server: Any, listener: Any) -> ConnectionLimit:
    return ConnectionLimit(config, server)
