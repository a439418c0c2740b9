"""envoy.filters.http.buffer: a request goes on only when it is there in full, and gets a content-length.

Source: envoy.extensions.filters.http.buffer.v3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import Headers, RequestHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.config.values import wrapped
from mizzen.proxy.filters.base import DISABLED, HttpFilter

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream


class Kept:
    """The body so far."""

    __slots__ = ("limit", "parts", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.parts: list[bytes] = []
        self.size = 0


class Buffer(HttpFilter):
    decodes = True
    reads_request_data = True

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        if end or stream.upgrade:
            return True
        if stream.state is None:
            stream.state = {}
        stream.state[self] = Kept(self.route_config(stream) or self.limit)
        return False

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        kept: Kept | None = stream.state.get(self) if stream.state is not None else None
        if kept is None:
            return data
        kept.parts.append(data)
        kept.size += len(data)
        if kept.size > kept.limit:
            stream.local_reply(413, "Payload Too Large", "request_payload_too_large", close=stream.protocol != "HTTP/2")
        elif end:
            self._go_on(stream, kept)
        return None

    def request_trailers(self, stream: Stream, trailers: Headers) -> bool:
        kept: Kept | None = stream.state.get(self) if stream.state is not None else None
        if kept is not None:
            self._go_on(stream, kept)
        return True

    def _go_on(self, stream: Stream, kept: Kept) -> None:
        assert stream.state is not None and stream.request is not None
        del stream.state[self]
        if "content-length" not in stream.request.d:
            stream.request.remove("transfer-encoding")
            stream.request.set("content-length", str(kept.size))
        stream.held_parts = [b"".join(kept.parts)] if kept.size else None
        stream.continue_request()


def limit_of(message: Any) -> int:
    limit = int(wrapped(message, "max_request_bytes", 0))
    if not limit:
        raise ConfigError("BufferValidationError.MaxRequestBytes: value is required and must not be nil")
    return limit


def http_filter(config: Any, server: Any, hcm: Any) -> Buffer:
    return Buffer(limit_of(config))


def route_config(config: Any, server: Any) -> Any:
    if config.WhichOneof("override") == "disabled":
        return DISABLED if config.disabled else None
    return limit_of(config.buffer)
