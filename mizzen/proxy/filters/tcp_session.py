"""A TCP session: a client's connection, the upstream connection behind it, and the bytes between them.

Half-closes pass through, a reset passes as a reset, reading pauses while the other side cannot take more.
Not here: the configured filter (tcp_proxy.py). No subclass of an interpreted class, so that it can be compiled.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Any

from mizzen.proxy.http import info as flags
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.net.connection import Downstream


def reset(transport: Any) -> None:
    """End a connection with a TCP RST."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Session(StreamInfo):
    """One client connection and the upstream connection behind it."""

    __slots__ = (
        "backlog",
        "cluster_obj",
        "down_eof",
        "down_paused",
        "duration_timer",
        "filter",
        "idle_timer",
        "lb_hash",
        "lb_match",
        "listener",
        "over",
        "retry_timer",
        "touched",
        "transport",
        "tried",
        "up",
        "up_eof",
        "upgrade",
    )

    def __init__(self, filter_: Any, conn: Downstream) -> None:
        StreamInfo.__init__(self, conn, time.monotonic())
        self.filter: Any = filter_
        self.transport: Any = None
        self.listener: Any = None
        self.up: Upstream | None = None
        self.backlog: list[bytes] = []
        self.down_eof = self.up_eof = False
        self.over = False
        self.down_paused = False
        self.tried = 0
        self.touched = self.start
        self.idle_timer: Any = None
        self.duration_timer: Any = None
        self.retry_timer: Any = None
        self.lb_hash: int | None = None
        self.lb_match: dict[str, Any] | None = None
        self.upgrade = False

    # --- the client's side ---

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        filter_ = self.filter
        filter_.stats.downstream_cx_total += 1
        filter_.server.connections.add(self)
        for each in filter_.watchers:
            each.began(self)
        state = self.conn.filter_state
        chosen = state.get("envoy.tcp_proxy.cluster") if state else None
        name = self.upstream_cluster_name = chosen or filter_.cluster()
        if filter_.hash_source:
            from mizzen.proxy.upstream.hashing import text_hash

            self.lb_hash = text_hash(self.conn.remote[0])
        loop = filter_.server.loop
        if filter_.idle_timeout:
            self.idle_timer = loop.call_later(filter_.idle_timeout, self._idle_check)
        if filter_.max_duration:
            self.duration_timer = loop.call_later(filter_.max_duration, self._too_long)
        cluster = self.cluster = filter_.server.clusters.get(name)
        if cluster is None:
            filter_.stats.downstream_cx_no_route += 1
            self.flags |= flags.NO_CLUSTER_FOUND
            self.upstream_cluster_name = name
            self.close()
            return
        self._connect()

    def _connect(self) -> None:
        cluster = self.cluster
        self.tried += 1
        stats = cluster.stats
        if self.tried > self.filter.attempts:
            stats.upstream_cx_connect_attempts_exceeded += 1
            self.flags |= flags.UPSTREAM_RETRY_LIMIT_EXCEEDED
            self.close()
            return
        self.attempts = self.tried
        host = cluster.pick(self)
        if host is None:
            stats.upstream_cx_none_healthy += 1
            self.flags |= flags.NO_HEALTHY_UPSTREAM
            self.close()
            return
        resources = cluster.resources[0]
        if resources.connections >= resources.max_connections:
            stats.upstream_cx_overflow += 1
            self.flags |= flags.UPSTREAM_OVERFLOW
            self.close()
            return
        self.host = host
        if self.filter.tunneling is not None:
            up: Upstream = self.filter.tunneling.upstream(self, cluster, host)
            self.up = up
            up.start()
            return
        self.up = Upstream(self, cluster, host)
        variant = None
        if host.transport is not None and host.transport.tls is not None:
            variant = (0, "tcp", host.transport.options_for(self, cluster.http, "tcp"))
        protocol: Any = self.up
        for each in cluster.config.upstream_filters:
            protocol = each.wrap(self, protocol)
        cluster.dial(host, protocol, variant, self.conn)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.up = None
        if self.over:
            return
        self.upstream_failure = text
        self.flags |= flags.UPSTREAM_CONNECTION_FAILURE
        cluster = self.cluster
        if cluster.outlier is not None:
            cluster.outlier.local(self.host, False)
        backoff = self.filter.backoff
        if backoff is None or self.tried >= self.filter.attempts:
            self._connect()
        else:
            self.retry_timer = self.filter.server.loop.call_later(backoff(self.tried), self._retry)

    def _retry(self) -> None:
        self.retry_timer = None
        self._connect()

    def connected(self) -> None:
        up = self.up
        assert up is not None
        if self.filter.tunneling is None:  # a tunnel's record keeps what came before
            self.flags = 0
            self.upstream_failure = None
        if self.cluster.outlier is not None:
            self.cluster.outlier.local(self.host, True)
            if not self.cluster.outlier.split:
                self.cluster.outlier.result(self.host, 200)
        backlog, self.backlog = self.backlog, []
        if backlog:
            data = b"".join(backlog)
            self._received(len(data))
            up.write(data)
        if self.down_eof:
            up.end()
        if self.down_paused:
            self._resume_down()

    def data_received(self, data: bytes) -> None:
        up = self.up
        if up is not None and up.transport is not None:
            self._received(len(data))
            up.write(data)
        else:
            self.backlog.append(data)
            self._pause_down()

    def _received(self, size: int) -> None:
        """Count what the client sent, once there is somebody to send it to."""
        self.bytes_received += size
        self.wire_rx += size
        self.filter.stats.downstream_cx_rx_bytes_total += size
        self.touched = time.monotonic()

    def eof_received(self) -> bool:
        self.down_eof = True
        up = self.up
        if up is not None and up.transport is not None:
            up.end()
        if self.up_eof:
            self._both_ended()
        return True

    def connection_lost(self, error: BaseException | None) -> None:
        self.transport_gone()
        up, self.up = self.up, None
        if up is not None:
            up.session = None
            if up.transport is not None:
                up.closing = True
                if error is not None:
                    reset(up.transport)
                else:
                    up.transport.close()
            else:
                up.abandon()
        self.finish()

    def transport_gone(self) -> None:
        self.transport = None

    def pause_writing(self) -> None:
        if self.up is not None and self.up.transport is not None:
            self.up.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.up is not None and self.up.transport is not None:
            self.up.transport.resume_reading()

    def _pause_down(self) -> None:
        if not self.down_paused and self.transport is not None:
            self.down_paused = True
            self.transport.pause_reading()
            self.filter.stats.downstream_flow_control_paused_reading_total += 1

    def _resume_down(self) -> None:
        if self.down_paused and self.transport is not None:
            self.down_paused = False
            self.transport.resume_reading()
            self.filter.stats.downstream_flow_control_resumed_reading_total += 1

    # --- the upstream's side ---

    def from_upstream(self, data: bytes) -> None:
        size = len(data)
        self.bytes_sent += size
        self.wire_tx += size
        self.filter.stats.downstream_cx_tx_bytes_total += size
        self.touched = time.monotonic()
        if self.transport is not None:
            self.transport.write(data)

    def upstream_eof(self) -> None:
        self.up_eof = True
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        if self.down_eof:
            self._both_ended()

    def _both_ended(self) -> None:
        up = self.up
        if up is not None and up.transport is not None:
            up.closing = True
            up.transport.close()
        self.close()

    def upstream_lost(self, error: BaseException | None) -> None:
        self.up = None
        if self.over:
            return
        if error is not None:
            self.flags |= flags.UPSTREAM_REMOTE_RESET
            if self.transport is not None:
                reset(self.transport)
                return
        self.close()

    # --- the end ---

    def close(self) -> None:
        transport = self.transport
        if transport is not None:
            transport.close()
        self.finish()

    def drain(self) -> None:
        """TCP sessions last until they end."""

    def _idle_check(self) -> None:
        left = self.touched + self.filter.idle_timeout - time.monotonic()
        if left > 0.001:
            self.idle_timer = self.filter.server.loop.call_later(left, self._idle_check)
            return
        self.idle_timer = None
        self.filter.stats.idle_timeout += 1
        self.close()
        if self.up is not None and self.up.transport is not None:
            self.up.transport.close()

    def _too_long(self) -> None:
        self.duration_timer = None
        self.filter.stats.max_downstream_connection_duration += 1
        self.flags |= flags.DURATION_TIMEOUT
        self.close()

    def finish(self) -> None:
        if self.over:
            return
        self.over = True
        self.end = time.monotonic()
        if self.metadata is None:
            self.metadata = self.conn.metadata
        server = self.filter.server
        server.connections.discard(self)
        for timer in (self.idle_timer, self.duration_timer, self.retry_timer):
            if timer is not None:
                timer.cancel()
        self.idle_timer = self.duration_timer = self.retry_timer = None
        for each in self.filter.watchers:
            each.finished(self)
        for log in self.filter.access_logs:
            log.log(self)
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.closed(self.conn)
        up = self.up
        if up is None or up.closing:
            return
        if up.transport is None:
            up.abandon()
            return
        up.closing = True
        up.transport.close()


class Upstream:
    """The upstream connection of a session, counted as the cluster's."""

    __slots__ = ("closing", "cluster", "counted", "host", "session", "started", "tls", "transport")

    def __init__(self, session: Session, cluster: Any, host: Any) -> None:
        self.session: Session | None = session
        self.cluster = cluster
        self.host = host
        self.transport: Any = None
        self.tls: Any = None
        self.closing = False
        self.started = time.monotonic()
        stats = cluster.stats
        cluster.resources[0].connections += 1
        stats.upstream_cx_total += 1
        stats.upstream_cx_active += 1
        stats.upstream_rq_total += 1
        stats.upstream_rq_active += 1
        host.cx_total += 1
        host.cx_active += 1
        self.counted = True

    def start(self) -> None:
        """A plain connection is dialled by its session."""

    def abandon(self) -> None:
        """Nobody waits for the connection any more: it ends when it is there."""

    def _uncount(self) -> None:
        if self.counted:
            self.counted = False
            self.cluster.resources[0].connections -= 1
            self.cluster.stats.upstream_cx_active -= 1
            self.cluster.stats.upstream_rq_active -= 1
            self.host.cx_active -= 1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.cluster.stats.upstream_cx_connect_ms.record((time.monotonic() - self.started) * 1000)
        session = self.session
        if session is None or session.over:
            self.closing = True
            transport.abort()
            return
        session.upstream_tls = self.tls = getattr(transport, "tls_info", None)
        name = transport.get_extra_info("sockname")
        session.upstream_local = name[:2] if isinstance(name, tuple) else None
        session.connected()

    def connect_failed(self, reason: str, text: str | None) -> None:
        self._uncount()
        stats = self.cluster.stats
        stats.upstream_cx_connect_fail += 1
        self.host.cx_connect_fail += 1
        if reason == "connection timeout":
            stats.upstream_cx_connect_timeout += 1
        session, self.session = self.session, None
        if session is not None:
            session.connect_failed(reason, text)

    def data_received(self, data: bytes) -> None:
        self.cluster.hot.upstream_cx_rx_bytes_total += len(data)
        if self.session is not None:
            self.session.from_upstream(data)

    def eof_received(self) -> bool:
        if self.session is not None:
            self.session.upstream_eof()
            return True
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self._uncount()
        stats = self.cluster.stats
        stats.upstream_cx_destroy += 1
        if self.closing:
            stats.upstream_cx_destroy_local += 1
        else:
            stats.upstream_cx_destroy_remote += 1
        stats.upstream_cx_length_ms.record((time.monotonic() - self.started) * 1000)
        self.transport = None
        session, self.session = self.session, None
        if session is not None:
            session.upstream_lost(error)

    def write(self, data: bytes) -> None:
        self.cluster.hot.upstream_cx_tx_bytes_total += len(data)
        self.transport.write(data)

    def end(self) -> None:
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def pause_writing(self) -> None:
        if self.session is not None:
            self.session._pause_down()

    def resume_writing(self) -> None:
        if self.session is not None:
            self.session._resume_down()
