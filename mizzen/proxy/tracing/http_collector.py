"""A collector that takes batches by HTTP POST over a cluster of the proxy's.

Source: envoy.config.core.v3.HttpService.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.upstream.async_client import fetch


class Collector(NamedTuple):
    """more: further headers, by name and value."""

    cluster: str
    host: str
    path: str
    more: tuple[tuple[str, str], ...] = ()
    user_agent: str = ""

    def post(self, server: Any, body: bytes, kind: str, timeout_s: float, done: Callable[[int], None]) -> bool:
        """Send; False when there is no such cluster. done: called with the answer's status, 0 when there was none."""
        cluster = server.clusters.get(self.cluster)
        if cluster is None:
            return False
        headers = RequestHeaders("POST", self.path, self.host, {"content-type": kind}, None, "http")
        if self.user_agent:
            headers.d["user-agent"] = self.user_agent
        for name, value in self.more:
            headers.set(name, value)
        fetch(cluster, headers, body, timeout_s, lambda answer, _, failure: done(answer.status if answer else 0))
        return True


def of_service(message: Any, where: str, user_agent: str = "") -> Collector:
    """Of an HttpService. Raises ConfigError."""
    uri = message.http_uri
    if not uri.cluster or not uri.uri:
        raise ConfigError(f"{where}.http_uri: uri and cluster are required")
    parts = urlsplit(uri.uri if "://" in uri.uri else f"http://{uri.uri}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    more = tuple((each.header.key.lower(), each.header.value) for each in message.request_headers_to_add)
    return Collector(uri.cluster, parts.netloc, path, more, user_agent)
