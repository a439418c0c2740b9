"""istio.alpn: the ALPN protocols that an upstream connection offers, by the protocol that the cluster speaks.

Skipped where the cluster's metadata say `istio.alpn_override: "false"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.config.transport import ALPN_STATE
from mizzen.proxy.filters.base import HttpFilter

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

HTTP10, HTTP11, HTTP2 = range(3)


class Alpn(HttpFilter):
    decodes = True

    def __init__(self, config: Any) -> None:
        self.offers: dict[int, tuple[str, ...]] = {
            int(each.upstream_protocol): tuple(each.alpn_override) for each in config.alpn_override
        }

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        cluster = stream.cluster
        if cluster is None or not cluster.uses_tls:
            return True
        if cluster.metadata is not None and (cluster.metadata.get("istio") or {}).get("alpn_override") == "false":
            return True
        protocol = cluster.http.protocol
        http2 = protocol == "http2" or (protocol == "downstream" and stream.protocol == "HTTP/2")
        offers = self.offers.get(
            HTTP2 if http2 else HTTP10 if stream.protocol == "HTTP/1.0" and protocol == "downstream" else HTTP11
        )
        if offers:
            stream.set_filter_state(ALPN_STATE, offers)
        return True


def http_filter(config: Any, server: Any, hcm: Any) -> Alpn | None:
    return Alpn(config) if config.alpn_override else None
