"""networking.istio.io EnvoyFilter and ProxyConfig: patches to what Envoy is served, and its start-up settings.

Source: istio.networking.v1alpha3.EnvoyFilter, istio.networking.v1beta1.ProxyConfig. Not here: applying the patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.gateway import WorkloadSelector
from mizzen.api.istio.meta import (
    Int32,
    IstioStatus,
    Json,
    Labels,
    Message,
    TargetRefs,
    UInt32,
)
from mizzen.api.istio.meta import WorkloadSelector as MatchLabels

ApplyTo = Literal[
    "INVALID",
    "LISTENER",
    "FILTER_CHAIN",
    "NETWORK_FILTER",
    "HTTP_FILTER",
    "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST",
    "HTTP_ROUTE",
    "CLUSTER",
    "EXTENSION_CONFIG",
    "BOOTSTRAP",
    "LISTENER_FILTER",
]


class ProxyMatch(Message):
    """Which proxies a patch is for."""

    proxy_version: str = ""
    metadata: Labels = {}


class SubFilterMatch(Message):
    """ListenerMatch.SubFilterMatch: an HTTP filter."""

    name: str = ""


class FilterMatch(Message):
    """ListenerMatch.FilterMatch: a network filter."""

    name: str = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Message):
    """ListenerMatch.FilterChainMatch."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: str = ""
    filter: FilterMatch | None = None
    destination_port: UInt32 = 0


class ListenerMatch(Message):
    """Which listeners a patch is for."""

    port_number: UInt32 = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: str = ""
    name: str = ""


class RouteMatch(Message):
    """RouteConfigurationMatch.RouteMatch."""

    name: str = ""
    action: Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = "ANY"


class VirtualHostMatch(Message):
    """RouteConfigurationMatch.VirtualHostMatch."""

    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Message):
    """Which route configurations a patch is for."""

    port_number: UInt32 = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class ClusterMatch(Message):
    """Which clusters a patch is for."""

    port_number: UInt32 = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class WaypointRouteMatch(Message):
    """WaypointMatch.RouteMatch."""

    name: str = ""


class WaypointMatch(Message):
    """What of a waypoint a patch is for."""

    port_number: UInt32 = 0
    filter: FilterMatch | None = None
    route: WaypointRouteMatch | None = None


class EnvoyConfigObjectMatch(Message):
    """listener, routeConfiguration, cluster and waypoint exclude each other."""

    context: Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"] = "ANY"
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Message):
    """What is done with the matched object."""

    operation: Literal[
        "INVALID",
        "MERGE",
        "ADD",
        "REMOVE",
        "INSERT_BEFORE",
        "INSERT_AFTER",
        "INSERT_FIRST",
        "REPLACE",
        "MERGE_AND_REPLACE_LIST",
    ] = "INVALID"
    value: Json | None = None
    filter_class: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"


class EnvoyConfigObjectPatch(Message):
    """One patch."""

    apply_to: ApplyTo = "INVALID"
    match: EnvoyConfigObjectMatch | None = None
    patch: Patch | None = None


class EnvoyFilterSpec(Message):
    """istio.networking.v1alpha3.EnvoyFilter."""

    workload_selector: WorkloadSelector | None = None
    target_refs: TargetRefs = ()
    config_patches: tuple[EnvoyConfigObjectPatch, ...] = ()
    priority: Int32 = 0


class EnvoyFilter(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: EnvoyFilterSpec = EnvoyFilterSpec()
    status: IstioStatus | None = None


class ProxyImage(Message):
    """Which image a proxy runs."""

    image_type: str = ""


class ProxyConfigSpec(Message):
    """istio.networking.v1beta1.ProxyConfig, the object; not MeshConfig's (mesh.py)."""

    selector: MatchLabels | None = None
    concurrency: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    environment_variables: Mapping[str, Annotated[str, Meta(max_length=2048)]] = {}
    image: ProxyImage | None = None


class ProxyConfig(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: ProxyConfigSpec = ProxyConfigSpec()
    status: IstioStatus | None = None
