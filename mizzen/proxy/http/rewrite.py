"""Paths and hosts as a route rewrites them, and where a redirect points to."""

from __future__ import annotations

from typing import Any

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.http.route import OTHER, Match, Redirect, Route, RouteAction, Target


def prefix_rewritten(path: str, match: Match, prefix: str) -> str:
    """A path with what the route matched put out and `prefix` put in."""
    body, mark, query = path.partition("?")
    if match.kind == OTHER and not match.text:
        return path
    return prefix + body[len(match.text) :] + mark + query


def rewrite(action: RouteAction, target: Target, headers: RequestHeaders, stream: Any) -> None:
    """Rewrite a request's path and host as its route says."""
    path = headers.path
    if action.prefix_rewrite:
        headers.path = prefix_rewritten(path, stream.route.match, action.prefix_rewrite)
    elif action.regex_rewrite is not None:
        body, mark, query = path.partition("?")
        headers.path = action.regex_rewrite(body) + mark + query
    elif action.template_rewrite is not None:
        body, mark, query = path.partition("?")
        fresh = action.template_rewrite(body)
        if fresh is not None:
            headers.path = fresh + mark + query
    if headers.path != path:
        headers.set("x-envoy-original-path", path)
    if target.host_rewrite:
        set_host(action, headers, target.host_rewrite, False)
        return
    host = action.host_rewrite
    if not host:
        if action.host_rewrite_header:
            host = headers.get(action.host_rewrite_header) or ""
        elif action.host_rewrite_path is not None:
            host = action.host_rewrite_path(path.partition("?")[0])
    if host:
        set_host(action, headers, host)


def set_host(action: Any, headers: RequestHeaders, host: str, remembered: bool = True) -> None:
    """Put another host into a request; the old one is remembered unless a weighted cluster rewrites it."""
    before = headers.authority or ""
    if action.append_x_forwarded_host:
        forwarded = headers.joined("x-forwarded-host")
        headers.set("x-forwarded-host", before if not forwarded else f"{forwarded},{before}")
    if remembered:
        headers.set("x-envoy-original-host", before)
    headers.authority = host


def redirect_location(route: Route, headers: RequestHeaders) -> str:
    """The Location of a redirect route's answer."""
    redirect: Redirect = route.redirect  # type: ignore[assignment]
    scheme = headers.get("x-forwarded-proto") or headers.scheme or "http"
    new_scheme = "https" if redirect.https else redirect.scheme or scheme
    authority = headers.authority or ""
    name, colon, port = authority.rpartition(":")
    if not colon or not port.isdigit():
        name, port = authority, ""
    host = redirect.host or name
    if redirect.port:
        port = str(redirect.port)
    elif redirect.host:
        port = ""
    if (new_scheme != scheme and (scheme, port) in (("http", "80"), ("https", "443"))) or (
        not redirect.port and redirect.host and not port
    ):
        port = ""
    if redirect.port and (new_scheme, port) in (("http", "80"), ("https", "443")):
        port = ""
    path = headers.path
    body, mark, query = path.partition("?")
    if redirect.path:
        path = redirect.path if "?" in redirect.path or "#" in redirect.path else redirect.path + mark + query
    elif redirect.prefix_rewrite is not None and redirect.prefix_rewrite != "":
        path = prefix_rewritten(path, route.match, redirect.prefix_rewrite)
    elif redirect.regex_rewrite is not None:
        path = redirect.regex_rewrite(body) + mark + query
    if redirect.strip_query:
        path = path.partition("?")[0]
    return f"{new_scheme}://{host}{':' + port if port else ''}{path}"
