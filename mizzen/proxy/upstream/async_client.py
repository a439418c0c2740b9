"""Requests of the proxy's own over its clusters: to an authorization service, for keys, to a collector.

`fetch` collects the whole answer. Not here: gRPC calls (xds/grpc.py), retries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders
from mizzen.proxy.net.local import local_address

Done = Callable[[ResponseHeaders | None, bytes, str], None]  # answer, body, why there is no answer


class Fetch:
    """One request under way. `done` is called once, unless it is cancelled."""

    def __init__(self, cluster: Any, headers: RequestHeaders, body: bytes, timeout_s: float, done: Done) -> None:
        self.cluster = cluster
        self.headers = headers
        self.body = body
        self.done: Done | None = done
        self.connection: Any = None
        self.pending_in: Any = None
        self.response: ResponseHeaders | None = None
        self.parts: list[bytes] = []
        self.timer = cluster.loop.call_later(timeout_s, self._timed_out) if timeout_s else None

    def start(self) -> None:
        host = self.cluster.pick(None)
        if host is None:
            self.cluster.stats.upstream_cx_none_healthy += 1
            self._finish("no healthy upstream")
            return
        self.cluster.pool(host, None, 0).request(self)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        self.done = None
        self._stop()

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.pending_in is not None:
            self.pending_in.cancel(self)
        elif self.connection is not None:
            connection, self.connection = self.connection, None
            connection.cancel(self)

    def _timed_out(self) -> None:
        self.timer = None
        done, self.done = self.done, None
        self.cluster.stats.upstream_rq_timeout += 1
        self._stop()
        if done is not None:
            done(None, b"", "timeout")

    def _finish(self, failure: str) -> None:
        self.connection = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        done, self.done = self.done, None
        if done is not None:
            done(None if failure else self.response, b"".join(self.parts), failure)

    # --- from the pool and its connection ---

    def pool_ready(self, connection: Any) -> None:
        self.connection = connection
        connection.send_headers(self.headers, not self.body)
        if self.body:
            connection.send_data(self.body, True)

    def pool_failure(self, reason: str, text: str | None) -> None:
        self._finish(reason)

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        self.response = response
        key = response.status << 2
        stats = self.cluster.stats
        stats.upstream_rq_completed += 1
        stats.outcomes[key] = stats.outcomes.get(key, 0) + 1
        if end:
            self._finish("")

    def on_early(self, response: ResponseHeaders) -> None:
        pass

    def on_data(self, data: bytes, end: bool) -> None:
        self.parts.append(data)
        if end:
            self._finish("")

    def on_trailers(self, trailers: Headers) -> None:
        self._finish("")

    def on_reset(self, reason: str, text: str | None) -> None:
        self._finish(reason)

    def flush_response(self) -> None:
        pass

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass


def fetch(
    cluster: Any, headers: RequestHeaders, body: bytes, timeout_s: float, done: Done, forwarded_for: bool = True
) -> Fetch:
    """Send a request to a cluster, marked as the proxy's own."""
    d = headers.d
    d["x-envoy-internal"] = "true"
    if forwarded_for:
        d["x-forwarded-for"] = local_address()
    if timeout_s:
        d["x-envoy-expected-rq-timeout-ms"] = str(int(timeout_s * 1000))
    out = Fetch(cluster, headers, body, timeout_s, done)
    out.start()
    return out
