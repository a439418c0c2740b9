"""Gateway API: names, references and conditions that its kinds share.

Source: sigs.k8s.io/gateway-api. Not here: the kinds.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from mizzen.api.istio.meta import Int64, Message

GROUP = "gateway.networking.k8s.io"
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
Name = Annotated[str, Meta(min_length=1, max_length=253)]
SectionName = Annotated[str, Meta(min_length=1, max_length=253)]
Hostname = Annotated[str, Meta(min_length=1, max_length=253)]
HeaderName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")]


class Condition(Message):
    """metav1.Condition."""

    type: str
    status: Literal["True", "False", "Unknown"]
    last_transition_time: datetime
    reason: str
    message: str
    observed_generation: Int64 = 0


class ObjectReference(Message):
    """A reference by group, kind and name, perhaps in another namespace."""

    group: str
    kind: str
    name: Name
    namespace: str | None = None


class LocalObjectReference(Message):
    """A reference within the object's own namespace."""

    group: str
    kind: str
    name: Name


class SecretObjectReference(Message):
    """A reference to a certificate: a Secret unless said otherwise."""

    name: Name
    group: str = ""
    kind: str = "Secret"
    namespace: str | None = None


class ParentReference(Message):
    """What a route is attached to."""

    name: Name
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: SectionName | None = None
    port: PortNumber | None = None


class BackendObjectReference(Message):
    """A backend: a Service unless said otherwise."""

    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: PortNumber | None = None


class BackendRef(Message):
    """A weighted backend."""

    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class ParametersReference(Message):
    """A GatewayClass's parameters."""

    group: str
    kind: str
    name: Name
    namespace: str | None = None
