"""Gateway API: GRPCRoute, TCPRoute, TLSRoute.

Source: sigs.k8s.io/gateway-api. Not here: HTTPRoute (http_route.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.gateway_api.common import (
    BackendRef,
    Hostname,
    LocalObjectReference,
    Name,
    ParentReference,
    PortNumber,
    SectionName,
)
from mizzen.api.gateway_api.http_route import (
    HTTPHeaderFilter,
    HTTPHeaderMatch,
    HTTPRequestMirrorFilter,
    RouteStatus,
    SessionPersistence,
)
from mizzen.api.istio.meta import Message


class GRPCMethodMatch(Message):
    """A service and method."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    service: Annotated[str, Meta(max_length=1024)] | None = None
    method: Annotated[str, Meta(max_length=1024)] | None = None


class GRPCRouteMatch(Message):
    """Conditions that all have to hold."""

    method: GRPCMethodMatch | None = None
    headers: Annotated[tuple[HTTPHeaderMatch, ...], Meta(max_length=16)] = ()


class GRPCRouteFilter(Message):
    """One filter; the member that type names."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    extension_ref: LocalObjectReference | None = None


class GRPCBackendRef(Message):
    """A weighted backend with filters of its own."""

    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    filters: Annotated[tuple[GRPCRouteFilter, ...], Meta(max_length=16)] = ()


class GRPCRouteRule(Message):
    """Matches, filters and backends."""

    name: SectionName | None = None
    matches: Annotated[tuple[GRPCRouteMatch, ...], Meta(max_length=64)] = ()
    filters: Annotated[tuple[GRPCRouteFilter, ...], Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[GRPCBackendRef, ...], Meta(max_length=16)] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRouteSpec(Message):
    """Parents, hosts and rules."""

    parent_refs: Annotated[tuple[ParentReference, ...], Meta(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], Meta(max_length=16)] = ()
    rules: Annotated[tuple[GRPCRouteRule, ...], Meta(max_length=16)] = ()
    use_default_gateways: Literal["All", "None"] | None = None


class GRPCRoute(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: GRPCRouteSpec = GRPCRouteSpec()
    status: RouteStatus | None = None


class L4RouteRule(Message):
    """Backends of a TCPRoute or TLSRoute."""

    name: SectionName | None = None
    backend_refs: Annotated[tuple[BackendRef, ...], Meta(max_length=16)] = ()


class TCPRouteSpec(Message):
    """Parents and rules."""

    rules: Annotated[tuple[L4RouteRule, ...], Meta(min_length=1, max_length=16)]
    parent_refs: Annotated[tuple[ParentReference, ...], Meta(max_length=32)] = ()
    use_default_gateways: Literal["All", "None"] | None = None


class TCPRoute(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: TCPRouteSpec
    status: RouteStatus | None = None


class TLSRouteSpec(Message):
    """Parents, SNI hosts and rules."""

    rules: Annotated[tuple[L4RouteRule, ...], Meta(min_length=1, max_length=16)]
    hostnames: Annotated[tuple[Hostname, ...], Meta(max_length=16)] = ()
    parent_refs: Annotated[tuple[ParentReference, ...], Meta(max_length=32)] = ()
    use_default_gateways: Literal["All", "None"] | None = None


class TLSRoute(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: TLSRouteSpec
    status: RouteStatus | None = None
