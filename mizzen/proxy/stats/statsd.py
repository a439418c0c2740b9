"""envoy.stat_sinks.statsd over UDP or TCP, and envoy.stat_sinks.dog_statsd: lines of name, value and kind.

A sink that cannot be reached loses what it was to get. Source: envoy.config.metrics.v3.{StatsdSink,DogStatsdSink}.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.values import socket_address
from mizzen.proxy.net.addresses import Address
from mizzen.proxy.stats.flush import Sink, Snapshot
from mizzen.proxy.stats.store import Stat

MAX_UNREAD = 16 << 20  # bytes that wait for a TCP collector
Line = Callable[[Stat, Any, str], str]


def plain_line(prefix: str) -> Line:
    """ "envoy.cluster.x.upstream_rq_total:1|c"."""
    return lambda stat, value, kind: f"{prefix}.{stat.name}:{value}|{kind}"


def tagged_line(prefix: str, tags: Any) -> Line:
    """ "envoy.cluster.upstream_rq_total:1|c|#envoy.cluster_name:x": DogStatsD's."""

    def line(stat: Stat, value: Any, kind: str) -> str:
        if stat.tags is None:
            name, pairs = tags.split(stat.name)
        else:
            name, pairs = stat.tag_name or stat.name, (*stat.tags, *tags.fixed)
        text = f"{prefix}.{name}:{value}|{kind}"
        return text + "|#" + ",".join(f"{key}:{each}" for key, each in pairs) if pairs else text

    return line


def lines(snapshot: Snapshot, line: Line) -> Iterator[str]:
    for stat, values in snapshot.histograms:
        for value in values:
            yield line(stat, int(value), "ms")
    for stat, delta in snapshot.counters:
        yield line(stat, delta, "c")
    for stat in snapshot.gauges:
        yield line(stat, stat.value, "g")


class Udp:
    """Datagrams of as many lines as fit into max_bytes; 0: each line its own."""

    def __init__(self, address: Address, line: Line, max_bytes: int) -> None:
        host, port = address
        pipe = port < 0
        family = socket.AF_UNIX if pipe else socket.AF_INET6 if ":" in host else socket.AF_INET
        self._target: Any = host if pipe else address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._line, self._max_bytes = line, max_bytes

    def flush(self, snapshot: Snapshot) -> None:
        waiting: list[bytes] = []
        size = 0
        for text in lines(snapshot, self._line):
            data = text.encode()
            if waiting and size + 1 + len(data) > self._max_bytes:
                self._send(b"\n".join(waiting))
                waiting, size = [], 0
            size += len(data) + bool(waiting)
            waiting.append(data)
        if waiting:
            self._send(b"\n".join(waiting))

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody there, or no room: as Envoy, which counts nothing
            self._socket.sendto(data, self._target)


class Tcp:
    """Lines on a connection to a cluster's host, made anew with the next flush when it is gone."""

    def __init__(self, cluster: str, line: Line, server: Any) -> None:
        self._cluster, self._line, self._server = cluster, line, server
        self._connection: _Connection | None = None

    def flush(self, snapshot: Snapshot) -> None:
        data = "".join([text + "\n" for text in lines(snapshot, self._line)]).encode()
        connection = self._connection
        if connection is None or connection.over:
            connection = self._connection = self._dial()
        if connection is not None:
            connection.write(data)

    def _dial(self) -> _Connection | None:
        cluster = self._server.clusters.get(self._cluster)
        host = None if cluster is None else cluster.pick(None)
        if cluster is None or host is None:
            if cluster is not None:
                cluster.stats.upstream_cx_none_healthy += 1
            return None
        variant = None
        if host.transport is not None and host.transport.tls is not None:
            variant = (0, "tcp", host.transport.options_for(None, cluster.http, "tcp"))
        connection = _Connection(cluster)
        cluster.dial(host, connection, variant)
        return connection


class _Connection:
    """A protocol that only writes. Counted as the cluster's."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._transport: Any = None
        self._waiting: list[bytes] = []
        self._size = 0
        self.over = False
        cluster.stats.upstream_cx_total += 1
        cluster.stats.upstream_cx_active += 1

    def write(self, data: bytes) -> None:
        if self._transport is None:
            if self._size + len(data) <= MAX_UNREAD:
                self._waiting.append(data)
                self._size += len(data)
            return
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            self._cluster.stats.upstream_cx_overflow += 1
            self._transport.abort()
            return
        self._cluster.hot.upstream_cx_tx_bytes_total += len(data)
        self._transport.write(data)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.write(data)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self._cluster.stats.upstream_cx_connect_fail += 1
        self.connection_lost(None)

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self.over = True
        self._cluster.stats.upstream_cx_active -= 1

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


def target(address: Any, where: str) -> Address:
    """Where datagrams go: a numeric address or a pipe. Raises ConfigError."""
    kind = address.WhichOneof("address")
    if kind != "socket_address":
        return socket_address(address, where)
    host, port = str(address.socket_address.address), int(address.socket_address.port_value)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"{where}: malformed IP address: {host}") from None
    return host, port


def statsd(config: Any, server: Any) -> Sink:
    """The sink of a StatsdSink."""
    line = plain_line(config.prefix or "envoy")
    kind = config.WhichOneof("statsd_specifier")
    if kind == "address":
        return Udp(target(config.address, "StatsdSink.address"), line, 0)
    if kind == "tcp_cluster_name":
        return Tcp(config.tcp_cluster_name, line, server)
    raise ConfigError("StatsdSink: address or tcp_cluster_name is required")


def dog_statsd(config: Any, server: Any) -> Sink:
    """The sink of a DogStatsdSink."""
    line = tagged_line(config.prefix or "envoy", server.stats.tag_rules)
    size = config.max_bytes_per_datagram.value if config.HasField("max_bytes_per_datagram") else 0
    return Udp(target(config.address, "DogStatsdSink.address"), line, size)
