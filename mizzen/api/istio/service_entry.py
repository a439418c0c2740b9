"""networking.istio.io ServiceEntry, WorkloadEntry, WorkloadGroup: services and workloads that Kubernetes does not know.

Source: istio.networking.v1alpha3 of these names. Not here: what makes one valid (mizzen.api.validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.gateway import WorkloadSelector
from mizzen.api.istio.meta import AnalysisMessageBase, IstioCondition, IstioStatus, Labels, Message, UInt32

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class WorkloadEntrySpec(Message):
    """istio.networking.v1alpha3.WorkloadEntry: one workload (VM, pod, external endpoint)."""

    address: Annotated[str, Meta(max_length=256)] = ""
    ports: Annotated[Mapping[str, UInt32], Meta(max_length=128)] = {}
    labels: Annotated[Labels, Meta(max_length=256)] = {}
    network: Annotated[str, Meta(max_length=2048)] = ""
    locality: Annotated[str, Meta(max_length=2048)] = ""
    weight: UInt32 = 0
    service_account: Annotated[str, Meta(max_length=253)] = ""


class WorkloadEntry(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: WorkloadEntrySpec
    status: IstioStatus | None = None


class ServicePort(Message):
    """A ServiceEntry's port."""

    number: UInt32
    name: Annotated[str, Meta(max_length=256)]
    protocol: Annotated[str, Meta(max_length=256)] = ""
    target_port: UInt32 = 0


class ServiceEntrySpec(Message):
    """istio.networking.v1alpha3.ServiceEntry."""

    hosts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=256)] = ()
    ports: Annotated[tuple[ServicePort, ...], Meta(max_length=256)] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = "NONE"
    endpoints: Annotated[tuple[WorkloadEntrySpec, ...], Meta(max_length=4096)] = ()
    workload_selector: WorkloadSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


class ServiceEntryAddress(Message):
    """A virtual address that was given to a host."""

    value: str = ""
    host: str = ""


class ServiceEntryStatus(Message, forbid_unknown_fields=False):
    """Conditions and auto-allocated addresses."""

    conditions: tuple[IstioCondition, ...] = ()
    validation_messages: tuple[AnalysisMessageBase, ...] = ()
    observed_generation: int | str = 0
    addresses: tuple[ServiceEntryAddress, ...] = ()


class ServiceEntry(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: ServiceEntrySpec
    status: ServiceEntryStatus | None = None


class HTTPHeader(Message):
    """A header of a probe."""

    name: Annotated[str, Meta(pattern=r"^[-_A-Za-z0-9]+$")] = ""
    value: str = ""


class HTTPHealthCheckConfig(Message):
    """A probe by HTTP GET."""

    port: UInt32
    path: str = ""
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPHealthCheckConfig(Message):
    """A probe by connecting."""

    port: UInt32
    host: str = ""


class ExecHealthCheckConfig(Message):
    """A probe by a command's exit status."""

    command: tuple[Annotated[str, Meta(min_length=1)], ...]


class GrpcHealthCheckConfig(Message):
    """A probe by the gRPC health service."""

    port: UInt32 = 0
    service: str = ""


class ReadinessProbe(Message):
    """How to tell that a workload is ready; one of httpGet, tcpSocket, exec, grpc."""

    initial_delay_seconds: Count = 0
    timeout_seconds: Count = 0
    period_seconds: Count = 0
    success_threshold: Count = 0
    failure_threshold: Count = 0
    http_get: HTTPHealthCheckConfig | None = None
    tcp_socket: TCPHealthCheckConfig | None = None
    exec: ExecHealthCheckConfig | None = None
    grpc: GrpcHealthCheckConfig | None = None


class WorkloadGroupMetadata(Message):
    """WorkloadGroup.ObjectMeta: labels and annotations that its WorkloadEntries get."""

    labels: Annotated[Labels, Meta(max_length=256)] = {}
    annotations: Annotated[Labels, Meta(max_length=256)] = {}


class WorkloadGroupSpec(Message):
    """istio.networking.v1alpha3.WorkloadGroup."""

    template: WorkloadEntrySpec
    metadata: WorkloadGroupMetadata | None = None
    probe: ReadinessProbe | None = None


class WorkloadGroup(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: WorkloadGroupSpec
    status: IstioStatus | None = None
