"""The owner of a request to an upstream, as pools and connections know it.

What derives from it is called directly by compiled code; other owners (a mirror, an internal client) only look alike.
"""

from __future__ import annotations

from typing import Any

from mizzen.proxy.codec.headers import ResponseHeaders


class UpstreamRequest:
    """Told of its connection and of the answer."""

    __slots__ = ()

    def pool_ready(self, connection: Any) -> None:
        """There is a connection to send the request on."""
        raise NotImplementedError

    def on_headers(self, response: ResponseHeaders, end: bool) -> None:
        raise NotImplementedError

    def on_data(self, data: bytes, end: bool) -> None:
        raise NotImplementedError

    def flush_response(self) -> None:
        """Nothing more comes for now."""
        raise NotImplementedError
