"""MeshConfig and MeshNetworks: settings of the whole mesh (ConfigMap `istio`, or files).

Source: istio.mesh.v1alpha1 MeshConfig, MeshNetworks. The proxies' settings are in proxy_config.py, extension providers
in providers.py. Not here: reading and merging (mizzen.api.mesh_config), the object ProxyConfig (envoy_filter.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from mizzen.api.istio.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    TcpKeepalive,
    ZoneAwareLoadBalancerSetting,
)
from mizzen.api.istio.meta import Int32, Labels, Message, UInt32
from mizzen.api.istio.providers import ExtensionProvider
from mizzen.api.istio.proxy_config import ProxyConfig
from mizzen.api.istio.virtual_service import HTTPRetry
from mizzen.api.types import Duration


class MeshOutboundTrafficPolicy(Message):
    """MeshConfig.OutboundTrafficPolicy: traffic to hosts that are not in the registry."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"] = "REGISTRY_ONLY"
    tls: ClientTLSSettings | None = None


class InboundTrafficPolicy(Message):
    """MeshConfig.InboundTrafficPolicy: where a sidecar sends what comes in."""

    mode: Literal["PASSTHROUGH", "LOCALHOST"] = "PASSTHROUGH"


class DefaultTrafficPolicy(Message):
    """MeshConfig.DefaultTrafficPolicy: what holds where no DestinationRule says otherwise."""

    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None


class PathNormalization(Message):
    """MeshConfig.ProxyPathNormalization."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"


class LabelSelectorRequirement(Message):
    """One expression of a label selector."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Message):
    """A Kubernetes label selector."""

    match_labels: Labels = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class VisibilityMatch(Message):
    """Which namespaces a visibility policy is for."""

    namespace_selector: LabelSelector | None = None


Visibility = Literal["VISIBILITY_UNSPECIFIED", "NONE", "NAMESPACE", "PUBLIC"]


class VisibilityPolicy(Message):
    """A visibility for some namespaces."""

    visibility: Visibility = "VISIBILITY_UNSPECIFIED"
    matching_rules: tuple[VisibilityMatch, ...] = ()


class ServiceEntryVisibility(Message):
    """Who sees ServiceEntries."""

    default_visibility: Visibility = "VISIBILITY_UNSPECIFIED"
    apply_to_sidecars: bool = False
    policies: tuple[VisibilityPolicy, ...] = ()


class ServiceSettingsValue(Message):
    """MeshConfig.ServiceSettings.Settings."""

    cluster_local: bool = False


class ServiceSettings(Message):
    """Settings of the services with these hosts."""

    settings: ServiceSettingsValue | None = None
    hosts: tuple[str, ...] = ()


class ServiceScopeConfigs(Message):
    """Which services are shared between clusters (ambient)."""

    namespace_selector: LabelSelector | None = None
    services_selector: LabelSelector | None = None
    scope: Literal["LOCAL", "GLOBAL"] = "LOCAL"


class CertificateData(Message):
    """Additional roots: PEM or a SPIFFE bundle's URL."""

    pem: str | None = None
    spiffe_bundle_url: str | None = None
    cert_signers: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()


class CA(Message):
    """MeshConfig.CA: an external certificate authority."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    request_timeout: Duration | None = None
    istiod_side: bool = False


class Certificate(Message):
    """A certificate that Kubernetes' CA is asked for (deprecated)."""

    secret_name: str = ""
    dns_names: tuple[str, ...] = ()


class TLSConfig(Message):
    """MeshConfig.TLSConfig."""

    min_protocol_version: Literal["TLS_AUTO", "TLSV1_2", "TLSV1_3"] = "TLS_AUTO"
    ecdh_curves: tuple[str, ...] = ()
    cipher_suites: tuple[str, ...] = ()


class ConfigSource(Message):
    """Where configuration comes from besides Kubernetes."""

    address: str = ""
    tls_settings: ClientTLSSettings | None = None
    subscribed_resources: tuple[Literal["SERVICE_REGISTRY"], ...] = ()


class DefaultProviders(Message):
    """Providers that hold where no Telemetry says otherwise."""

    tracing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    access_logging: tuple[str, ...] = ()


class MeshConfig(Message):
    """istio.mesh.v1alpha1.MeshConfig, with proto's defaults; the mesh's own are in mizzen.api.mesh_config."""

    proxy_listen_port: Int32 = 0
    proxy_inbound_listen_port: Int32 = 0
    proxy_http_port: Int32 = 0
    connect_timeout: Duration | None = None
    hbone_idle_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    protocol_detection_timeout: Duration | None = None
    dns_refresh_rate: Duration | None = None
    ingress_class: str = ""
    ingress_service: str = ""
    ingress_selector: str = ""
    ingress_controller_mode: Literal["UNSPECIFIED", "OFF", "DEFAULT", "STRICT"] = "UNSPECIFIED"
    enable_tracing: bool = False
    access_log_file: str = ""
    access_log_format: str = ""
    access_log_encoding: Literal["TEXT", "JSON"] = "TEXT"
    enable_envoy_access_log_service: bool = False
    disable_envoy_listener_log: bool = False
    default_config: ProxyConfig | None = None
    outbound_traffic_policy: MeshOutboundTrafficPolicy | None = None
    inbound_traffic_policy: InboundTrafficPolicy | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] = "DO_NOT_UPGRADE"
    default_http_retry_policy: HTTPRetry | None = None
    default_inbound_http_retry_policy: HTTPRetry | None = None
    default_traffic_policy: DefaultTrafficPolicy | None = None
    path_normalization: PathNormalization | None = None
    default_service_export_to: tuple[str, ...] = ()
    default_virtual_service_export_to: tuple[str, ...] = ()
    default_destination_rule_export_to: tuple[str, ...] = ()
    root_namespace: str = ""
    discovery_selectors: tuple[LabelSelector, ...] = ()
    service_entry_visibility: ServiceEntryVisibility | None = None
    service_settings: tuple[ServiceSettings, ...] = ()
    service_scope_configs: tuple[ServiceScopeConfigs, ...] = ()
    enable_auto_mtls: bool | None = None
    trust_domain: str = ""
    trust_domain_aliases: tuple[str, ...] = ()
    ca_certificates: tuple[CertificateData, ...] = ()
    ca: CA | None = None
    certificates: tuple[Certificate, ...] = ()
    verify_certificate_at_client: bool | None = None
    mesh_mtls: TLSConfig | None = field(default=None, name="meshMTLS")
    tls_defaults: TLSConfig | None = None
    inbound_cluster_stat_name: str = ""
    outbound_cluster_stat_name: str = ""
    enable_prometheus_merge: bool | None = None
    config_sources: tuple[ConfigSource, ...] = ()
    default_providers: DefaultProviders | None = None
    extension_providers: tuple[ExtensionProvider, ...] = ()


class NetworkEndpoints(Message):
    """Network.NetworkEndpoints: which endpoints are in a network, by address or by registry."""

    from_cidr: str | None = None
    from_registry: str | None = None


class IstioNetworkGateway(Message):
    """Network.IstioNetworkGateway: how a network is reached from the others."""

    registry_service_name: str | None = None
    address: str | None = None
    port: UInt32 = 0
    locality: str = ""


class Network(Message):
    """One network: its endpoints and gateways."""

    endpoints: tuple[NetworkEndpoints, ...] = ()
    gateways: tuple[IstioNetworkGateway, ...] = ()


class MeshNetworks(Message):
    """istio.mesh.v1alpha1.MeshNetworks."""

    networks: Mapping[str, Network] = {}
