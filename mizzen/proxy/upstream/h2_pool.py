"""Pools of HTTP/2 connections to one host, and of connections whose protocol ALPN decides."""

from __future__ import annotations

from time import monotonic
from typing import Any

from mizzen.proxy.upstream.h1_client import H1Client
from mizzen.proxy.upstream.h2_client import H2Client
from mizzen.proxy.upstream.pool import OVERFLOW, Pool


class Http2Pool(Pool):
    """HTTP/2 connections to one host: one, and more only when its streams are used up."""

    max_streams = 100

    def __init__(self, cluster: Any, host: Any, priority: int, variant: Any) -> None:
        super().__init__(cluster, host, priority, variant)
        self.ready: list[H2Client] = []

    def request(self, up: Any) -> None:
        for connection in self.ready:
            if connection.can_open():
                self.attach(connection, up)
                return
        self._wait(up)

    def new_connection(self) -> Any:
        self.stats.upstream_cx_http2_total += 1
        return H2Client(self)

    def attach(self, connection: Any, up: Any) -> None:
        resources = self.resources
        if resources.requests >= resources.max_requests:
            up.pool_failure(OVERFLOW, None)
            return
        resources.requests += 1
        host, hot = self.host, self.hot
        host.rq_total += 1
        host.rq_active += 1
        hot.upstream_rq_total += 1
        hot.upstream_rq_active += 1
        up.pool_ready(connection.attach(up))

    def give_back(self, connection: Any) -> None:
        self.ready.append(connection)
        self.more_room(connection)

    def more_room(self, connection: H2Client) -> None:
        """The connection can take more of those that wait."""
        while self.pending and connection.can_open():
            up = self.pending.popleft()
            self._left_queue(up)
            self.attach(connection, up)
        if self.pending:
            self.connect_for_pending()

    def unready(self, connection: H2Client) -> None:
        if connection in self.ready:
            self.ready.remove(connection)

    def forget(self, connection: Any) -> None:
        self.unready(connection)
        super().forget(connection)

    def drain(self) -> None:
        self.draining = True
        for connection in list(self.ready):
            if not connection.active:
                connection.close()


class Undecided:
    """A connection whose ALPN will tell which protocol it is."""

    def __init__(self, pool: AutoPool) -> None:
        self.pool = pool
        self.started = monotonic()

    def connection_made(self, transport: Any) -> None:
        pool = self.pool
        tls = getattr(transport, "tls_info", None)
        chosen: Any = H2Client(pool) if tls is not None and tls.alpn == "h2" else H1Client(pool)
        pool.decided(self, chosen, isinstance(chosen, H2Client))
        transport.set_protocol(chosen)
        chosen.connection_made(transport)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.pool.connect_failed(self, reason, text)

    def close(self) -> None:
        pass


class AutoPool(Http2Pool):
    """HTTP/2 or HTTP/1.1, as the first connection's ALPN says."""

    def __init__(self, cluster: Any, host: Any, priority: int, variant: Any) -> None:
        super().__init__(cluster, host, priority, variant)
        self.http2: bool | None = None

    def new_connection(self) -> Any:
        return Undecided(self)

    def decided(self, before: Undecided, chosen: Any, http2: bool) -> None:
        self.http2 = http2
        self.connections.discard(before)
        self.connections.add(chosen)
        chosen.started = before.started
        if http2:
            self.stats.upstream_cx_http2_total += 1
        else:
            self.stats.upstream_cx_http1_total += 1
            self.max_streams = 1

    def request(self, up: Any) -> None:
        if self.http2 is False and self.idle:
            Pool.attach(self, self.idle.pop(), up)
            return
        super().request(up)

    def give_back(self, connection: Any) -> None:
        if isinstance(connection, H2Client):
            super().give_back(connection)
        elif self.pending:
            up = self.pending.popleft()
            self._left_queue(up)
            Pool.attach(self, connection, up)
        elif self.draining:
            connection.close()
        else:
            self.idle.append(connection)
