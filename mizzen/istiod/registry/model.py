"""Services and their endpoints, whatever they were declared as: one model for Kubernetes Services and ServiceEntries.

Not here: how they are read (kubernetes.py, entries.py), who may see them (snapshot/scope.py).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from mizzen.istiod.registry.protocol import Protocol

UNSPECIFIED = "0.0.0.0"
PERSISTENT_SESSION = "istio.io/persistent-session"
"""The address of a service without a virtual IP."""


class Resolution(StrEnum):
    """How a client finds the endpoints of a service."""

    CLIENT_SIDE_LB = "ClientSideLB"
    DNS_LB = "DNSLB"
    DNS_ROUND_ROBIN_LB = "DNSRoundRobinLB"
    PASSTHROUGH = "Passthrough"
    DYNAMIC_DNS = "DynamicDNS"
    ALIAS = "Alias"

    @property
    def is_dns(self) -> bool:
        return self in (Resolution.DNS_LB, Resolution.DNS_ROUND_ROBIN_LB)


class Health(IntEnum):
    """State of an endpoint, numbered as envoy.config.core.v3.HealthStatus."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2
    DRAINING = 3
    TERMINATING = 4


class ServicePort(msgspec.Struct, frozen=True):
    """One port of a service. target_port: the number given for it, 0 when by name or not given."""

    name: str
    number: int
    protocol: Protocol
    target_port: int = 0
    target_name: str = ""


class Service(msgspec.Struct, frozen=True):
    """A named set of endpoints.

    host: the fully qualified name; name: of a Kubernetes Service, the host of a ServiceEntry's; namespace, object_name: of
    the object behind it; registry: Kubernetes or External;
    addresses: virtual IPs or CIDRs, never empty (UNSPECIFIED when there is none); auto_addresses: VIPs allocated for
    a ServiceEntry, for proxies that capture DNS; export_to: empty = the mesh default; created: seconds since 1970;
    service_accounts: SPIFFE URIs or SANs given by the object itself.
    """

    host: str
    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    registry: str = "Kubernetes"
    addresses: tuple[str, ...] = (UNSPECIFIED,)
    auto_addresses: tuple[str, ...] = ()
    resolution: Resolution = Resolution.CLIENT_SIDE_LB
    mesh_external: bool = False
    export_to: frozenset[str] = frozenset()
    created: float = 0.0
    service_accounts: tuple[str, ...] = ()
    selector: dict[str, str] = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    publish_not_ready: bool = False
    node_local: bool = False
    traffic_distribution: str = ""
    external_name: str = ""
    aliases: tuple[str, ...] = ()
    kind: str = "Service"
    object_name: str = ""

    @property
    def address(self) -> str:
        """The first virtual IP, UNSPECIFIED when there is none."""
        return self.addresses[0]

    @property
    def is_kubernetes(self) -> bool:
        return self.registry == "Kubernetes"

    @property
    def is_headless(self) -> bool:
        return self.is_kubernetes and self.resolution is Resolution.PASSTHROUGH

    @property
    def key(self) -> tuple[str, str]:
        """(host, namespace): what endpoints are kept under."""
        return self.host, self.namespace

    def port(self, number: int) -> ServicePort | None:
        return next((p for p in self.ports if p.number == number), None)

    def port_named(self, name: str) -> ServicePort | None:
        return next((p for p in self.ports if p.name == name), None)


class Endpoint(msgspec.Struct, frozen=True):
    """One address of a service port.

    address: IP, host name, or a socket path (then port is 0); addresses: further IPs of a dual-stack endpoint;
    locality: `region/zone/subzone`; labels: the workload's, with its place added; service_account: SPIFFE URI or "";
    tls_mode: "istio" when it accepts mutual TLS, else "disabled".
    """

    address: str
    port: int
    port_name: str
    labels: dict[str, str] = {}
    service_account: str = ""
    network: str = ""
    locality: str = ""
    weight: int = 0
    tls_mode: str = "disabled"
    health: Health = Health.HEALTHY
    workload: str = ""
    namespace: str = ""
    host_name: str = ""
    sub_domain: str = ""
    node_name: str = ""
    cluster_id: str = ""
    addresses: tuple[str, ...] = ()


class ServiceTarget(msgspec.Struct, frozen=True):
    """A service port that a workload implements. target_port: the port that the workload listens on."""

    service: Service
    port: ServicePort
    target_port: int
