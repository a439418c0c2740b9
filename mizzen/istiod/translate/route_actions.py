"""What a matched request is answered with: a redirect, a fixed response, or one or more clusters.

Takes an HTTPRoute, writes the action into an envoy Route. Not here: matching (route_match.py), retries, faults and the
like (route_policies.py).
Source: envoy.config.route.v3 RedirectAction, DirectResponseAction, RouteAction.
"""

from __future__ import annotations

import base64

from envoy.config.route.v3 import route_components_pb2 as routes
from google.protobuf.duration_pb2 import Duration as PbDuration

from mizzen.api.istio.virtual_service import Destination, HTTPDirectResponse, HTTPRedirect, HTTPRewrite, HTTPRoute
from mizzen.istiod.internal_names import PREFIX_PLACEHOLDER
from mizzen.istiod.regex import quote_meta
from mizzen.istiod.translate.messages import pb_duration
from mizzen.istiod.translate.route_headers import apply_headers, header_changes
from mizzen.istiod.translate.route_policies import (
    hash_policy,
    mirror_policy,
    mirror_share,
    policy_share,
    retry_policy,
)
from mizzen.istiod.translate.route_scope import RouteScope, destination_cluster

_REDIRECT_CODES = {
    0: routes.RedirectAction.MOVED_PERMANENTLY,
    301: routes.RedirectAction.MOVED_PERMANENTLY,
    302: routes.RedirectAction.FOUND,
    303: routes.RedirectAction.SEE_OTHER,
    307: routes.RedirectAction.TEMPORARY_REDIRECT,
    308: routes.RedirectAction.PERMANENT_REDIRECT,
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


def set_redirect(out: routes.Route, redirect: HTTPRedirect, port: int, is_tls: bool, gateway_semantics: bool) -> None:
    """A redirect; for a code that envoy does not know the route stays without an action.

    port: what a port taken from the request means; gateway_semantics: the uri may begin with the prefix placeholder.
    """
    code = _REDIRECT_CODES.get(redirect.redirect_code)
    if code is None:
        return
    action = out.redirect
    action.host_redirect = redirect.authority
    if redirect.prefix_rewrite:
        action.prefix_rewrite = redirect.prefix_rewrite
    elif gateway_semantics and redirect.uri.startswith(PREFIX_PLACEHOLDER):
        action.prefix_rewrite = redirect.uri.removeprefix(PREFIX_PLACEHOLDER)
    else:
        action.path_redirect = redirect.uri
    if redirect.scheme:
        action.scheme_redirect = redirect.scheme
    target = port if redirect.derive_port == "FROM_REQUEST_PORT" else redirect.port or 0
    scheme = redirect.scheme or ("https" if is_tls else "http")
    action.port_redirect = 0 if _DEFAULT_PORTS.get(scheme) == target else target
    action.response_code = code


def set_direct_response(out: routes.Route, response: HTTPDirectResponse) -> None:
    """A fixed status with a text, bytes or no body."""
    out.direct_response.status = response.status
    if response.body is None:
        return
    if response.body.string is not None:
        out.direct_response.body.inline_string = response.body.string
    elif response.body.bytes is not None:
        out.direct_response.body.inline_bytes = base64.b64decode(response.body.bytes)


def set_clusters(
    out: routes.Route, route: HTTPRoute, scope: RouteScope, authority: str, gateway_semantics: bool
) -> None:
    """The clusters that requests go to, with all that goes with them.

    authority: the host that the route's own header operations write, "" for none.
    """
    action = out.route
    timeout = pb_duration(route.timeout) if route.timeout is not None else PbDuration()
    action.timeout.CopyFrom(timeout)
    action.max_grpc_timeout.CopyFrom(timeout)
    action.append_x_forwarded_host = scope.forwarded_host
    if gateway_semantics:
        action.cluster_not_found_response_code = routes.RouteAction.INTERNAL_SERVER_ERROR
    if route.rewrite is not None:
        _set_rewrite(action, route.rewrite, out.match, gateway_semantics)
        authority = route.rewrite.authority or authority
    if authority:
        action.host_rewrite_literal = authority
    _add_mirrors(action, route, scope)
    hashed = _set_destinations(out, route, scope)
    retries = retry_policy(route.retries if route.retries is not None else scope.retries, hashed)
    if retries is not None:
        action.retry_policy.CopyFrom(retries)


def _set_rewrite(
    action: routes.RouteAction, rewrite: HTTPRewrite, match: routes.RouteMatch, gateway_semantics: bool
) -> None:
    if rewrite.uri_regex_rewrite is not None:
        action.regex_rewrite.pattern.regex = rewrite.uri_regex_rewrite.match
        action.regex_rewrite.substitution = rewrite.uri_regex_rewrite.rewrite
    elif gateway_semantics and rewrite.uri == "/":
        # A plain prefix rewrite to "/" would leave "//rest": the prefix and one slash go, the rest stays.
        action.regex_rewrite.pattern.regex = f"^{quote_meta(match.path_separated_prefix)}(/?)(.*)"
        action.regex_rewrite.substitution = r"/\2"
    elif rewrite.uri:
        action.prefix_rewrite = rewrite.uri


def _add_mirrors(action: routes.RouteAction, route: HTTPRoute, scope: RouteScope) -> None:
    wanted = [(route.mirror, mirror_share(route))] if route.mirror is not None else []
    wanted += [(mirror.destination, policy_share(mirror.percentage)) for mirror in route.mirrors]
    for destination, share in wanted:
        if destination is not None and share is not None:
            cluster = destination_cluster(destination, scope.service(destination.host), scope.port)
            action.request_mirror_policies.append(mirror_policy(cluster, share))


def _set_destinations(out: routes.Route, route: HTTPRoute, scope: RouteScope) -> bool:
    """One cluster or several by weight; says whether a single destination is hashed."""
    if len(route.route) == 1:
        (only,) = route.route
        out.route.cluster = destination_cluster(only.destination, scope.service(only.destination.host), scope.port)
        changes = header_changes(only.headers)
        apply_headers(changes, out)
        if changes.authority:
            out.route.host_rewrite_literal = changes.authority
        policy = _hash_policy(scope, only.destination)
        if policy is not None:
            out.route.hash_policy.append(policy)
        return policy is not None
    for entry in route.route:
        if not entry.weight:
            continue
        weighted = out.route.weighted_clusters.clusters.add(
            name=destination_cluster(entry.destination, scope.service(entry.destination.host), scope.port)
        )
        weighted.weight.value = entry.weight
        changes = header_changes(entry.headers)
        apply_headers(changes, weighted)
        if changes.authority:
            weighted.host_rewrite_literal = changes.authority
        policy = _hash_policy(scope, entry.destination)
        if policy is not None:
            out.route.hash_policy.append(policy)
    return False


def _hash_policy(scope: RouteScope, destination: Destination) -> routes.RouteAction.HashPolicy | None:
    wanted = scope.hash_of(destination)
    return None if wanted is None else hash_policy(wanted)
