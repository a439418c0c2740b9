"""Network filters: what a filter chain does with a connection once it is accepted and, if need be, decrypted.

The last filter of a chain is terminal: it gives the protocol that reads the connection. Those before it may refuse
(`allow`) or stand between the transport and that protocol (`wrap`).
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.hcm import HTTP1, HTTP2, Hcm
from mizzen.proxy.http.h1_server import H1Server
from mizzen.proxy.net.connection import Downstream

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class NetworkFilter:
    """The base; `name` is the configured one."""

    terminal = False

    def allow(self, conn: Downstream) -> bool:
        """Whether the connection may go on; False closes it."""
        return True

    def wrap(self, conn: Downstream, inner: Any) -> Any:
        """The protocol to put before `inner`; `inner` itself when the filter does not touch bytes."""
        return inner

    # began(session), finished(session): only of filters that want to know, before tcp_proxy

    def protocol(self, conn: Downstream, listener: Any) -> Any:
        """Terminal filters: the protocol that reads the connection."""
        raise NotImplementedError


class ConnectionManager(NetworkFilter):
    """envoy.filters.network.http_connection_manager."""

    terminal = True

    def __init__(self, hcm: Hcm) -> None:
        self.hcm = hcm

    def protocol(self, conn: Downstream, listener: Any) -> Any:
        kind = self.hcm.codec_type
        if kind == HTTP1:
            return H1Server(self.hcm, conn, listener.buffer_limit)
        alpn = conn.tls.alpn if conn.tls is not None else None
        if kind == HTTP2 or alpn == "h2":
            return new_h2(self.hcm, conn, listener.buffer_limit)
        if alpn is not None:
            return H1Server(self.hcm, conn, listener.buffer_limit)
        return Sniffer(self.hcm, conn, listener.buffer_limit)


def new_h2(hcm: Hcm, conn: Downstream, buffer_limit: int) -> Any:
    from mizzen.proxy.http.h2_server import H2Server

    return H2Server(hcm, conn, buffer_limit)


class Sniffer:
    """codec_type AUTO on a connection without ALPN: the first bytes tell HTTP/2 from HTTP/1.1."""

    __slots__ = ("buffer", "buffer_limit", "conn", "hcm", "idle_timer", "listener", "transport", "wrapper")

    def __init__(self, hcm: Hcm, conn: Downstream, buffer_limit: int) -> None:
        self.hcm = hcm
        self.conn = conn
        self.buffer_limit = buffer_limit
        self.buffer = b""
        self.transport: Any = None
        self.listener: Any = None
        self.idle_timer: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.hcm.idle_timeout:
            self.idle_timer = self.hcm.server.loop.call_later(self.hcm.idle_timeout, self._idle)

    def _idle(self) -> None:
        """Nothing was said, or half a preface: closed at once, or after the time in which a connection is drained."""
        self.hcm.stats.downstream_cx_idle_timeout += 1
        self.idle_timer = self.hcm.server.loop.call_later(self.hcm.drain_timeout if self.buffer else 0.0, self._close)

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        data = self.buffer + data if self.buffer else data
        if data[:1] == b"P" and PREFACE.startswith(data[: len(PREFACE)]):
            if len(data) < len(PREFACE):
                self.buffer = data
                return
            protocol = new_h2(self.hcm, self.conn, self.buffer_limit)
        else:
            protocol = H1Server(self.hcm, self.conn, self.buffer_limit)
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        transport, self.transport = self.transport, None
        protocol.listener, self.listener = self.listener, None
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        stats = self.hcm.stats
        stats.downstream_cx_total += 1
        stats.downstream_cx_destroy += 1
        stats.downstream_cx_destroy_remote += 1
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.closed(self.conn)
        self.transport = None

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


def connection_manager(config: Any, server: Any, listener: Any) -> ConnectionManager:
    return ConnectionManager(Hcm(config, server, listener))


def refuse_unknown(name: str) -> None:
    raise Unsupported(name)
