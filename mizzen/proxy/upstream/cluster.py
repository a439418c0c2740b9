"""A cluster at run time: its hosts, balancer, breakers, counters, and how its hosts are connected to.

Not here: where hosts come from (discovery.py), health (health.py, outlier.py), which clusters there are (manager.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from mizzen.proxy.config.clusters import AUTO, DOWNSTREAM, HTTP2, ClusterConfig
from mizzen.proxy.config.endpoints import Assignment
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.net.addresses import Address
from mizzen.proxy.stats.groups import ClusterGroup
from mizzen.proxy.stats.hot import ClusterHot
from mizzen.proxy.stats.names import CLUSTER_COUNTERS, CLUSTER_GAUGES, CLUSTER_HISTOGRAMS, ssl_group
from mizzen.proxy.upstream.balancer import Balancer
from mizzen.proxy.upstream.connect import dial
from mizzen.proxy.upstream.host import DEGRADED, UNHEALTHY, Host
from mizzen.proxy.upstream.lb import make_balancer
from mizzen.proxy.upstream.outlier import Detector
from mizzen.proxy.upstream.pool import Pool
from mizzen.proxy.upstream.resources import Resources, resources, unlimited


class Cluster:
    """One cluster. `warm` once it may be used; `on_warm` is then called."""

    def __init__(self, config: ClusterConfig, server: Any, only: Host | None = None) -> None:
        self.config = config
        self.server = server
        self.loop: asyncio.AbstractEventLoop = server.loop
        self.name = config.name
        self.http = config.http
        self.metadata = config.metadata
        prefix = f"cluster.{config.alt_stat_name}"
        self.stat_prefix = prefix
        self.only = only  # see aside
        self.stats: Any = (
            server.stats.group(prefix, CLUSTER_COUNTERS, CLUSTER_GAUGES, CLUSTER_HISTOGRAMS, make=ClusterGroup)
            if only is None
            else ClusterGroup("", CLUSTER_COUNTERS, CLUSTER_GAUGES, CLUSTER_HISTOGRAMS)
        )
        self.hot: ClusterHot = self.stats.hot  # what every request counts
        self.stats.upstream_cx_none_healthy += 0
        self.retry_stats: Any = server.stats.group(f"{prefix}.retry")  # answers that were tried again
        self.resources: tuple[Resources, Resources] = (
            resources(server.stats, prefix, config.proto) if only is None else (unlimited(), unlimited())
        )
        self.balancer: Any = make_balancer(config, self)
        self.plain: Balancer | None = self.balancer if self.balancer.__class__ is Balancer else None  # called directly
        self.hosts: dict[Any, Host] = {}
        self.priorities: list[list[Host]] = []
        self.assignment = Assignment()
        self.drop_share = 0.0  # of requests that the assignment's drop_overloads refuse
        self.warm = False
        self.removed = False
        self.on_warm: Callable[[], None] | None = None
        self.discovery: Any = None
        self.health: Any = None
        self.outlier = (
            Detector(config.proto.outlier_detection, self)
            if only is None and config.proto.HasField("outlier_detection")
            else None
        )
        self.health_changed: list[Callable[[], None]] = []
        self.original = config.type == "ORIGINAL_DST" or only is not None
        self.variant_needed: bool = (
            self.http.protocol in (AUTO, DOWNSTREAM)
            or self.http.auto_sni
            or config.transport.tls is not None
            or config.transport.proxy_protocol is not None
            or bool(config.transport_matches)
        )
        self.originals: dict[Address, Host] = {}
        self.connects = 0
        self._ssl: Any = None
        self.uses_tls = any(transport.tls is not None for transport in self.transports())
        if self.uses_tls:
            assert self.ssl_stats is not None

    @property
    def ssl_stats(self) -> Any:
        if self._ssl is None:
            self._ssl = ssl_group(self.server.stats, self.stat_prefix)
        return self._ssl

    def transports(self) -> list[Any]:
        """All transport sockets that its hosts may use."""
        return [self.config.transport, *(transport for _, transport in self.config.transport_matches)]

    def aside(self, host: Host, protocol: str) -> Cluster:
        """The same way of connecting for one host, with counts and limits apart from this cluster's."""
        out = Cluster(self.config, self.server, host)
        out.http = self.http.speaking(protocol)
        return out

    # --- hosts ---

    def set_assignment(self, assignment: Assignment) -> None:
        """Take new endpoints in: hosts that are gone close, the balancer learns of the others."""
        before = self.hosts
        after = {host.key: host for hosts in assignment.priorities for host in hosts}
        self.hosts = after
        self.assignment = assignment
        self.drop_share = min(1.0, sum(share for _, share in assignment.drops))
        changed = before.keys() != after.keys()
        for key, host in after.items():
            host.transport = self._transport(host)
            if key not in before:
                if self.outlier is not None:
                    self.outlier.add(host)
                if self.health is not None:
                    self.health.add(host)
        for key, host in before.items():
            if key not in after:
                host.close_pools()
                if self.health is not None:
                    self.health.remove(host)
        self.priorities = assignment.priorities
        if changed:
            self.stats.membership_change += 1
        else:
            self.stats.update_no_rebuild += 0
        self.refresh()

    def refresh(self) -> None:
        """Hosts or their health changed: sort them anew."""
        self.balancer.update(self.priorities, self.assignment)
        stats = self.stats
        hosts = self.hosts.values()
        stats.membership_total = len(hosts)
        stats.membership_healthy = sum(1 for host in hosts if not host.flags & (UNHEALTHY | DEGRADED))
        stats.membership_degraded = sum(1 for host in hosts if host.flags & DEGRADED and not host.flags & UNHEALTHY)
        stats.max_host_weight = max((host.weight for host in hosts), default=0)

    def _transport(self, host: Host) -> Any:
        """The transport socket of a host: the first match by its metadata, else the cluster's own."""
        if self.config.transport_matches:
            given = (host.metadata or {}).get("envoy.transport_socket_match") or {}
            for wanted, transport in self.config.transport_matches:
                if all(given.get(key) == value for key, value in wanted.items()):
                    return transport
        return self.config.transport

    def become_warm(self) -> None:
        """Endpoints are known; with active health checks they must also have been checked."""
        if self.health is not None and not self.warm and not self.health.ready():
            self.health.when_ready(self.become_warm)
            return
        if not self.warm:
            self.warm = True
            if self.on_warm is not None:
                self.on_warm()

    # --- requests ---

    def pick(self, stream: Any) -> Host | None:
        """The host for a request or TCP session; None when there is none."""
        if self.original:
            return self._original(stream)
        if self.plain is not None:
            return self.plain.pick(stream)
        host: Host | None = self.balancer.pick(stream)
        return host

    def _original(self, stream: Any) -> Host | None:
        if self.only is not None:
            return self.only
        address: Address | None = None
        header = self.config.original_dst_header
        if header and stream.request is not None:
            text = stream.request.get(header)
            if text is not None:
                host, _, port = text.rpartition(":")
                if not port.isdigit():
                    self.stats.original_dst_host_invalid += 1
                    return None
                address = host.strip("[]"), int(port)
        if address is None and stream.conn.restored:
            address = stream.conn.local
        if address is None:
            return None
        if self.config.original_dst_port:
            address = address[0], self.config.original_dst_port
        found = self.originals.get(address)
        if found is None:
            found = self.originals[address] = Host(address)
            found.transport = self.config.transport
            self.hosts[found.key] = found
            if self.outlier is not None:
                self.outlier.add(found)
            self.stats.membership_change += 1
            self.stats.membership_total = self.stats.membership_healthy = len(self.hosts)
        return found

    def forget_originals(self) -> None:
        """Drop original destinations that nothing is connected to; called every cleanup interval."""
        for address, host in list(self.originals.items()):
            if not host.pools and not host.cx_active:
                del self.originals[address]
                self.hosts.pop(host.key, None)
                self.stats.membership_change += 1
        self.stats.membership_total = self.stats.membership_healthy = len(self.hosts)

    def pool(self, host: Host, stream: Any, priority: int) -> Pool:
        """The pool that serves a request at a host."""
        key: Any = self._variant(host, stream, priority) if self.variant_needed else priority
        pool = host.pools.get(key)
        if pool is None:
            pool = host.pools[key] = self._new_pool(host, priority, key)
        return pool

    def _variant(self, host: Host, stream: Any, priority: int) -> Any:
        protocol = self.http.protocol
        if protocol == DOWNSTREAM:
            protocol = HTTP2 if stream.protocol == "HTTP/2" and self.http.h2 is not None else "http1"
        ends = None
        if host.transport is not None and host.transport.proxy_protocol is not None and stream is not None:
            ends = (stream.conn.remote, stream.conn.local)  # a connection belongs to the client that it speaks of
        if host.transport is None or host.transport.tls is None:
            return (priority, "http1" if protocol == AUTO else protocol, None, ends)
        return (priority, protocol, host.transport.options_for(stream, self.http, protocol), ends)

    def _new_pool(self, host: Host, priority: int, key: Any) -> Pool:
        protocol = self.http.protocol if key.__class__ is int else key[1]
        if protocol == "http1":
            return Pool(self, host, priority, key)
        from mizzen.proxy.upstream.h2_pool import AutoPool, Http2Pool

        if protocol == HTTP2:
            return Http2Pool(self, host, priority, key)
        if protocol == AUTO:
            return AutoPool(self, host, priority, key)
        raise Unsupported(f"protocol {protocol}")

    def dial(self, host: Host, connection: Any, variant: Any, downstream: Any = None) -> Any:
        """Begin to connect a protocol to a host. `variant` is a pool's key; its last part are the TLS options."""
        config = self.config
        tls = None
        preamble = b""
        transport = host.transport
        if transport is not None:
            if transport.proxy_protocol is not None:
                ends = variant[3] if variant.__class__ is tuple and len(variant) > 3 else None
                preamble = transport.proxy_protocol(downstream or ends)
            if transport.tls is not None:
                options = variant[2] if variant.__class__ is tuple else None
                tls = transport.tls.layers(options, self)
        source = None
        if config.source:
            v6 = ":" in host.address[0]
            source = next((address for address in config.source if (":" in address[0]) == v6), None)
        self.connects += 1
        if config.upstream_filters and tls is not None and downstream is None:
            for each in config.upstream_filters:
                connection = each.wrap(None, connection)
        return dial(
            self.loop, host.address, connection, config.connect_timeout, tls, source, config.keepalive, preamble
        )

    def close(self) -> None:
        """The cluster is removed or replaced."""
        self.removed = True
        for part in (self.discovery, self.health, self.outlier):
            if part is not None:
                part.stop()
        for host in list(self.hosts.values()):
            host.close_pools()
