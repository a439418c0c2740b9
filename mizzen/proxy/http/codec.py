"""What a Stream asks of its client's connection: the codec of one request and its answer.

H1Server is one, and each stream of an HTTP/2 connection has one. Not here: the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.proxy.codec.headers import Headers, ResponseHeaders

if TYPE_CHECKING:
    from mizzen.proxy.http.stream_response import ResponseSide
    from mizzen.proxy.net.connection import Downstream


class Codec:
    """The base of codecs, so that compiled code calls them directly."""

    __slots__ = ("conn",)

    def __init__(self, conn: Downstream) -> None:
        self.conn = conn

    def limit(self) -> int:
        """How many bytes of a body may wait."""
        raise NotImplementedError

    def in_turn(self) -> bool:
        """Whether data from the client is being read now: what is to be sent may wait for more of it."""
        raise NotImplementedError

    def blocked(self) -> bool:
        """Whether the client does not take more for now."""
        raise NotImplementedError

    def send_headers(self, stream: ResponseSide, headers: ResponseHeaders, end: bool) -> None:
        raise NotImplementedError

    def send_early(self, headers: ResponseHeaders) -> None:
        raise NotImplementedError

    def send_data(self, stream: ResponseSide, data: bytes, end: bool) -> None:
        raise NotImplementedError

    def send_trailers(self, stream: ResponseSide, trailers: Headers) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Send what waits for company."""
        raise NotImplementedError

    def reset(self, stream: ResponseSide, details: str) -> None:
        raise NotImplementedError

    def response_complete(self, stream: ResponseSide) -> None:
        raise NotImplementedError

    def stream_done(self, stream: ResponseSide) -> None:
        raise NotImplementedError

    def pause_request(self) -> None:
        raise NotImplementedError

    def resume_request(self) -> None:
        raise NotImplementedError
