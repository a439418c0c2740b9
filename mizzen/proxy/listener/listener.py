"""A listener: compiled from its proto, then what happens to a connection from accept to its filter chain.

`ListenerConfig` compiles (and refuses); `Accepted` is the first protocol of every connection. Not here: sockets and updates
(manager.py).
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

from mizzen.proxy.config.accesslog import access_logs
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.supported import check
from mizzen.proxy.config.transport import DownstreamTls, downstream_tls
from mizzen.proxy.config.values import seconds, socket_address, wrapped
from mizzen.proxy.filters.registry import network_filter
from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.listener.filters import ListenerFilter, Refused, listener_filter
from mizzen.proxy.listener.match import ChainMatch, choose
from mizzen.proxy.net.addresses import Address, from_sockaddr
from mizzen.proxy.net.connection import Downstream
from mizzen.proxy.net.tls import ServerLayer
from mizzen.proxy.stats.names import LISTENER_COUNTERS, LISTENER_GAUGES, ssl_group


class FilterChain:
    """One filter chain: whom it is for, how it decrypts, what it does."""

    def __init__(self, message: Any, listener: ListenerConfig, server: Any) -> None:
        self.message = message
        self.name: str = message.name
        self.match = ChainMatch(message.filter_chain_match)
        where = f"Listener {listener.name} filter chain {message.name}"
        self.tls: DownstreamTls | None = None
        if message.HasField("transport_socket"):
            self.tls = downstream_tls(message.transport_socket, server.secrets, where)
        self.connect_timeout = seconds(message.transport_socket_connect_timeout)
        filters = [network_filter(each, server, listener) for each in message.filters]
        self.filters = tuple(each for each in filters if each is not None and not each.terminal)
        terminal = [each for each in filters if each is not None and each.terminal]
        if terminal and (len(terminal) > 1 or filters[-1] is not terminal[0]):
            raise ConfigError(
                f"Error: terminal filter named {message.filters[0].name} must be the last filter in a network filter chain."
            )
        if filters and not terminal:
            raise ConfigError(
                f"Error: non-terminal filter named {message.filters[-1].name} is the last filter in a network filter chain."
            )
        self.terminal: Any = terminal[0] if terminal else None
        if self.terminal is not None and hasattr(self.terminal, "watchers"):
            self.terminal.watchers += [each for each in self.filters if hasattr(each, "finished")]


class ListenerConfig:
    """A listener as configured."""

    def __init__(self, proto: Any, server: Any) -> None:
        self.proto = proto
        self.server = server
        self.name: str = proto.name
        check(proto, f"Listener {proto.name}")
        if not proto.HasField("address"):
            raise ConfigError(f"Listener {proto.name}: address is required")
        self.address = socket_address(proto.address, f"Listener {proto.name}.address")
        self.extra = [
            socket_address(each.address, f"Listener {proto.name}.additional_addresses")
            for each in proto.additional_addresses
        ]
        text = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        self.stat_prefix = f"listener.{proto.stat_prefix or (f'{text}_{self.address[1]}' if self.address[1] >= 0 else self.address[0])}"
        self.stats: Any = server.stats.group(
            self.stat_prefix,
            LISTENER_COUNTERS,
            LISTENER_GAUGES,
            ["connections_accepted_per_socket_event", "downstream_cx_length_ms"],
        )
        self.worker: Any = server.stats.group(
            f"{self.stat_prefix}.worker_{server.worker_id}", ["downstream_cx_total"], ["downstream_cx_active"]
        )
        self.ssl: Any = None
        self.bypass_overload: bool = proto.bypass_overload_manager
        self.awaited: list[asyncio.Event] = []  # by filters: what the listener does not open before
        self.use_original_dst = wrapped(proto, "use_original_dst", False)
        self.bind = wrapped(proto, "bind_to_port", True)
        if proto.HasField("deprecated_v1") and proto.deprecated_v1.HasField("bind_to_port"):
            self.bind = proto.deprecated_v1.bind_to_port.value
        self.buffer_limit = wrapped(proto, "per_connection_buffer_limit_bytes", 1 << 20)
        self.timeout = seconds(proto.listener_filters_timeout) if proto.HasField("listener_filters_timeout") else 15.0
        self.continue_on_timeout = proto.continue_on_listener_filters_timeout
        self.transparent = wrapped(proto, "transparent", False)
        self.freebind = wrapped(proto, "freebind", False)
        self.reuse_port = wrapped(proto, "enable_reuse_port", True)
        if server.options.concurrency > 1 and proto.connection_balance_config.HasField("exact_balance"):
            raise Unsupported(f"Listener {proto.name}.connection_balance_config.exact_balance with --concurrency > 1")
        self.backlog = wrapped(proto, "tcp_backlog_size", 1024)
        self.direction = proto.traffic_direction
        self.max_connections = server.runtime.get(f"envoy.resource_limits.listener.{proto.name}.connection_limit")
        self.filters: tuple[ListenerFilter, ...] = tuple(
            listener_filter(each, server) for each in proto.listener_filters
        )
        self.readers = any(each.reads for each in self.filters)
        self.access_logs = access_logs(proto.access_log, server)
        self.chains = [FilterChain(each, self, server) for each in proto.filter_chains]
        self.default = (
            FilterChain(proto.default_filter_chain, self, server) if proto.HasField("default_filter_chain") else None
        )
        if any(chain.tls is not None for chain in self.all_chains()):
            self.ssl = ssl_group(server.stats, self.stat_prefix)
        self._same_matches()
        if not self.chains and self.default is None and proto.address.WhichOneof("address") == "socket_address":
            raise ConfigError(
                f"error adding listener '{self.address[0]}:{self.address[1]}': no filter chains specified"
            )
        self.needs_names = any(chain.match.names or chain.match.alpn or chain.match.transport for chain in self.chains)
        self.exempt: bool = proto.ignore_global_conn_limit  # neither counted nor refused by the limit of all listeners
        self.active: set[Any] = set()

    def _same_matches(self) -> None:
        seen: dict[bytes, str] = {}
        for chain in self.chains:
            key = chain.message.filter_chain_match.SerializeToString(deterministic=True)
            if key in seen:
                raise ConfigError(
                    f"error adding listener '{self.name}': filter chain '{chain.name}' has the same matching rules defined as '{seen[key]}'"
                )
            seen[key] = chain.name

    def all_chains(self) -> list[FilterChain]:
        return [*self.chains, *([self.default] if self.default is not None else [])]

    def secrets(self) -> list[Any]:
        return [secret for chain in self.all_chains() if chain.tls is not None for secret in chain.tls.tls.secrets()]

    def closed(self, conn: Downstream) -> None:
        """One of the connections is gone."""
        self.stats.downstream_cx_active -= 1
        self.worker.downstream_cx_active -= 1
        self.stats.downstream_cx_destroy += 1
        if self.access_logs:
            log_connection(self, conn)
        self.stats.downstream_cx_length_ms.record((time.monotonic() - conn.start) * 1000)


class Accepted:
    """A connection between accept and its filter chain."""

    __slots__ = ("buffer", "conn", "deciding", "listener", "slot", "timer", "transport")

    def __init__(self, slot: Any) -> None:
        self.slot = slot
        self.listener: Any = slot.listener
        self.transport: Any = None
        self.conn: Any = None
        self.buffer = b""
        self.timer: Any = None
        self.deciding = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        listener = self.listener
        sock = transport.get_extra_info("socket")
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        conn = self.conn = Downstream(from_sockaddr(peer), from_sockaddr(local), listener)
        server = listener.server
        if server.overloaded and server.overload.rejects(listener):
            listener.stats.downstream_cx_overload_reject += 1
            self.listener = None
            transport.abort()
            return
        self._count(1)
        if listener.max_connections is not None and listener.stats.downstream_cx_active > int(listener.max_connections):
            listener.stats.downstream_cx_overflow += 1
            self._close()
            return
        if not listener.exempt and server.too_many():
            listener.stats.downstream_global_cx_overflow += 1
            self._close()
            return
        if listener.use_original_dst:
            self._hand_off(sock)
            listener = self.listener
        for each in listener.filters:
            if not each.reads and (each.disabled is None or not each.disabled(conn)):
                each.on_accept(conn, sock)
        if listener.readers:
            pending = [
                each for each in listener.filters if each.reads and (each.disabled is None or not each.disabled(conn))
            ]
            if pending:
                listener.stats.downstream_pre_cx_active += 1
                self.deciding = True
                if listener.timeout:
                    self.timer = server.loop.call_later(listener.timeout, self._timeout)
                return
        self._choose()

    def _count(self, by: int) -> None:
        stats, worker = self.listener.stats, self.listener.worker
        if by > 0:
            stats.downstream_cx_total += 1
            worker.downstream_cx_total += 1
        stats.downstream_cx_active += by
        worker.downstream_cx_active += by

    def _hand_off(self, sock: Any) -> None:
        """use_original_dst: the connection belongs to the listener of the address it was going to."""
        from mizzen.proxy.net.addresses import original_destination

        conn = self.conn
        found: Address | None = original_destination(sock, sock.family) if sock is not None else None
        if found is None and self.listener.transparent:
            found = conn.local
        if found is None:
            return
        conn.local = found
        conn.restored = True
        other = self.listener.server.listeners.by_address(found)
        if other is None or other is self.listener:
            return
        self.listener.stats.downstream_cx_active -= 1
        self.listener.worker.downstream_cx_active -= 1
        self.listener = conn.listener = other
        self._count(1)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.deciding:
            return
        for each in self.listener.filters:
            if not each.reads or (each.disabled is not None and each.disabled(self.conn)):
                continue
            try:
                taken = each.on_data(self.conn, self.buffer)
            except Refused:
                self.listener.stats.downstream_listener_filter_error += 1
                self._close()
                return
            if taken is None:
                return
            self.buffer = self.buffer[taken:]
            if not self.buffer and taken:
                continue
        self._decided()

    def _decided(self) -> None:
        self.deciding = False
        self.listener.stats.downstream_pre_cx_active -= 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self._choose()

    def _timeout(self) -> None:
        self.timer = None
        self.listener.stats.downstream_pre_cx_timeout += 1
        if self.listener.continue_on_timeout:
            self._decided()
        else:
            self.listener.stats.downstream_pre_cx_active -= 1
            self.deciding = False
            self._close()

    def eof_received(self) -> bool:
        if self.deciding:
            self.listener.stats.downstream_listener_filter_remote_close += 1
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.deciding:
            self.deciding = False
            self.listener.stats.downstream_pre_cx_active -= 1
        if self.listener is not None:
            listener, self.listener = self.listener, None
            listener.closed(self.conn)
        self.transport = None

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    # --- the filter chain ---

    def _choose(self) -> None:
        listener, conn = self.listener, self.conn
        chains = listener.chains
        chain = choose(chains, conn) if chains else None
        if chain is None:
            chain = listener.default
        if chain is None:
            listener.stats.no_filter_chain_match += 1
            self._close()
            return
        conn.chain_name = chain.name
        if chain.tls is None:
            self._start(chain, self.transport, self.buffer)
            return
        self._secure(chain)

    def _secure(self, chain: FilterChain) -> None:
        listener, conn = self.listener, self.conn
        if not chain.tls.tls.ready:  # type: ignore[union-attr]
            listener.stats.no_filter_chain_match += 0
            self._close()
            return
        transport, self.transport = self.transport, None
        data, self.buffer = self.buffer, b""
        self.listener = None
        timer = None

        def ready(layer: ServerLayer) -> None:
            if timer is not None:
                timer.cancel()
            info = layer.tls_info
            info.sni = conn.server_name or None
            conn.tls = info
            start_chain(chain, conn, listener, layer, b"")

        def failed(text: str | None) -> None:
            if timer is not None:
                timer.cancel()
            conn.transport_failure = text
            listener.closed(conn)

        layer = ServerLayer(chain.tls, listener.ssl, conn.server_name, ready, failed)
        if chain.connect_timeout:
            timer = listener.server.loop.call_later(chain.connect_timeout, handshake_timeout, layer, listener)
        layer.start(transport, data)

    def _start(self, chain: FilterChain, transport: Any, data: bytes) -> None:
        listener, self.listener = self.listener, None
        self.transport = None
        start_chain(chain, self.conn, listener, transport, data)


def handshake_timeout(layer: ServerLayer, listener: Any) -> None:
    if not layer.open:
        listener.stats.downstream_cx_transport_socket_connect_timeout += 1
        layer.abort()


def start_chain(chain: FilterChain, conn: Downstream, listener: Any, transport: Any, data: bytes) -> None:
    """Run a chain's network filters on a connection that can be read in plaintext."""
    for each in chain.filters:
        if not each.allow(conn):
            transport.set_protocol(Closing(listener, conn))
            transport.close()
            return
    if chain.terminal is None:
        transport.set_protocol(Closing(listener, conn))
        transport.close()
        return
    protocol = chain.terminal.protocol(conn, listener)
    protocol.listener = listener
    for each in reversed(chain.filters):
        protocol = each.wrap(conn, protocol)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if data:
        protocol.data_received(data)


class Closing:
    """The protocol of a connection that is refused."""

    def __init__(self, listener: Any, conn: Downstream) -> None:
        self.listener = listener
        self.conn = conn

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        self.listener.closed(self.conn)

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


def log_connection(listener: Any, conn: Downstream) -> None:
    """A listener's own access logs tell of every connection at its end."""
    info = StreamInfo(conn, conn.start)
    info.end = time.monotonic()
    if conn.chain_name is None:
        info.flags = 1 << 8  # no route: no filter chain
        info.details = "filter_chain_not_found"
    for log in listener.access_logs:
        log.log(info)


def bound_socket(address: Address, config: ListenerConfig, reuse_port: bool, mode: int = 0) -> socket.socket:
    """A listening socket. Raises ConfigError with Envoy's words when the address cannot be had."""
    host, port = address
    if port < 0:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = "\0" + host[1:] if host.startswith("@") else host
        try:
            sock.bind(path)
        except OSError as error:
            sock.close()
            raise ConfigError(f"cannot bind '{host}': {error.strerror}") from error
    else:
        v6 = ":" in host
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if v6:
            compatible = config.proto.address.socket_address.ipv4_compat
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if compatible else 1)
        try:
            if config.transparent:
                sock.setsockopt(SOL_IPV6 if v6 else socket.SOL_IP, 75 if v6 else 19, 1)
            if config.freebind:
                sock.setsockopt(socket.SOL_IP, 15, 1)
            sock.bind((host, port))
        except OSError as error:
            sock.close()
            raise ConfigError(f"cannot bind '{host}:{port}': {error.strerror}") from error
    sock.listen(config.backlog)
    sock.setblocking(False)
    return sock


SOL_IPV6 = 41
