"""Mirrored requests: a copy goes to another cluster; nobody waits for its answer."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.router_tries import chance
from mizzen.proxy.http.route import Mirror
from mizzen.proxy.net.local import local_address


def shadow_host(authority: str) -> str:
    """ "a.test:81" → "a.test-shadow:81"."""
    name, colon, port = authority.rpartition(":")
    if colon and port.isdigit():
        return f"{name}-shadow:{port}"
    return authority + "-shadow"


def start_mirrors(exchange: Any, headers: RequestHeaders, end: bool) -> list[Copy]:
    """Begin a copy of the request for each mirror policy whose fraction says so."""
    out = []
    for policy in exchange.action.mirrors:
        if not chance(policy.fraction()):
            continue
        name = policy.cluster or headers.get(policy.cluster_header) or ""
        cluster = exchange.stream.hcm.server.clusters.get(name)
        if cluster is None:
            continue
        out.append(Copy(exchange, policy, cluster, headers, end))
    return out


class Copy:
    """One mirrored request: collected whole, then sent; its answer is read and dropped."""

    def __init__(self, exchange: Any, policy: Mirror, cluster: Any, headers: RequestHeaders, end: bool) -> None:
        self.cluster = cluster
        self.stream = exchange.stream
        self.headers = headers.copy()
        if not policy.disable_suffix:
            self.headers.authority = shadow_host(headers.authority or "")
        d = self.headers.d
        d["x-envoy-internal"] = "true"
        forwarded = self.headers.joined("x-forwarded-for")
        self.headers.set("x-forwarded-for", local_address() if forwarded is None else f"{forwarded},{local_address()}")
        self.parts: list[bytes] = []
        self.size = 0
        self.limit: int = exchange.stream.codec.limit()
        self.connection: Any = None
        self.pending_in: Any = None
        self.priority: int = exchange.action.priority
        self.timer: Any = None
        self.host: Any = None
        self.timeout: float = exchange.timeout
        if end:
            self._send()

    def data(self, data: bytes, end: bool) -> None:
        self.size += len(data)
        if self.size > self.limit:
            return
        self.parts.append(data)
        if end:
            self._send()

    def _send(self) -> None:
        self.host = self.cluster.pick(self.stream)
        if self.host is None:
            return
        if self.timeout:
            self.timer = self.cluster.loop.call_later(self.timeout, self._give_up)
        self.cluster.pool(self.host, self.stream, self.priority).request(self)

    def _give_up(self) -> None:
        self.timer = None
        if self.pending_in is not None:
            self.pending_in.cancel(self)
        elif self.connection is not None:
            self.connection.cancel(self)
            self.cluster.stats.upstream_rq_timeout += 1

    def _over(self) -> None:
        self.connection = None
        self.stream = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def pool_ready(self, connection: Any) -> None:
        self.connection = connection
        body = b"".join(self.parts)
        connection.send_headers(self.headers, not body)
        if body:
            connection.send_data(body, True)

    def pool_failure(self, reason: str, text: str | None) -> None:
        self._over()

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        key = response.status << 2
        stats = self.cluster.stats
        stats.upstream_rq_completed += 1
        stats.outcomes[key] = stats.outcomes.get(key, 0) + 1
        if end:
            self._over()

    def on_early(self, response: ResponseHeaders) -> None:
        pass

    def on_data(self, data: bytes, end: bool) -> None:
        if end:
            self._over()

    def on_trailers(self, trailers: Headers) -> None:
        self._over()

    def on_reset(self, reason: str, text: str | None) -> None:
        self._over()

    def flush_response(self) -> None:
        pass

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass
