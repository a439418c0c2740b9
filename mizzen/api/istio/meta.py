"""What all Istio kinds share: the base of messages, number types, selectors, references, status.

Source: istio.io/api type/v1beta1, meta/v1alpha1, analysis/v1alpha1. Not here: Kubernetes' ObjectMeta
(lightkube-models).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta

from mizzen.api.types import Duration

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
UInt64 = Annotated[int, Meta(ge=0)]
NonEmpty = Annotated[str, Meta(min_length=1)]
Labels = Mapping[str, str]
Json = Mapping[str, Any]


def json_name(name: str) -> str:
    """protobuf's JSON name of a field: a letter after an underscore in upper case ("use_5xx" → "use5xx")."""
    head, *parts = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in parts)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class MessageMeta(msgspec.StructMeta):
    """Makes every message keyword-only and immutable without saying so each time."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> MessageMeta:
        config.setdefault("forbid_unknown_fields", True)
        config |= {"kw_only": True, "frozen": True, "rename": json_name, "omit_defaults": True}
        return super().__new__(mcls, name, bases, namespace, **config)


class Message(msgspec.Struct, metaclass=MessageMeta):
    """The base of all messages: immutable, JSON names in lowerCamelCase, an unknown field is an error.

    A field without a default is required by the CRD's schema. None means absent (messages, wrappers, oneofs).
    """


class PortSelector(Message):
    """One port, by number."""

    number: UInt32 = 0


SelectorValue = Annotated[str, Meta(max_length=63)]


class WorkloadSelector(Message):
    """istio.type.v1beta1.WorkloadSelector: workloads by their labels (security, telemetry, extensions)."""

    match_labels: Annotated[Mapping[str, SelectorValue], Meta(max_length=4096)] = {}


GROUP_PATTERN = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KIND_PATTERN = r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"


class PolicyTargetReference(Message):
    """What a policy is attached to: a Gateway, GatewayClass, Service or ServiceEntry."""

    kind: Annotated[str, Meta(min_length=1, max_length=63, pattern=KIND_PATTERN)]
    name: Annotated[str, Meta(min_length=1, max_length=253)]
    group: Annotated[str, Meta(max_length=253, pattern=GROUP_PATTERN)] = ""
    namespace: str = ""


TargetRefs = Annotated[tuple[PolicyTargetReference, ...], Meta(max_length=16)]
WorkloadMode = Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"]


class IstioCondition(Message):
    """One condition of an object's status."""

    type: str = ""
    status: str = ""
    last_probe_time: datetime | None = None
    last_transition_time: datetime | None = None
    reason: str = ""
    message: str = ""
    observed_generation: int | str = 0


class AnalysisMessageType(Message):
    """The name and code ("IST0101") of a kind of analysis message."""

    name: str = ""
    code: str = ""


class AnalysisMessageBase(Message):
    """What an analyzer said of an object."""

    type: AnalysisMessageType | None = None
    level: Literal["UNKNOWN", "ERROR", "WARNING", "INFO"] = "UNKNOWN"
    documentation_url: str = ""


class IstioStatus(Message, forbid_unknown_fields=False):
    """The status of every Istio kind but ServiceEntry. Its schema keeps unknown fields."""

    conditions: tuple[IstioCondition, ...] = ()
    validation_messages: tuple[AnalysisMessageBase, ...] = ()
    observed_generation: int | str = 0


def dec_hook(type_: type, value: Any) -> Any:
    """msgspec's door for the types that it does not know."""
    if type_ is Duration:
        if not isinstance(value, str):
            raise ValueError(f"Expected a duration such as 1.5s, got {value!r}")
        return Duration.parse(value)
    raise NotImplementedError(f"no decoder for {type_}")


def enc_hook(value: Any) -> Any:
    """The other way round."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(f"no encoder for {type(value)}")
