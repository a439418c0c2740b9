"""Rules of HTTPRoutes and GRPCRoutes → Istio HTTPRoutes, one for each match.

Takes a route object, gives Istio's structs with fully qualified destinations. Not here: which Gateways and hosts they are
for (virtual_services.py).
Source: gateway.networking.k8s.io HTTPRoute, GRPCRoute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from mizzen.api.istio.virtual_service import (
    CorsPolicy,
    HeaderOperations,
    Headers,
    HTTPDirectResponse,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    HTTPRouteDestination,
    Percent,
    RegexRewrite,
    StringMatch,
)
from mizzen.api.types import Duration
from mizzen.istiod.gateway_api.references import References, Referrer, is_whole, weighted
from mizzen.istiod.internal_names import PREFIX_PLACEHOLDER
from mizzen.istiod.regex import quote_meta

RETRY_ON = ("connect-failure", "refused-stream", "unavailable", "cancelled")
DEFAULT_ATTEMPTS = 2


def http_rules(route: Any, references: References) -> Iterator[HTTPRoute]:
    """The rules of an HTTPRoute."""
    for index, rule in enumerate(route.spec.rules):
        action = _action(route, "HTTPRoute", index, rule, references)
        action = _with_times(action, rule)
        for match in rule.matches:
            yield msgspec.structs.replace(action, match=(_http_match(match),))


def grpc_rules(route: Any, references: References) -> Iterator[HTTPRoute]:
    """The rules of a GRPCRoute; one without matches takes everything."""
    for index, rule in enumerate(route.spec.rules):
        action = _action(route, "GRPCRoute", index, rule, references)
        matches = [_grpc_match(match) for match in rule.matches] or [HTTPMatchRequest(uri=StringMatch(prefix="/"))]
        for match in matches:
            yield msgspec.structs.replace(action, match=(match,))


def _http_match(match: Any) -> HTTPMatchRequest:
    kinds = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}
    return HTTPMatchRequest(
        uri=StringMatch(**{kinds[match.path.type]: match.path.value}),
        method=StringMatch(exact=match.method) if match.method else None,
        headers=_values(match.headers),
        query_params=_values(match.query_params),
    )


def _grpc_match(match: Any) -> HTTPMatchRequest:
    return HTTPMatchRequest(uri=_grpc_uri(match.method), headers=_values(match.headers))


def _grpc_uri(method: Any) -> StringMatch:
    """The path that a service and method have; a name that is left out may be any."""
    if method is None or not (method.service or method.method):
        return StringMatch(prefix="/")
    if method.type == "RegularExpression":
        return StringMatch(regex=f"/{method.service or '[^/]+'}/{method.method or '[^/]+'}")
    if method.service and method.method:
        return StringMatch(exact=f"/{method.service}/{method.method}")
    if method.service:
        return StringMatch(prefix=f"/{method.service}/")
    return StringMatch(regex=f"/[^/]+/{method.method}")


def _values(conditions: Iterable[Any]) -> dict[str, StringMatch]:
    """Header or query conditions by name; of two for one name the first counts."""
    out: dict[str, StringMatch] = {}
    for one in conditions:
        kind = "regex" if one.type == "RegularExpression" else "exact"
        out.setdefault(one.name, StringMatch(**{kind: one.value}))
    return out


def _action(route: Any, kind: str, index: int, rule: Any, references: References) -> HTTPRoute:
    """What a rule does, without its matches. A filter that is not supported makes the rule answer with an error."""
    namespace = route.metadata.namespace or "default"
    referrer = Referrer(kind, namespace)
    name = f"{namespace}.{route.metadata.name}.{index}"
    usable = [one for one in rule.filters if is_whole(one)]
    filters = {one.type: one for one in usable}
    if {one.type for one in rule.filters} & {"ExtensionRef", "ExternalAuth"}:
        return HTTPRoute(name=name, direct_response=HTTPDirectResponse(status=500))
    redirect, rewrite = filters.get("RequestRedirect"), filters.get("URLRewrite")
    backends = weighted(rule.backend_refs)
    broken = not backends and redirect is None
    cors = filters.get("CORS")
    return HTTPRoute(
        name=name,
        headers=_headers(usable),
        redirect=_redirect(redirect.request_redirect) if redirect is not None else None,
        rewrite=_rewrite(rewrite.url_rewrite) if rewrite is not None and not broken else None,
        mirrors=tuple(_mirror(f.request_mirror, referrer, references) for f in usable if f.type == "RequestMirror"),
        cors_policy=_cors(cors.cors) if cors is not None else None,
        direct_response=HTTPDirectResponse(status=500) if broken else None,
        route=tuple(
            HTTPRouteDestination(
                destination=references.destination(ref, referrer), weight=weight, headers=_headers(ref.filters)
            )
            for ref, weight in backends
        ),
    )


def _with_times(action: HTTPRoute, rule: Any) -> HTTPRoute:
    retry = rule.retry
    retries = None
    if retry is not None:
        attempts = DEFAULT_ATTEMPTS if retry.attempts is None else retry.attempts
        conditions = ",".join((*RETRY_ON, *(str(code) for code in retry.codes))) if attempts else ""
        retries = HTTPRetry(attempts=attempts, retry_on=conditions, backoff=retry.backoff)
    timeout = rule.timeouts.request if rule.timeouts is not None else None
    each = rule.timeouts.backend_request if rule.timeouts is not None else None
    if each is not None and retries is not None:
        retries = msgspec.structs.replace(retries, per_try_timeout=each)
    elif each is not None:
        timeout = each
    return msgspec.structs.replace(action, retries=retries, timeout=timeout)


def _headers(filters: Iterable[Any]) -> Headers | None:
    request = response = None
    for one in filter(is_whole, filters):
        if one.type == "RequestHeaderModifier":
            request = _operations(one.request_header_modifier)
        elif one.type == "ResponseHeaderModifier":
            response = _operations(one.response_header_modifier)
    return Headers(request=request, response=response) if request or response else None


def _operations(modifier: Any) -> HeaderOperations:
    return HeaderOperations(
        set={header.name: header.value for header in modifier.set},
        add={header.name: header.value for header in modifier.add},
        remove=tuple(modifier.remove),
    )


def _redirect(redirect: Any) -> HTTPRedirect:
    """Without a port the scheme's own is used, or the request's when the scheme stays."""
    uri = ""
    if redirect.path is not None and redirect.path.type == "ReplaceFullPath":
        uri = redirect.path.replace_full_path or ""
    elif redirect.path is not None:
        uri = PREFIX_PLACEHOLDER + (redirect.path.replace_prefix_match or "")
    derive = "FROM_PROTOCOL_DEFAULT" if redirect.scheme else "FROM_REQUEST_PORT"
    return HTTPRedirect(
        uri=uri,
        authority=redirect.hostname or "",
        scheme=redirect.scheme or "",
        port=redirect.port,
        derive_port=None if redirect.port is not None else derive,  # type: ignore[arg-type]
        redirect_code=redirect.status_code,
    )


def _rewrite(rewrite: Any) -> HTTPRewrite | None:
    uri, regex = "", None
    if rewrite.path is not None and rewrite.path.type == "ReplaceFullPath":
        regex = RegexRewrite(match="/.*", rewrite=rewrite.path.replace_full_path or "")
    elif rewrite.path is not None:
        uri = (rewrite.path.replace_prefix_match or "").removesuffix("/") or "/"
    if not (uri or regex or rewrite.hostname):
        return None
    return HTTPRewrite(uri=uri, uri_regex_rewrite=regex, authority=rewrite.hostname or "")


def _mirror(mirror: Any, referrer: Referrer, references: References) -> HTTPMirrorPolicy:
    share = None
    if mirror.percent is not None:
        share = Percent(value=float(mirror.percent))
    elif mirror.fraction is not None:
        share = Percent(value=100.0 * mirror.fraction.numerator / mirror.fraction.denominator)
    return HTTPMirrorPolicy(destination=references.destination(mirror.backend_ref, referrer), percentage=share)


def _cors(cors: Any) -> CorsPolicy:
    return CorsPolicy(
        allow_origins=tuple(_origin(origin) for origin in cors.allow_origins),
        allow_methods=tuple(cors.allow_methods),
        allow_headers=tuple(cors.allow_headers),
        expose_headers=tuple(cors.expose_headers),
        allow_credentials=cors.allow_credentials,
        max_age=Duration.of(cors.max_age),
        unmatched_preflights="IGNORE",
    )


def _origin(origin: str) -> StringMatch:
    if "*" not in origin:
        return StringMatch(exact=origin)
    return StringMatch(regex=".*".join(quote_meta(part) for part in origin.split("*")))
