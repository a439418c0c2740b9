"""Gateway API: ReferenceGrant, BackendTLSPolicy.

Source: sigs.k8s.io/gateway-api. Not here: what they allow.
"""

from __future__ import annotations

from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta, field

from mizzen.api.gateway_api.common import (
    Condition,
    Hostname,
    LocalObjectReference,
    Name,
    ParentReference,
    SectionName,
)
from mizzen.api.istio.meta import Labels, Message


class ReferenceGrantFrom(Message):
    """Who may refer."""

    group: str
    kind: str
    namespace: str


class ReferenceGrantTo(Message):
    """To what."""

    group: str
    kind: str
    name: Name | None = None


class ReferenceGrantSpec(Message):
    """References from other namespaces that are allowed."""

    from_: Annotated[tuple[ReferenceGrantFrom, ...], Meta(min_length=1, max_length=16)]
    to: Annotated[tuple[ReferenceGrantTo, ...], Meta(min_length=1, max_length=16)]


class ReferenceGrant(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: ReferenceGrantSpec


class LocalPolicyTargetReference(Message):
    """What a policy is for, perhaps one of its ports."""

    group: str
    kind: str
    name: Name
    section_name: SectionName | None = None


class SubjectAltName(Message):
    """A name that a backend's certificate may have."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: str | None = None


class BackendTLSPolicyValidation(Message):
    """How a backend's certificate is checked."""

    hostname: Hostname
    ca_certificate_refs: Annotated[tuple[LocalObjectReference, ...], Meta(max_length=8)] = ()
    well_known_ca_certificates: str | None = field(default=None, name="wellKnownCACertificates")
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], Meta(max_length=5)] = ()


class BackendTLSPolicySpec(Message):
    """TLS towards backends."""

    target_refs: Annotated[tuple[LocalPolicyTargetReference, ...], Meta(min_length=1, max_length=16)]
    validation: BackendTLSPolicyValidation
    options: Labels = {}


class PolicyAncestorStatus(Message, forbid_unknown_fields=False):
    """How a policy fares at one Gateway."""

    ancestor_ref: ParentReference
    controller_name: str
    conditions: tuple[Condition, ...] = ()


class PolicyStatus(Message, forbid_unknown_fields=False):
    """How a policy fares."""

    ancestors: tuple[PolicyAncestorStatus, ...] = ()


class BackendTLSPolicy(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: BackendTLSPolicySpec
    status: PolicyStatus | None = None
