"""networking.istio.io VirtualService: how requests and connections to a host are routed.

Source: istio.networking.v1alpha3.VirtualService. Not here: what makes one valid (mizzen.api.validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from lightkube.models.meta_v1 import ObjectMeta

from mizzen.api.istio.meta import Int32, IstioStatus, Labels, Message, PortSelector, UInt32
from mizzen.api.types import Duration


class Destination(Message):
    """A service of the registry: host, subset, port."""

    host: str
    subset: str = ""
    port: PortSelector | None = None


class StringMatch(Message):
    """One of exact, prefix, regex; none of them means: present."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class Percent(Message):
    """0.0 to 100.0."""

    value: float = 0.0


class Delegate(Message):
    """The VirtualService that a route is handed on to."""

    name: str = ""
    namespace: str = ""


class HeaderOperations(Message):
    """Headers to set, add and remove, in this order: remove, set, add."""

    set: Labels = {}
    add: Labels = {}
    remove: tuple[str, ...] = ()


class Headers(Message):
    """Header operations for either direction."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPMatchRequest(Message):
    """Conditions that all have to hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: Mapping[str, StringMatch] = {}
    port: UInt32 = 0
    source_labels: Labels = {}
    gateways: tuple[str, ...] = ()
    query_params: Mapping[str, StringMatch] = {}
    ignore_uri_case: bool = False
    without_headers: Mapping[str, StringMatch] = {}
    source_namespace: str = ""
    stat_prefix: str = ""


class HTTPRouteDestination(Message):
    """One weighted destination of an HTTP route."""

    destination: Destination
    weight: Int32 = 0
    headers: Headers | None = None


class RouteDestination(Message):
    """One weighted destination of a TCP or TLS route."""

    destination: Destination
    weight: Int32 = 0


class HTTPRedirect(Message):
    """A redirect instead of a route; port and derivePort exclude each other."""

    uri: str = ""
    prefix_rewrite: str = ""
    authority: str = ""
    port: UInt32 | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str = ""
    redirect_code: UInt32 = 0


class HTTPBody(Message):
    """A body: text or base64."""

    string: str | None = None
    bytes: str | None = None


class HTTPDirectResponse(Message):
    """A fixed answer."""

    status: UInt32
    body: HTTPBody | None = None


class RegexRewrite(Message):
    r"""RE2 substitution of the path; groups are written \1."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Message):
    """What to write into the request before it is sent on."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Message):
    """When, how often and how fast a failed request is tried again."""

    attempts: Int32 = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class CorsPolicy(Message):
    """Cross-origin rules."""

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"


class Delay(Message):
    """HTTPFaultInjection.Delay: fixedDelay and exponentialDelay exclude each other."""

    percent: Int32 = 0
    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None


class Abort(Message):
    """HTTPFaultInjection.Abort: one of the three statuses."""

    http_status: Int32 | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class HTTPFaultInjection(Message):
    """Faults to inject on the client's side."""

    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Message):
    """A destination that gets copies of a share of the requests."""

    destination: Destination
    percentage: Percent | None = None


class HTTPRoute(Message):
    """One rule for HTTP traffic."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    mirror_percent: UInt32 | None = None
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class TLSMatchAttributes(Message):
    """Conditions on a TLS connection that is not terminated here."""

    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_labels: Labels = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TLSRoute(Message):
    """One rule for TLS traffic by its SNI."""

    match: tuple[TLSMatchAttributes, ...]
    route: tuple[RouteDestination, ...] = ()


class L4MatchAttributes(Message):
    """Conditions on a TCP connection."""

    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_subnet: str = ""
    source_labels: Labels = {}
    gateways: tuple[str, ...] = ()
    source_namespace: str = ""


class TCPRoute(Message):
    """One rule for TCP traffic."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Message):
    """istio.networking.v1alpha3.VirtualService."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()
    export_to: tuple[str, ...] = ()


class VirtualService(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: VirtualServiceSpec = VirtualServiceSpec()
    status: IstioStatus | None = None
