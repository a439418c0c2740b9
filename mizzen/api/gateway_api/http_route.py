"""Gateway API: HTTPRoute and what its rules consist of.

Source: sigs.k8s.io/gateway-api. Not here: the other routes (routes.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.gateway_api.common import (
    BackendObjectReference,
    Condition,
    HeaderName,
    Hostname,
    LocalObjectReference,
    Name,
    ParentReference,
    PortNumber,
    SectionName,
)
from mizzen.api.istio.meta import Message
from mizzen.api.types import Duration


class HTTPPathMatch(Message):
    """A path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, Meta(max_length=1024)] = "/"


class HTTPHeaderMatch(Message):
    """A header with a value; also a query parameter."""

    name: HeaderName
    value: Annotated[str, Meta(min_length=1, max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


class HTTPQueryParamMatch(Message):
    """A query parameter with a value."""

    name: HeaderName
    value: Annotated[str, Meta(min_length=1, max_length=1024)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


HTTPMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class HTTPRouteMatch(Message):
    """Conditions that all have to hold."""

    path: HTTPPathMatch = HTTPPathMatch()
    headers: Annotated[tuple[HTTPHeaderMatch, ...], Meta(max_length=16)] = ()
    query_params: Annotated[tuple[HTTPQueryParamMatch, ...], Meta(max_length=16)] = ()
    method: HTTPMethod | None = None


class HTTPHeader(Message):
    """A header."""

    name: HeaderName
    value: Annotated[str, Meta(min_length=1, max_length=4096)]


class HTTPHeaderFilter(Message):
    """Headers to set, add and remove."""

    set: Annotated[tuple[HTTPHeader, ...], Meta(max_length=16)] = ()
    add: Annotated[tuple[HTTPHeader, ...], Meta(max_length=16)] = ()
    remove: Annotated[tuple[str, ...], Meta(max_length=16)] = ()


class Fraction(Message):
    """A share as a fraction."""

    numerator: Annotated[int, Meta(ge=0)]
    denominator: Annotated[int, Meta(ge=1)] = 100


class HTTPRequestMirrorFilter(Message):
    """A backend that gets copies."""

    backend_ref: BackendObjectReference
    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


class HTTPPathModifier(Message):
    """How a path is changed."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, Meta(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, Meta(max_length=1024)] | None = None


class HTTPRequestRedirectFilter(Message):
    """A redirect."""

    scheme: Literal["http", "https"] | None = None
    hostname: Hostname | None = None
    path: HTTPPathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class HTTPURLRewriteFilter(Message):
    """A rewrite."""

    hostname: Hostname | None = None
    path: HTTPPathModifier | None = None


class HTTPCORSFilter(Message):
    """Cross-origin rules."""

    allow_origins: tuple[str, ...] = ()
    allow_credentials: bool | None = None
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Annotated[int, Meta(ge=1)] = 5


class GRPCAuthConfig(Message):
    """An external authoriser by gRPC."""

    allowed_headers: tuple[str, ...] = ()


class HTTPAuthConfig(Message):
    """An external authoriser by HTTP."""

    path: str = ""
    allowed_headers: tuple[str, ...] = ()
    allowed_response_headers: tuple[str, ...] = ()


class ForwardBodyConfig(Message):
    """How much of the body an authoriser gets."""

    max_size: Annotated[int, Meta(ge=0, le=65535)] = 0


class HTTPExternalAuthFilter(Message):
    """An external authoriser."""

    protocol: Literal["GRPC", "HTTP"]
    backend_ref: BackendObjectReference
    grpc: GRPCAuthConfig | None = None
    http: HTTPAuthConfig | None = None
    forward_body: ForwardBodyConfig | None = None


class HTTPRouteFilter(Message):
    """One filter; the member that type names."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
        "ExternalAuth",
    ]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = None
    cors: HTTPCORSFilter | None = None
    external_auth: HTTPExternalAuthFilter | None = None
    extension_ref: LocalObjectReference | None = None


class HTTPBackendRef(Message):
    """A weighted backend with filters of its own."""

    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    filters: Annotated[tuple[HTTPRouteFilter, ...], Meta(max_length=16)] = ()


class HTTPRouteTimeouts(Message):
    """Time-outs of a rule."""

    request: Duration | None = None
    backend_request: Duration | None = None


class HTTPRouteRetry(Message):
    """Retries of a rule."""

    codes: tuple[Annotated[int, Meta(ge=400, le=599)], ...] = ()
    attempts: int | None = None
    backoff: Duration | None = None


class CookieConfig(Message):
    """A session cookie's lifetime."""

    lifetime_type: Literal["Permanent", "Session"] = "Session"


class SessionPersistence(Message):
    """How requests of one session reach the same backend."""

    session_name: Annotated[str, Meta(max_length=128)] | None = None
    absolute_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    type: Literal["Cookie", "Header"] = "Cookie"
    cookie_config: CookieConfig | None = None


class HTTPRouteRule(Message):
    """Matches, filters and backends."""

    name: SectionName | None = None
    matches: Annotated[tuple[HTTPRouteMatch, ...], Meta(max_length=64)] = (HTTPRouteMatch(),)
    filters: Annotated[tuple[HTTPRouteFilter, ...], Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[HTTPBackendRef, ...], Meta(max_length=16)] = ()
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRouteSpec(Message):
    """Parents, hosts and rules."""

    parent_refs: Annotated[tuple[ParentReference, ...], Meta(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], Meta(max_length=16)] = ()
    rules: Annotated[tuple[HTTPRouteRule, ...], Meta(min_length=1, max_length=16)] = (HTTPRouteRule(),)
    use_default_gateways: Literal["All", "None"] | None = None


class RouteParentStatus(Message, forbid_unknown_fields=False):
    """How a route fares at one parent."""

    parent_ref: ParentReference
    controller_name: str
    conditions: tuple[Condition, ...] = ()


class RouteStatus(Message, forbid_unknown_fields=False):
    """How a route fares at its parents."""

    parents: tuple[RouteParentStatus, ...] = ()


class HTTPRoute(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: HTTPRouteSpec = HTTPRouteSpec()
    status: RouteStatus | None = None
