"""Connection pools: who gets which connection to one host, who waits, and who is refused.

A pool serves one host at one priority with one way of connecting (protocol, TLS variant). `Pool` is HTTP/1.1's: one request
a connection; Http2Pool multiplexes. A request is an `UpstreamRequest` (router's side): the pool calls `pool_ready(connection)`
or `pool_failure(reason, text)`. Not here: the wire (h1_client.py, h2_client.py), connecting (connect.py).
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.upstream.h1_client import H1Client
from mizzen.proxy.upstream.request import UpstreamRequest

if TYPE_CHECKING:
    from mizzen.proxy.upstream.cluster import Cluster
    from mizzen.proxy.upstream.host import Host

# why a stream or connection ended, in the words that Envoy tells clients and logs
OVERFLOW: Final = "overflow"
CONNECT_TIMEOUT: Final = "connection timeout"
LOCAL_CONNECT_FAILURE: Final = "local connection failure"
REMOTE_CONNECT_FAILURE: Final = "remote connection failure"
TERMINATION: Final = "connection termination"
LOCAL_RESET: Final = "local reset"
REMOTE_RESET: Final = "remote reset"
PROTOCOL_ERROR: Final = "protocol error"
REFUSED: Final = "remote refused stream reset"


class Pool:
    """HTTP/1.1 connections to one host."""

    max_streams = 1

    def __init__(self, cluster: Cluster, host: Host, priority: int, variant: Any) -> None:
        self.cluster = cluster
        self.host = host
        self.priority = priority
        self.variant = variant
        self.resources = cluster.resources[priority]
        self.stats: Any = cluster.stats
        self.hot = cluster.hot
        self.idle: list[Any] = []
        self.connections: set[Any] = set()
        self.connecting = 0
        self.pending: deque[Any] = deque()
        self.draining = False

    # --- requests ---

    def request(self, up: Any) -> None:
        """Serve a request now, or when a connection is there, or refuse it."""
        if self.idle:
            self.attach(self.idle.pop(), up)
            return
        self._wait(up)

    def _wait(self, up: Any) -> None:
        """Queue a request until a connection has room for it, or refuse it."""
        resources = self.resources
        stats = self.stats
        if resources.pending >= resources.max_pending:
            stats.upstream_rq_pending_overflow += 1
            up.pool_failure(OVERFLOW, None)
            return
        resources.pending += 1
        stats.upstream_rq_pending_total += 1
        stats.upstream_rq_pending_active += 1
        up.pending_in = self
        self.pending.append(up)
        self.connect_for_pending()

    def connect_for_pending(self) -> None:
        if self.connecting * self.max_streams >= len(self.pending):
            return
        resources = self.resources
        if resources.connections >= resources.max_connections:
            self.stats.upstream_cx_overflow += 1
            if self.connections:
                return
        self.connect()

    def connect(self) -> None:
        self.connecting += 1
        self.resources.connections += 1
        self.host.cx_total += 1
        self.host.cx_active += 1
        stats = self.stats
        stats.upstream_cx_total += 1
        stats.upstream_cx_active += 1
        connection = self.new_connection()
        self.connections.add(connection)
        self.cluster.dial(self.host, connection, self.variant)

    def new_connection(self) -> Any:
        self.stats.upstream_cx_http1_total += 1
        return H1Client(self)

    def cancel(self, up: Any) -> None:
        """The request no longer waits."""
        try:
            self.pending.remove(up)
        except ValueError:
            return
        self._left_queue(up)
        self.stats.upstream_rq_cancelled += 1

    def _left_queue(self, up: Any) -> None:
        up.pending_in = None
        self.resources.pending -= 1
        self.stats.upstream_rq_pending_active -= 1

    def attach(self, connection: Any, up: Any) -> None:
        resources = self.resources
        if resources.requests >= resources.max_requests:
            self.give_back(connection)
            up.pool_failure(OVERFLOW, None)
            return
        resources.requests += 1
        host, hot = self.host, self.hot
        host.rq_total += 1
        host.rq_active += 1
        hot.upstream_rq_total += 1
        hot.upstream_rq_active += 1
        if isinstance(connection, H1Client):
            connection.attach(up)
            if isinstance(up, UpstreamRequest):
                up.pool_ready(connection)
                return
        else:
            connection.attach(up)
        up.pool_ready(connection)

    def detached(self) -> None:
        """A request's stream on one of the connections is over."""
        self.resources.requests -= 1
        self.host.rq_active -= 1
        self.hot.upstream_rq_active -= 1

    # --- connections ---

    def connected(self, connection: Any) -> None:
        self.connecting -= 1
        self.stats.upstream_cx_connect_ms.record((time.monotonic() - connection.started) * 1000)
        self.give_back(connection)

    def give_back(self, connection: Any) -> None:
        """A connection can take a request: the one that waits longest gets it."""
        if self.pending:
            up = self.pending.popleft()
            self._left_queue(up)
            self.attach(connection, up)
        elif self.draining:
            connection.close()
        else:
            self.idle.append(connection)

    def connect_failed(self, connection: Any, reason: str, text: str | None) -> None:
        """All that wait fail with the connection that they waited for, as in Envoy."""
        self.connecting -= 1
        self.forget(connection)
        self.host.cx_connect_fail += 1
        self.stats.upstream_cx_connect_fail += 1
        if reason == CONNECT_TIMEOUT:
            self.stats.upstream_cx_connect_timeout += 1
        waiting, self.pending = self.pending, deque()
        for up in waiting:
            self._left_queue(up)
            self.stats.upstream_rq_pending_failure_eject += 1
        for up in waiting:
            up.pool_failure(reason, text)

    def closed(self, connection: Any, by_peer: bool, active: bool) -> None:
        """An established connection is gone."""
        stats = self.stats
        stats.upstream_cx_destroy += 1
        stats.upstream_cx_length_ms.record((time.monotonic() - connection.started) * 1000)
        if by_peer:
            stats.upstream_cx_destroy_remote += 1
        else:
            stats.upstream_cx_destroy_local += 1
        if active:
            stats.upstream_cx_destroy_with_active_rq += 1
            if by_peer:
                stats.upstream_cx_destroy_remote_with_active_rq += 1
            else:
                stats.upstream_cx_destroy_local_with_active_rq += 1
        self.forget(connection)
        if self.pending:
            self.connect_for_pending()

    def forget(self, connection: Any) -> None:
        if connection in self.connections:
            self.connections.discard(connection)
            self.resources.connections -= 1
            self.host.cx_active -= 1
            self.stats.upstream_cx_active -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        if not self.connections and not self.pending:
            self.host.pools.pop(self.variant, None)

    def drain(self) -> None:
        self.draining = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
        if not self.connections and not self.pending:
            self.host.pools.pop(self.variant, None)
