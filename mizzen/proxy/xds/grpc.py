"""A gRPC call that streams both ways over a cluster of ours: messages out, messages in. No grpcio: the data path's HTTP/2.

`Call` is a request's owner for the pools (pool_ready, on_headers …). Not here: what the messages say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders

MAX_MESSAGE = 256 << 20


class Call:
    """One streaming call. `on_message(bytes)` for each message, `on_end(status, text)` once at the end."""

    def __init__(
        self,
        cluster: Any,
        method: str,
        metadata: list[tuple[str, str]],
        on_open: Callable[[], None],
        on_message: Callable[[bytes], None],
        on_end: Callable[[int, str], None],
        timeout_s: float = 0.0,
    ) -> None:
        self.cluster = cluster
        self.on_open = on_open
        self.on_message = on_message
        self.on_end = on_end
        self.pending_in: Any = None
        self.connection: Any = None
        self.exchange = None
        self.buffer = bytearray()
        self.over = False
        d = {"te": "trailers", "content-type": "application/grpc", "x-envoy-internal": "true"}
        self.headers = RequestHeaders("POST", method, cluster.name, d, None, "http")
        for name, value in metadata:
            self.headers.add(name.lower(), value)
        self.timer = cluster.loop.call_later(timeout_s, self._timed_out) if timeout_s else None
        if timeout_s:
            d["grpc-timeout"] = f"{int(timeout_s * 1000)}m"

    def start(self) -> None:
        host = self.cluster.pick(None)
        if host is None:
            self.cluster.stats.upstream_cx_none_healthy += 1
            self._end(14, "no healthy upstream")
            return
        self.cluster.pool(host, None, 0).request(self)

    def send(self, message: bytes, last: bool = False) -> None:
        if self.connection is not None and not self.over:
            self.connection.send_data(b"\0" + len(message).to_bytes(4, "big") + message, last)

    def finish(self) -> None:
        """No more messages from us."""
        if self.connection is not None and not self.over:
            self.connection.send_data(b"", True)

    def cancel(self) -> None:
        """Give the call up; on_end is not called."""
        self.over = True
        self._stop_timer()
        if self.pending_in is not None:
            self.pending_in.cancel(self)
        elif self.connection is not None:
            self.connection.cancel(self)

    def _timed_out(self) -> None:
        self.timer = None
        if not self.over:
            on_end = self.on_end
            self.cancel()
            on_end(4, "deadline exceeded")

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _end(self, status: int, text: str) -> None:
        if not self.over:
            self.over = True
            self._stop_timer()
            self.connection = None
            self.on_end(status, text)

    # --- from the pool and the connection ---

    def pool_ready(self, connection: Any) -> None:
        self.connection = connection
        connection.send_headers(self.headers, False)
        connection.flush()
        self.on_open()

    def pool_failure(self, reason: str, text: str | None) -> None:
        self._end(14, f"upstream connect error: {reason}{': ' + text if text else ''}")

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        if response.status != 200:
            self._end(14, f"HTTP status {response.status}")
        elif end:
            self._status(response)

    def _status(self, headers: Headers) -> None:
        text = headers.get("grpc-status") or ""
        self._end(int(text) if text.isdigit() else 2, headers.get("grpc-message") or "")

    def on_early(self, response: ResponseHeaders) -> None:
        pass

    def on_data(self, data: bytes, end: bool) -> None:
        buffer = self.buffer
        buffer += data  # in place: a message of many frames is copied once
        while len(buffer) >= 5 and not self.over:
            length = int.from_bytes(buffer[1:5], "big")
            if buffer[0] or length > MAX_MESSAGE:
                self._end(13, "compressed or oversized message")
                return
            if len(buffer) - 5 < length:
                break
            message = bytes(buffer[5 : 5 + length])
            del buffer[: 5 + length]
            self.on_message(message)
        if end:
            self._end(2, "stream ended without a status")

    def on_trailers(self, trailers: Headers) -> None:
        self._status(trailers)

    def on_reset(self, reason: str, text: str | None) -> None:
        self._end(14, reason)

    def flush_response(self) -> None:
        pass

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass


def unary(
    cluster: Any,
    method: str,
    metadata: list[tuple[str, str]],
    request: bytes,
    done: Callable[[int, str, bytes], None],
    timeout_s: float,
) -> Call:
    """A call with one message each way: done(status, text, message)."""
    got: list[bytes] = []

    def opened() -> None:
        call.send(request, True)

    def ended(status: int, text: str) -> None:
        done(status, text, got[0] if got else b"")

    call = Call(cluster, method, metadata, opened, got.append, ended, timeout_s)
    call.start()
    return call
