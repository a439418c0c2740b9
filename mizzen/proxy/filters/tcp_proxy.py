"""envoy.filters.network.tcp_proxy: bytes from a client to a host of a cluster and back.

Half-closes pass through, a reset passes as a reset, reading pauses while the other side cannot take more.
Source: envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.accesslog import access_logs
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import optional_seconds, seconds, wrapped
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.filters.tcp_session import Session
from mizzen.proxy.filters.tcp_tunnel import Tunneling
from mizzen.proxy.net.connection import Downstream
from mizzen.proxy.stats.names import TCP_COUNTERS, TCP_GAUGES


class TcpProxy(NetworkFilter):
    """The configured filter."""

    terminal = True

    def __init__(self, message: Any, server: Any, listener: Any) -> None:
        self.server = server
        kind = message.WhichOneof("cluster_specifier")
        self.targets: list[tuple[str, int]] = []
        if kind == "cluster":
            self.targets = [(message.cluster, 1)]
        elif kind == "weighted_clusters":
            self.targets = [(each.name, each.weight) for each in message.weighted_clusters.clusters]
            if any(each.HasField("metadata_match") for each in message.weighted_clusters.clusters):
                raise Unsupported("TcpProxy.weighted_clusters.metadata_match")
        else:
            raise ConfigError("TcpProxy: cluster_specifier is required")
        self.total = sum(weight for _, weight in self.targets)
        self.stats: Any = server.stats.group(f"tcp.{message.stat_prefix}", TCP_COUNTERS, TCP_GAUGES)
        self.attempts: int = wrapped(message, "max_connect_attempts", 1)
        self.backoff = connect_backoff(message.backoff_options) if message.HasField("backoff_options") else None
        self.tunneling = Tunneling(message.tunneling_config) if message.HasField("tunneling_config") else None
        self.idle_timeout = seconds(message.idle_timeout) if message.HasField("idle_timeout") else 3600.0
        self.max_duration = optional_seconds(message, "max_downstream_connection_duration") or 0.0
        options = message.access_log_options
        if options.flush_access_log_on_connected or options.HasField("access_log_flush_interval"):
            raise Unsupported("TcpProxy.access_log_options")
        self.access_logs = access_logs(message.access_log, server)
        self.watchers: list[Any] = []  # network filters that want to know when a session begins and how it ended
        self.hash_source = False
        for policy in message.hash_policy:
            if policy.WhichOneof("policy_specifier") != "source_ip":
                raise Unsupported("TcpProxy.hash_policy")
            self.hash_source = True

    def cluster(self) -> str:
        if len(self.targets) == 1:
            return self.targets[0][0]
        point = random.random() * self.total
        for name, weight in self.targets:
            if point < weight:
                return name
            point -= weight
        return self.targets[-1][0]

    def protocol(self, conn: Downstream, listener: Any) -> Session:
        return Session(self, conn)


def connect_backoff(message: Any) -> Callable[[int], float]:
    """How long to wait, in seconds, after so many attempts: random, with a bound that doubles."""
    base = seconds(message.base_interval)
    longest = seconds(message.max_interval) or 10 * base
    if longest < base:
        raise ConfigError("max_interval must be greater or equal to base_interval")
    return lambda tried: random.random() * min(base * 2.0 ** min(tried - 1, 60), longest)


def network_filter(config: Any, server: Any, listener: Any) -> TcpProxy:
    return TcpProxy(config, server, listener)
