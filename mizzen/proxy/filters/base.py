"""What an HTTP filter is.

A filter object belongs to a connection manager and serves all its streams; what it keeps per stream it puts into
`stream.state[self]`. Hooks run in the order of the chain (responses in reverse). `request_headers` and `response_headers` give
True to go on, False to hold: the filter later calls `stream.continue_request()` / `continue_response()` or answers with
`stream.local_reply(...)`. Data hooks give the bytes to pass on; None holds them (the filter keeps what it needs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.codec.headers import Headers, RequestHeaders, ResponseHeaders

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream


class HttpFilter:
    """The base of filters. The class flags say which hooks are called at all."""

    decodes = False  # request_headers
    encodes = False  # response_headers
    reads_request_data = False  # request_data, request_trailers
    reads_response_data = False  # response_data, response_trailers
    finishes = False  # finished
    off = False  # HttpFilter.disabled: only on where a route says so
    place: HttpFilter | None = None  # what stands for it in the chain, when ECDS configures it
    name = ""  # the filter's name in the configuration: per-route settings are found by it

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        return True

    def request_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        return data

    def request_trailers(self, stream: Stream, trailers: Headers) -> bool:
        return True

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        return True

    def response_data(self, stream: Stream, data: bytes, end: bool) -> bytes | None:
        return data

    def response_trailers(self, stream: Stream, trailers: Headers) -> bool:
        return True

    def finished(self, stream: Stream) -> None:
        """The stream is over: free what is kept for it, count it."""

    def route_config(self, stream: Stream) -> Any:
        """What the stream's route says about this filter; None when it says nothing."""
        per_filter = stream.per_filter
        if not per_filter:
            return None
        config = per_filter.get(self.name)
        return None if config is ENABLED else config


class Disabled:
    """A route's word that a filter is off."""


class Enabled:
    """A route's word that a filter that is off by default is on, with nothing more to say."""


DISABLED: Final = Disabled()
ENABLED: Final = Enabled()
