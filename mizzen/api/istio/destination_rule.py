"""networking.istio.io DestinationRule: what applies to traffic once its destination is chosen.

Source: istio.networking.v1alpha3.DestinationRule. Not here: what makes one valid (mizzen.api.validation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Meta

from mizzen.api.istio.meta import (
    Int32,
    IstioStatus,
    Labels,
    Message,
    PortSelector,
    UInt32,
    UInt64,
    WorkloadSelector,
)
from mizzen.api.types import Duration

SimpleLB = Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]


class TcpKeepalive(Message):
    """ConnectionPoolSettings.TCPSettings.TcpKeepalive."""

    probes: UInt32 = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Message):
    """ConnectionPoolSettings.TCPSettings."""

    max_connections: Int32 = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class HTTP2KeepAlive(Message):
    """ConnectionPoolSettings.HTTPSettings.HTTP2KeepAlive: pings on idle connections."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HTTPSettings(Message):
    """ConnectionPoolSettings.HTTPSettings."""

    http1_max_pending_requests: Int32 = 0
    http2_max_requests: Int32 = 0
    max_requests_per_connection: Int32 = 0
    max_retries: Int32 = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = "DEFAULT"
    use_client_protocol: bool = False
    max_concurrent_streams: Int32 = 0
    http2_keep_alive: HTTP2KeepAlive | None = None


class ConnectionPoolSettings(Message):
    """Limits on connections and requests."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Message):
    """When a host is ejected, and for how long."""

    consecutive_errors: Int32 = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: UInt32 | None = None
    consecutive_gateway_errors: UInt32 | None = None
    consecutive_5xx_errors: UInt32 | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int32 = 0
    min_health_percent: Int32 = 0
    outlier_detection_http_error_codes: tuple[UInt32, ...] = ()


class ClientTLSSettings(Message):
    """TLS towards an upstream."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class Distribute(Message):
    """LocalityLoadBalancerSetting.Distribute: shares of traffic by locality."""

    from_: str = ""
    to: Mapping[str, UInt32] = {}


class Failover(Message):
    """LocalityLoadBalancerSetting.Failover: the region to turn to."""

    from_: str = ""
    to: str = ""


class LocalityLoadBalancerSetting(Message):
    """Which localities get traffic from where."""

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class ZoneAwareLoadBalancerSetting(Message):
    """Zone-aware routing."""

    enabled: bool | None = None
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: UInt64 | None = None


class HTTPCookieAttribute(Message):
    """One attribute of a cookie that the proxy makes."""

    name: str
    value: str = ""


class HTTPCookie(Message):
    """ConsistentHashLB.HTTPCookie."""

    name: str
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[HTTPCookieAttribute, ...] = ()


class RingHash(Message):
    """ConsistentHashLB.RingHash."""

    minimum_ring_size: UInt64 = 0


class MagLev(Message):
    """ConsistentHashLB.MagLev."""

    table_size: UInt64 = 0


class ConsistentHashLB(Message):
    """LoadBalancerSettings.ConsistentHashLB: one key, at most one algorithm."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: MagLev | None = None
    minimum_ring_size: UInt64 = 0


class WarmupConfiguration(Message):
    """How a new host's share grows."""

    duration: Duration
    minimum_percent: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    aggression: float | None = None


class LoadBalancerSettings(Message):
    """simple and consistentHash exclude each other."""

    simple: SimpleLB | None = None
    consistent_hash: ConsistentHashLB | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    zone_aware_lb_setting: ZoneAwareLoadBalancerSetting | None = None
    warmup_duration_secs: Duration | None = None
    warmup: WarmupConfiguration | None = None


class PortTrafficPolicy(Message):
    """TrafficPolicy.PortTrafficPolicy: replaces the destination's policy for one port."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TunnelSettings(Message):
    """TrafficPolicy.TunnelSettings."""

    target_host: str
    target_port: UInt32
    protocol: str = ""


class ProxyProtocol(Message):
    """TrafficPolicy.ProxyProtocol: the header to send upstream."""

    version: Literal["V1", "V2"] = "V1"


class RetryBudget(Message):
    """TrafficPolicy.RetryBudget."""

    percent: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    min_retry_concurrency: UInt32 = 0
    budget_interval: Duration | None = None


class TrafficPolicy(Message):
    """Policies for a destination's traffic."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], Meta(max_length=4096)] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Message):
    """Some of a service's endpoints, by label."""

    name: str
    labels: Labels = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Message):
    """istio.networking.v1alpha3.DestinationRule."""

    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: WorkloadSelector | None = None


class DestinationRule(Message):
    """The Kubernetes object."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: DestinationRuleSpec
    status: IstioStatus | None = None
