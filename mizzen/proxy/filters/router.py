"""The router: the last filter. Sends the request to a host of the route's cluster, tries again where that helps, hands the
answer back.

`Router` is the configured filter. A request's way through it is in router_exchange.py, its tries in router_tries.py, one try at
one host in router_attempt.py. Not here: which route (http/route.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.filters.router_exchange import Exchange
from mizzen.proxy.filters.router_tries import chance
from mizzen.proxy.http import info as flags
from mizzen.proxy.http.header_ops import apply
from mizzen.proxy.http.rewrite import redirect_location

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream


class Router:
    """envoy.filters.http.router: an HttpFilter by its hooks; no subclass, so that it can be compiled."""

    def __init__(self, suppress_envoy_headers: bool = False, respect_expected: bool = False) -> None:
        self.decodes = True
        self.encodes = self.reads_request_data = self.reads_response_data = self.finishes = self.off = False
        self.name = "envoy.filters.http.router"
        self.suppress = suppress_envoy_headers
        self.respect_expected = respect_expected

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        route = stream.route
        hcm = stream.hcm
        hcm.hot.rq_total += 1
        if route is None:
            hcm.stats.no_route += 1
            stream.local_reply(404, "", "route_not_found", flags.NO_ROUTE_FOUND)
            return False
        action = route.action
        if action is None:
            self._no_upstream(stream, headers, route)
            return False
        cluster = stream.cluster
        if cluster is None:
            hcm.stats.no_cluster += 1
            stream.local_reply(action.cluster_not_found_code, "", "cluster_not_found", flags.NO_CLUSTER_FOUND)
            return False
        if cluster.drop_share and chance(cluster.drop_share):
            self._drop(stream, cluster)
            return False
        exchange = stream.router = Exchange(self, stream, action, cluster)
        exchange.start(headers, end)
        return False

    @staticmethod
    def _drop(stream: Stream, cluster: Any) -> None:
        """The endpoints' assignment says to refuse a share of the requests."""
        stats = cluster.stats
        key = 503 << 2 | (1 if stream.internal else 0)
        stats.outcomes[key] = stats.outcomes.get(key, 0) + 1
        stats.upstream_rq_completed += 1
        if cluster.drop_share < 1:
            said = {"x-envoy-drop-overload": "true"}
            stream.local_reply(503, "drop overload", "drop_overload", flags.DROP_OVERLOAD, said)
            return
        said = {"x-envoy-unconditional-drop-overload": "true"}
        details = "unconditional_drop_overload"
        stream.local_reply(503, "unconditional drop overload", details, flags.UNCONDITIONAL_DROP_OVERLOAD, said)

    @staticmethod
    def _no_upstream(stream: Stream, headers: RequestHeaders, route: Any) -> None:
        def modify(response: ResponseHeaders) -> None:
            apply(route.response_ops, response, stream)

        direct = route.direct
        if direct is not None:
            stream.hcm.stats.rq_direct_response += 1
            body = direct.body.decode("utf-8", "surrogateescape")
            if direct.body_format is not None:
                stream.local_body = body
                body = direct.body_format(stream)
            kind = direct.content_type if direct.body_format is not None else None
            extra = None
            if direct.status == 201 or 300 <= direct.status < 400:  # RFC 9110, section 10.2.2
                scheme = headers.get("x-forwarded-proto") or headers.scheme or "http"
                extra = {"location": f"{scheme}://{headers.authority or ''}{headers.path}"}
            stream.local_reply(direct.status, body, "direct_response", 0, extra, modify=modify, content_type=kind)
        elif route.redirect is not None:
            stream.hcm.stats.rq_redirect += 1
            location = redirect_location(route, headers)
            stream.local_reply(
                route.redirect.code, "", "direct_response", headers={"location": location}, modify=modify
            )
        else:
            stream.hcm.stats.no_route += 1
            stream.local_reply(404, "", "route_not_found", flags.NO_ROUTE_FOUND)
