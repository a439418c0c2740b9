"""Gateway API: GatewayClass, Gateway, ListenerSet.

Source: sigs.k8s.io/gateway-api. Not here: routes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from msgspec import Meta

from mizzen.api.gateway_api.common import (
    GROUP,
    Condition,
    Hostname,
    LocalObjectReference,
    Name,
    ObjectReference,
    ParametersReference,
    PortNumber,
    SecretObjectReference,
    SectionName,
)
from mizzen.api.istio.meta import Int32, Labels, Message


class GatewayClassSpec(Message):
    """Which controller serves the class."""

    controller_name: str
    parameters_ref: ParametersReference | None = None
    description: Annotated[str, Meta(max_length=64)] | None = None


class SupportedFeature(Message):
    """A feature that a class supports."""

    name: str


class GatewayClassStatus(Message, forbid_unknown_fields=False):
    """Conditions and features."""

    conditions: tuple[Condition, ...] = ()
    supported_features: tuple[SupportedFeature, ...] = ()


class GatewayClass(Message):
    """The Kubernetes object (cluster-wide)."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: GatewayClassSpec
    status: GatewayClassStatus | None = None


class RouteNamespaces(Message):
    """Whence routes may come."""

    from_: Literal["All", "Selector", "Same", "None"] = "Same"
    selector: LabelSelector | None = None


class RouteGroupKind(Message):
    """A kind of route."""

    kind: str
    group: str = GROUP


class AllowedRoutes(Message):
    """Which routes may attach to a listener."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteGroupKind, ...] = ()


class ListenerTLSConfig(Message):
    """TLS of a listener towards clients."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: tuple[SecretObjectReference, ...] = ()
    options: Labels = {}


class Listener(Message):
    """One port of a Gateway."""

    name: SectionName
    port: PortNumber
    protocol: Annotated[str, Meta(min_length=1, max_length=255)]
    hostname: Hostname | None = None
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpecAddress(Message):
    """An address that is asked for."""

    type: str = "IPAddress"
    value: str = ""


class GatewayInfrastructure(Message):
    """What the resources that are made for a Gateway carry."""

    labels: Labels = {}
    annotations: Labels = {}
    parameters_ref: LocalObjectReference | None = None


class AllowedListeners(Message):
    """Whence ListenerSets may come."""

    namespaces: RouteNamespaces = RouteNamespaces(from_="None")


class GatewayBackendTLS(Message):
    """The client certificate towards backends."""

    client_certificate_ref: SecretObjectReference | None = None


class FrontendTLSValidation(Message):
    """How client certificates are checked."""

    ca_certificate_refs: tuple[ObjectReference, ...] = ()
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class FrontendTLSConfig(Message):
    """TLS towards clients."""

    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Message):
    """TLS towards clients of one port."""

    port: PortNumber
    tls: FrontendTLSConfig


class GatewayFrontendTLS(Message):
    """TLS towards clients, for all ports and for single ones."""

    default: FrontendTLSConfig
    per_port: tuple[TLSPortConfig, ...] = ()


class GatewayTLSConfig(Message):
    """TLS of a Gateway in either direction."""

    backend: GatewayBackendTLS | None = None
    frontend: GatewayFrontendTLS | None = None


class GatewaySpec(Message):
    """A Gateway's class and listeners."""

    gateway_class_name: Name
    listeners: Annotated[tuple[Listener, ...], Meta(max_length=64)] = ()
    addresses: Annotated[tuple[GatewaySpecAddress, ...], Meta(max_length=16)] = ()
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners | None = None
    tls: GatewayTLSConfig | None = None
    default_scope: Literal["All", "None"] | None = None


class GatewayStatusAddress(Message):
    """An address that was given."""

    value: str
    type: str = "IPAddress"


class ListenerStatus(Message, forbid_unknown_fields=False):
    """How one listener fares."""

    name: SectionName
    attached_routes: Int32 = 0
    supported_kinds: tuple[RouteGroupKind, ...] = ()
    conditions: tuple[Condition, ...] = ()


class GatewayStatus(Message, forbid_unknown_fields=False):
    """How a Gateway fares."""

    addresses: tuple[GatewayStatusAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()
    listeners: tuple[ListenerStatus, ...] = ()
    attached_listener_sets: Int32 = 0


class Gateway(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: GatewaySpec
    status: GatewayStatus | None = None


class ParentGatewayReference(Message):
    """The Gateway that a ListenerSet belongs to."""

    name: Name
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None


class ListenerSetSpec(Message):
    """Further listeners of a Gateway."""

    parent_ref: ParentGatewayReference
    listeners: tuple[Listener, ...]


class ListenerSet(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: ListenerSetSpec
    status: GatewayStatus | None = None
