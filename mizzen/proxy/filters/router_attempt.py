"""One try at one host: the router's side of an upstream request."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.headers import Headers, ResponseHeaders
from mizzen.proxy.upstream.h1_client import H1Client
from mizzen.proxy.upstream.request import UpstreamRequest

if TYPE_CHECKING:
    from mizzen.proxy.filters.router_exchange import Exchange
    from mizzen.proxy.upstream.host import Host


class Attempt(UpstreamRequest):
    """One try at one host: between a pool's connection and the exchange."""

    __slots__ = ("answered", "backlog", "connection", "exchange", "head_waits", "host", "pending_in", "sent")

    def __init__(self, exchange: Exchange, host: Host) -> None:
        self.exchange: Exchange | None = exchange
        self.host = host
        self.connection: Any = None
        self.pending_in: Any = None
        self.backlog: list[bytes] | None = None
        self.head_waits = False
        self.answered = False
        self.sent = False

    # --- from the pool ---

    def pool_ready(self, connection: Any) -> None:
        exchange = self.exchange
        if exchange is None:  # given up while it waited
            connection.cancel(self)
            return
        self.connection = connection
        stream = exchange.stream
        self.sent = True
        now = monotonic()
        if not exchange.started:
            exchange.started = now
        stream.first_upstream_tx = now
        if isinstance(connection, H1Client):
            stream.upstream_tls = connection.tls
            stream.upstream_protocol = connection.protocol
            stream.upstream_local = connection.local
        else:
            stream.upstream_tls = connection.tls
            stream.upstream_protocol = connection.protocol
            stream.upstream_local = connection.local
        end = exchange.end
        outlier = exchange.cluster.outlier
        if outlier is not None and outlier.split:
            outlier.local(self.host, True)
        body = exchange.body if exchange.body is not None else self.backlog
        trailers = exchange.trailers
        if not body:
            done = end and trailers is None
            if done:
                stream.last_upstream_tx = now
            else:
                self.head_waits = True
            headers = exchange.headers
            if isinstance(connection, H1Client) and headers is not None:
                connection.send_headers(headers, done)
            else:
                connection.send_headers(headers, done)
        else:
            connection.send_headers(exchange.headers, False)
            data = b"".join(body)
            connection.send_data(data, end and trailers is None)
            if end:
                stream.last_upstream_tx = now
        if trailers is not None and self.connection is not None:
            connection.send_trailers(trailers)
        if self.backlog is not None:
            self.backlog = None
        if exchange.body is not None and exchange.policy is None:
            exchange.body = None
        if self.head_waits and not stream.codec.in_turn():
            self.head_waits = False
            connection.flush()
        if stream.codec.blocked():
            connection.pause_reading()

    def pool_failure(self, reason: str, text: str | None) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_reset(self, reason, text)

    # --- from the exchange ---

    def data(self, data: bytes, end: bool) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if self.connection is not None:
            self.head_waits = False
            if end:
                exchange.stream.last_upstream_tx = monotonic()
            self.connection.send_data(data, end)
        elif exchange.body is None:
            if self.backlog is None:
                self.backlog = []
            self.backlog.append(data)
            codec = exchange.stream.codec
            if sum(map(len, self.backlog)) > codec.limit():
                codec.pause_request()

    def trailers_ready(self, trailers: Headers) -> None:
        if self.connection is not None:
            self.head_waits = False
            self.connection.send_trailers(trailers)

    def abort(self, complete: bool) -> None:
        """No longer interested. `complete`: the answer was there in full already."""
        self.exchange = None
        if self.pending_in is not None:
            self.pending_in.cancel(self)
        elif self.connection is not None and not complete:
            self.connection.cancel(self)

    # --- from the connection ---

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        self.answered = True
        exchange = self.exchange
        if exchange is not None:
            exchange.on_headers(self, response, end)

    def on_early(self, response: ResponseHeaders) -> None:
        if self.exchange is not None:
            self.exchange.on_early(response)

    def on_data(self, data: bytes, end: bool) -> None:
        exchange = self.exchange
        if exchange is not None:
            if end:
                self.exchange = None
            exchange.on_data(data, end)

    def on_trailers(self, trailers: Headers) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_trailers(trailers)

    def on_reset(self, reason: str, text: str | None) -> None:
        exchange, self.exchange = self.exchange, None
        self.connection = None
        if exchange is not None:
            exchange.on_reset(self, reason, text)

    def flush_response(self) -> None:
        exchange = self.exchange
        if exchange is not None and exchange.stream is not None:
            exchange.stream.flush_response()

    def pause_request(self) -> None:
        if self.exchange is not None:
            self.exchange.stream.codec.pause_request()

    def resume_request(self) -> None:
        if self.exchange is not None:
            self.exchange.stream.codec.resume_request()


def is_grpc_response(response: ResponseHeaders) -> bool:
    kind = response.d.get("content-type")
    return kind is not None and kind.startswith("application/grpc")


GRPC_TO_HTTP: Final = {
    0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,  # noqa: E501
}  # fmt: skip


def grpc_outcome(response: ResponseHeaders, status: int) -> int:
    """The HTTP status that outlier detection takes a trailers-only gRPC answer for."""
    text = response.d.get("grpc-status")
    return GRPC_TO_HTTP.get(int(text), 500) if text is not None and text.isdigit() else status
