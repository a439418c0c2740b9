"""Internal redirects: a redirect from an upstream is followed by the proxy itself. Source: config.route.v3.InternalRedirectPolicy."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.codec.headers import ResponseHeaders


def redirected(exchange: Any, attempt: Any, response: ResponseHeaders, end: bool) -> bool:
    """Follow the redirect where the policy allows; False when the client gets it."""
    policy = exchange.action.internal_redirect
    stream = exchange.stream
    codes = set(policy.redirect_response_codes) or {302}
    if response.status not in codes or not exchange.end:
        return False
    stats = stream.hcm.stats
    cluster_stats = exchange.cluster.stats
    most = policy.max_internal_redirects.value if policy.HasField("max_internal_redirects") else 1
    done = stream.get_filter_state("envoy.internal_redirect.num") or 0
    location = response.get("location") or ""
    scheme, mark, rest = location.partition("://")
    headers = stream.request
    if done >= most:
        stats.passthrough_internal_redirect_too_many_redirects += 1
    elif location.startswith("/"):
        scheme, rest, mark = headers.scheme, (headers.authority or "") + location, "://"
    if done >= most or not mark or scheme not in ("http", "https"):
        if done < most:
            stats.passthrough_internal_redirect_bad_location += 1
        cluster_stats.upstream_internal_redirect_failed_total += 1
        return False
    secure = stream.conn.tls is not None
    if (scheme == "https") != secure and not policy.allow_cross_scheme_redirect:
        stats.passthrough_internal_redirect_unsafe_scheme += 1
        cluster_stats.upstream_internal_redirect_failed_total += 1
        return False
    cut = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    before = (headers.authority, headers.path)
    headers.set("x-envoy-original-url", f"{headers.scheme}://{headers.authority}{headers.path}")
    headers.authority = rest[:cut]
    path = rest[cut:]
    headers.path = path if path.startswith("/") else "/" + path
    if response.status == 303 and headers.method not in ("GET", "HEAD"):
        headers.method = "GET"
        headers.remove("content-length")
    stream.resolve_route()
    if stream.route is None or stream.route.action is None or stream.cluster is None:
        headers.authority, headers.path = before
        stats.passthrough_internal_redirect_no_route += 1
        cluster_stats.upstream_internal_redirect_failed_total += 1
        return False
    cluster_stats.upstream_internal_redirect_succeeded_total += 1
    stream.set_filter_state("envoy.internal_redirect.num", done + 1)
    exchange.attempt = None
    attempt.abort(end)
    stream.router = None
    stream.hcm.filters[-1].request_headers(stream, headers, True)
    return True
