"""TCP inside HTTP: a session's bytes are the body of a CONNECT or POST request to a host of the cluster.

Takes TcpProxy.TunnelingConfig; gives what stands in the place of a session's upstream connection (tcp_session.Upstream).
Not here: connection pools, the end of such a tunnel (connect_tunnel.py).
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.accesslog.format import text_format
from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.header_ops import add_ops
from mizzen.proxy.filters.tcp_session import Session, Upstream
from mizzen.proxy.http.header_ops import apply

RESPONSE_HEADERS = "envoy.tcp_proxy.propagate_response_headers"
RESPONSE_TRAILERS = "envoy.tcp_proxy.propagate_response_trailers"


class Tunneling:
    """How requests that carry connections look."""

    def __init__(self, message: Any) -> None:
        if not message.hostname:
            raise ConfigError("TcpProxy.tunneling_config.hostname is required")
        if message.post_path and not message.use_post:
            raise ConfigError("Can't set a post path when POST method isn't used")
        self.hostname = text_format(message.hostname)
        self.post: bool = message.use_post
        self.path: str = message.post_path or "/"
        self.headers = tuple(add_ops(message.headers_to_add))
        self.keep_headers: bool = message.propagate_response_headers
        self.keep_trailers: bool = message.propagate_response_trailers

    def request(self, session: Session, secure: bool) -> RequestHeaders:
        method, path = ("POST", self.path) if self.post else ("CONNECT", "")
        out = RequestHeaders(method, path, self.hostname(session), scheme="https" if secure else "http")
        apply(self.headers, out, session)
        return out

    def upstream(self, session: Session, cluster: Any, host: Any) -> TunnelUpstream:
        return TunnelUpstream(self, session, cluster, host)


class TunnelUpstream(Upstream):
    """One request for one session; `transport` is set once the peer has answered 200."""

    __slots__ = ("connection", "pending_in", "received_end", "sent_end", "tunneling")

    def __init__(self, tunneling: Tunneling, session: Session, cluster: Any, host: Any) -> None:
        self.tunneling = tunneling
        self.session = session
        self.cluster = cluster
        self.host = host
        self.transport: Any = None
        self.tls: Any = None
        self.closing = False
        self.started = 0.0
        self.counted = False
        self.connection: Any = None
        self.pending_in: Any = None
        self.sent_end = self.received_end = False

    def start(self) -> None:
        session = self.session
        self.cluster.pool(self.host, session, 0).request(self)

    def abandon(self) -> None:
        """Nobody waits for the tunnel any more."""
        self.session = None
        self._stop()

    def _stop(self) -> None:
        pending, self.pending_in = self.pending_in, None
        if pending is not None:
            pending.cancel(self)
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.cancel(self)

    def _failed(self, reason: str, text: str | None) -> None:
        self._stop()
        session, self.session = self.session, None
        if session is None:
            return
        if self.transport is None:
            session.connect_failed(reason, text)
        else:
            self.transport = None
            session.upstream_lost(None)

    # --- from the pool and its connection ---

    def pool_ready(self, connection: Any) -> None:
        self.connection = connection
        session = self.session
        assert session is not None
        session.upstream_tls = self.tls = connection.tls
        session.upstream_local = connection.local
        connection.send_headers(self.tunneling.request(session, self.tls is not None), False)
        connection.flush()

    def pool_failure(self, reason: str, text: str | None) -> None:
        self.connection = None
        self._failed(reason, text)

    def on_early(self, response: ResponseHeaders) -> None:
        """Says nothing about the tunnel."""

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        session = self.session
        if session is None:
            return
        self.received_end = end
        if self.tunneling.keep_headers:
            session.conn.set_filter_state(RESPONSE_HEADERS, recorded(response))
        accepted = 200 <= response.status < 300 if self.connection.protocol == "HTTP/1.1" else response.status == 200
        if end or not accepted:
            self._failed("remote connection failure", f"tunnel_response:{response.status}")
            return
        self.transport = TunnelTransport(self)
        session.connected()

    def on_data(self, data: bytes, end: bool) -> None:
        session = self.session
        if session is None:
            return
        if data:
            session.from_upstream(data)
        if end and not self.received_end:
            self.received_end = True
            session.upstream_eof()

    def on_trailers(self, trailers: Headers) -> None:
        if self.session is not None and self.tunneling.keep_trailers:
            self.session.conn.set_filter_state(RESPONSE_TRAILERS, recorded(trailers))
        self.on_data(b"", True)

    def on_reset(self, reason: str, text: str | None) -> None:
        self.connection = None
        self._failed(reason, text)

    def flush_response(self) -> None:
        """What came was written at once."""

    def pause_request(self) -> None:
        self.pause_writing()

    def resume_request(self) -> None:
        self.resume_writing()

    # --- the session's side ---

    def write(self, data: bytes) -> None:
        if self.connection is not None and not self.sent_end:
            self.connection.send_data(data, False)

    def end(self) -> None:
        if self.connection is not None and not self.sent_end:
            self.sent_end = True
            self.connection.send_data(b"", True)


class TunnelTransport:
    """What a session asks of its upstream's transport, asked of the request's stream."""

    def __init__(self, upstream: TunnelUpstream) -> None:
        self._upstream = upstream

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        if self._upstream.connection is not None:
            self._upstream.connection.pause_reading()

    def resume_reading(self) -> None:
        if self._upstream.connection is not None:
            self._upstream.connection.resume_reading()

    def close(self) -> None:
        self._upstream.abandon()

    def abort(self) -> None:
        self._upstream.abandon()


def recorded(headers: Headers) -> dict[str, Any]:
    """Filter state of a head or of trailers: an envoy.config.core.v3.HeaderMap as JSON has it."""
    fields = list(headers.items())
    if isinstance(headers, ResponseHeaders):
        fields.insert(0, (":status", str(headers.status)))
    return {"headers": [{"key": name, "value": value} for name, value in fields]}
