"""networking.istio.io Gateway and Sidecar: which ports a proxy listens on and what it may see.

Source: istio.networking.v1alpha3 Gateway, Sidecar. Not here: what makes one valid (mizzen.api.validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.destination_rule import ClientTLSSettings, ConnectionPoolSettings
from mizzen.api.istio.meta import IstioStatus, Labels, Message, UInt32
from mizzen.api.istio.virtual_service import Destination

TLSProtocol = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class Port(Message):
    """A Gateway's port."""

    number: UInt32
    protocol: str
    name: str
    target_port: UInt32 = 0


class TLSCertificate(Message):
    """ServerTLSSettings.TLSCertificate: one pair of files."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTLSSettings(Message):
    """TLS towards clients."""

    https_redirect: bool = False
    mode: Literal["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"] = (
        "PASSTHROUGH"
    )
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    subject_alt_names: tuple[str, ...] = ()
    credential_name: str = ""
    credential_names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: Annotated[tuple[TLSCertificate, ...], Meta(min_length=1, max_length=2)] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TLSProtocol = "TLS_AUTO"
    max_protocol_version: TLSProtocol = "TLS_AUTO"
    cipher_suites: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None


class Server(Message):
    """One port of a gateway with the hosts that it serves."""

    port: Port
    hosts: tuple[str, ...]
    bind: str = ""
    tls: ServerTLSSettings | None = None
    default_endpoint: str = ""
    name: str = ""


class GatewaySpec(Message):
    """istio.networking.v1alpha3.Gateway."""

    servers: tuple[Server, ...] = ()
    selector: Labels = {}


class Gateway(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: GatewaySpec = GatewaySpec()
    status: IstioStatus | None = None


CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(Message):
    """A Sidecar listener's port."""

    number: UInt32 = 0
    protocol: str = ""
    name: str = ""
    target_port: UInt32 = 0


class WorkloadSelector(Message):
    """istio.networking.v1alpha3.WorkloadSelector: workloads by `labels` (Sidecar, ServiceEntry, EnvoyFilter)."""

    labels: Annotated[Mapping[str, Annotated[str, Meta(max_length=63)]], Meta(max_length=256)] = {}


class OutboundTrafficPolicy(Message):
    """What happens to traffic to hosts that are not in the registry."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"] = "REGISTRY_ONLY"
    egress_proxy: Destination | None = None
    tls: ClientTLSSettings | None = None


class IstioIngressListener(Message):
    """A port of the sidecar towards its own workload."""

    port: SidecarPort
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"
    default_endpoint: str = ""
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class IstioEgressListener(Message):
    """A port of the sidecar towards the mesh, and what is visible behind it."""

    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str = ""
    capture_mode: CaptureMode = "DEFAULT"


class SidecarSpec(Message):
    """istio.networking.v1alpha3.Sidecar."""

    workload_selector: WorkloadSelector | None = None
    ingress: tuple[IstioIngressListener, ...] = ()
    egress: tuple[IstioEgressListener, ...] = ()
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None


class Sidecar(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: SidecarSpec = SidecarSpec()
    status: IstioStatus | None = None
