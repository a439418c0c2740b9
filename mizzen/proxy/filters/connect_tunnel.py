"""CONNECT that ends at the proxy: the bytes behind it go to a host of the cluster as plain TCP (or TLS, as the cluster says).

Stands in the place of a pool's connection for the router's Attempt: what is sent is written raw, what comes back is the
body of a 200. Source: RouteAction.UpgradeConfig.connect_config.
"""

from __future__ import annotations

import time
from typing import Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders


class Tunnel:
    """One TCP connection for one CONNECT request."""

    protocol = None

    def __init__(self, cluster: Any, host: Any, up: Any) -> None:
        self.cluster = cluster
        self.host = host
        self.up: Any = up
        self.transport: Any = None
        self.tls: Any = None
        self.local: Any = None
        self.started = time.monotonic()
        self.closing = False
        stats = cluster.stats
        stats.upstream_cx_total += 1
        stats.upstream_cx_active += 1
        host.cx_total += 1
        host.cx_active += 1

    def start(self, stream: Any) -> None:
        variant = None
        if self.host.transport is not None and self.host.transport.tls is not None:
            variant = (0, "tcp", self.host.transport.options_for(stream, self.cluster.http, "tcp"))
        self.cluster.dial(self.host, self, variant, stream.conn)

    def _gone(self) -> Any:
        up, self.up = self.up, None
        self.cluster.stats.upstream_cx_active -= 1
        self.host.cx_active -= 1
        return up

    # --- the transport's side ---

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.tls = getattr(transport, "tls_info", None)
        name = transport.get_extra_info("sockname")
        self.local = name[:2] if isinstance(name, tuple) else None
        up = self.up
        if up is None or self.closing:
            transport.abort()
            return
        up.pool_ready(self)
        if self.up is not None:
            self.up.on_headers(ResponseHeaders(200), False)
            self.up.flush_response()

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.cluster.stats.upstream_cx_connect_fail += 1
        self.host.cx_connect_fail += 1
        up = self._gone()
        if up is not None:
            up.pool_failure(reason, text)

    def data_received(self, data: bytes) -> None:
        if self.up is not None:
            self.up.on_data(data, False)

    def eof_received(self) -> bool:
        if self.up is not None:
            self.up.on_data(b"", True)
        return True

    def connection_lost(self, error: BaseException | None) -> None:
        self.transport = None
        up = self._gone()
        if up is not None:
            if error is None:
                up.on_data(b"", True)
            else:
                up.on_reset("remote reset", None)

    def pause_writing(self) -> None:
        if self.up is not None:
            self.up.pause_request()

    def resume_writing(self) -> None:
        if self.up is not None:
            self.up.resume_request()

    # --- the router's side ---

    def send_headers(self, headers: RequestHeaders, end: bool) -> None:
        """The request's head ends here."""

    def flush(self) -> None:
        """Nothing waits."""

    def send_data(self, data: bytes, end: bool) -> None:
        if self.transport is None:
            return
        if data:
            self.transport.write(data)
        if end and self.transport.can_write_eof():
            self.transport.write_eof()

    def send_trailers(self, trailers: Headers) -> None:
        self.send_data(b"", True)

    def cancel(self, up: Any) -> None:
        self.up = None
        self.closing = True
        if self.transport is not None:
            self.transport.close()

    def pause_reading(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()
