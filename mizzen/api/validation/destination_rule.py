"""What Istio's admission demands of a DestinationRule beyond its schema.

Takes the typed object, reports errors and warnings by path. Not here: TLS towards clients (gateway.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.api import text
from mizzen.api.istio.networking import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHashLB,
    DestinationRule,
    HTTPSettings,
    LoadBalancerSettings,
    LocalityLoadBalancerSetting,
    OutlierDetection,
    PortTrafficPolicy,
    TCPSettings,
    TrafficPolicy,
    TunnelSettings,
    ZoneAwareLoadBalancerSetting,
)
from mizzen.api.types import Duration
from mizzen.api.validation.common import export_to, selector, source_labels
from mizzen.api.validation.report import Report

TOPOLOGY_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
MAGLEV_LIMIT = 5_000_011


def destination_rule(obj: DestinationRule, report: Report) -> None:
    """Checks the whole object."""
    spec, namespace = obj.spec, obj.metadata.namespace or "default"
    report.take("spec.host", text.wildcard_domain(spec.host))
    traffic_policy(spec.traffic_policy, "spec.trafficPolicy", namespace, report)
    names: set[str] = set()
    for at, subset in enumerate(spec.subsets):
        path = f"spec.subsets[{at}]"
        report.need(subset.name not in names, f"{path}.name", f"{subset.name!r} stands twice")
        names.add(subset.name)
        report.need(text.label(subset.name), f"{path}.name", f"{subset.name!r} is not a DNS label")
        source_labels(subset.labels, f"{path}.labels", report)
        traffic_policy(subset.traffic_policy, f"{path}.trafficPolicy", namespace, report)
    chosen = spec.workload_selector is not None
    export_to(spec.export_to, namespace, "spec.exportTo", report, for_chosen=chosen)
    selector(spec.workload_selector, "spec.workloadSelector", report)


def traffic_policy(policy: TrafficPolicy | None, path: str, namespace: str, report: Report) -> None:
    """A policy says something, and no two things that exclude each other."""
    if policy is None:
        return
    common = (policy.load_balancer, policy.connection_pool, policy.outlier_detection, policy.tls)
    own = (policy.tunnel, policy.proxy_protocol, policy.retry_budget)
    if all(message is None for message in (*common, *own)) and not policy.port_level_settings:
        report.error(path, "says nothing: at least one field is needed")
        return
    if policy.tunnel is not None and policy.proxy_protocol is not None:
        report.error(path, "tunnel and proxyProtocol exclude each other")
    policies(policy, path, namespace, report)
    for at, level in enumerate(policy.port_level_settings):
        here = f"{path}.portLevelSettings[{at}]"
        report.need(level.port is not None, f"{here}.port", "is required")
        parts = (level.load_balancer, level.connection_pool, level.outlier_detection, level.tls)
        if report.need(any(part is not None for part in parts), here, "says nothing: at least one field is needed"):
            policies(level, here, namespace, report)
    tunnel(policy.tunnel, f"{path}.tunnel", report)
    if policy.retry_budget is not None and policy.retry_budget.budget_interval is not None:
        report.take(f"{path}.retryBudget.budgetInterval", text.duration(policy.retry_budget.budget_interval))


def policies(policy: TrafficPolicy | PortTrafficPolicy, path: str, namespace: str, report: Report) -> None:
    """What a destination and a port of it have in common."""
    outlier_detection(policy.outlier_detection, f"{path}.outlierDetection", report)
    connection_pool(policy.connection_pool, f"{path}.connectionPool", report)
    load_balancer(policy.load_balancer, policy.outlier_detection, f"{path}.loadBalancer", report)
    client_tls(policy.tls, f"{path}.tls", namespace, report)


def spans(values: Iterable[tuple[str, Duration | None]], path: str, report: Report) -> None:
    """Durations of at least a millisecond."""
    for field, value in values:
        if value is not None:
            report.take(f"{path}.{field}", text.duration(value))


def tunnel(value: TunnelSettings | None, path: str, report: Report) -> None:
    """A method, a host and a port."""
    if value is None:
        return
    report.need(value.protocol in ("", "CONNECT", "POST"), f"{path}.protocol", "is neither CONNECT nor POST")
    wrong = text.fqdn(value.target_host)
    report.need(not wrong or text.is_address(value.target_host), f"{path}.targetHost", wrong)
    report.take(f"{path}.targetPort", text.port(value.target_port))


def outlier_detection(value: OutlierDetection | None, path: str, report: Report) -> None:
    """Shares, durations, and local failures only where they are told apart."""
    if value is None:
        return
    spans((("baseEjectionTime", value.base_ejection_time), ("interval", value.interval)), path, report)
    if value.consecutive_errors:
        report.warn(f"{path}.consecutiveErrors", "is deprecated, use consecutiveGatewayErrors or consecutive5xxErrors")
    if value.consecutive_local_origin_failures and not value.split_external_local_origin_errors:
        here = f"{path}.consecutiveLocalOriginFailures"
        report.error(here, "has no effect unless splitExternalLocalOriginErrors is true")
    report.take(f"{path}.maxEjectionPercent", text.percent(value.max_ejection_percent))
    report.take(f"{path}.minHealthPercent", text.percent(value.min_health_percent))
    for at, code in enumerate(value.outlier_detection_http_error_codes):
        here = f"{path}.outlierDetectionHttpErrorCodes[{at}]"
        report.need(100 <= code <= 599, here, f"{code} is not in 100 to 599")


def connection_pool(value: ConnectionPoolSettings | None, path: str, report: Report) -> None:
    """Limits of TCP, of HTTP, or of both."""
    if value is None:
        return
    report.need(value.http is not None or value.tcp is not None, path, "one of tcp and http is needed")
    if value.http is not None:
        http_pool(value.http, f"{path}.http", report)
    if value.tcp is not None:
        tcp_pool(value.tcp, f"{path}.tcp", report)


def http_pool(value: HTTPSettings, path: str, report: Report) -> None:
    """HTTP limits are not negative; HTTP/2 and what the client spoke exclude each other."""
    for field, number in (
        ("http1MaxPendingRequests", value.http1_max_pending_requests),
        ("http2MaxRequests", value.http2_max_requests),
        ("maxRequestsPerConnection", value.max_requests_per_connection),
        ("maxRetries", value.max_retries),
        ("maxConcurrentStreams", value.max_concurrent_streams),
    ):
        report.need(number >= 0, f"{path}.{field}", "is negative")
    spans((("idleTimeout", value.idle_timeout),), path, report)
    if value.h2_upgrade_policy == "UPGRADE" and value.use_client_protocol:
        report.error(path, "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other")
    keep_alive = value.http2_keep_alive
    if keep_alive is not None:
        for field, span in (("interval", keep_alive.interval), ("timeout", keep_alive.timeout)):
            if report.need(span is not None, f"{path}.http2KeepAlive.{field}", "is required"):
                spans(((field, span),), f"{path}.http2KeepAlive", report)


def tcp_pool(value: TCPSettings, path: str, report: Report) -> None:
    """TCP limits; an idle time-out of 0 switches it off."""
    report.need(value.max_connections >= 0, f"{path}.maxConnections", "is negative")
    spans((("connectTimeout", value.connect_timeout),), path, report)
    spans((("maxConnectionDuration", value.max_connection_duration),), path, report)
    if value.idle_timeout is not None and abs(value.idle_timeout.nanos) >= text.MILLISECOND:
        spans((("idleTimeout", value.idle_timeout),), path, report)
    if value.tcp_keepalive is not None:
        keepalive = (("time", value.tcp_keepalive.time), ("interval", value.tcp_keepalive.interval))
        spans(keepalive, f"{path}.tcpKeepalive", report)


def load_balancer(
    value: LoadBalancerSettings | None, outlier: OutlierDetection | None, path: str, report: Report
) -> None:
    """Consistent hashing, localities, warm-up."""
    if value is None:
        return
    if value.consistent_hash is not None:
        consistent_hash(value.consistent_hash, f"{path}.consistentHash", report)
    locality(value.locality_lb_setting, outlier, f"{path}.localityLbSetting", report)
    zone_aware(value.zone_aware_lb_setting, f"{path}.zoneAwareLbSetting", report)
    if value.locality_lb_setting is not None and value.zone_aware_lb_setting is not None:
        report.error(path, "localityLbSetting and zoneAwareLbSetting exclude each other")
    if value.warmup is not None:
        spans((("duration", value.warmup.duration),), f"{path}.warmup", report)
        if value.warmup.aggression is not None:
            report.need(value.warmup.aggression >= 1, f"{path}.warmup.aggression", "is less than 1")


def consistent_hash(value: ConsistentHashLB, path: str, report: Report) -> None:
    """A cookie has a name; Maglev's table has a prime size."""
    cookie = value.http_cookie
    if cookie is not None:
        report.need(cookie.name != "", f"{path}.httpCookie.name", "is required")
        names: set[str] = set()
        for at, attribute in enumerate(cookie.attributes):
            here = f"{path}.httpCookie.attributes[{at}].name"
            report.need(attribute.name != "", here, "is required")
            report.need(attribute.name not in names, here, f"{attribute.name!r} stands twice")
            names.add(attribute.name)
    if value.minimum_ring_size:
        report.warn(f"{path}.minimumRingSize", "is deprecated, use ringHash")
        if value.ring_hash is not None or value.maglev is not None:
            report.error(path, "minimumRingSize and an algorithm exclude each other")
    if value.maglev is not None:
        size, here = value.maglev.table_size, f"{path}.maglev.tableSize"
        if size == 0 or size >= MAGLEV_LIMIT:
            report.error(here, f"{size} is not in 1 to {MAGLEV_LIMIT - 1}")
        elif not is_prime(size):
            report.error(here, f"{size} is not a prime number")


def is_prime(number: int) -> bool:
    """As Envoy's utility tells: 1 counts as one."""
    if 0 < number < 4:
        return True
    return number % 2 == 1 and all(number % factor for factor in range(3, int(number**0.5) + 1, 2))


def locality(
    value: LocalityLoadBalancerSetting | None, outlier: OutlierDetection | None, path: str, report: Report
) -> None:
    """Shares that make a hundred, regions that differ, localities that do not overlap."""
    if value is None:
        return
    if value.distribute and value.failover:
        report.error(path, "distribute and failover exclude each other")
        return
    if value.failover:
        for at, name in enumerate(value.failover_priority):
            if name in TOPOLOGY_LABELS:
                report.error(f"{path}.failoverPriority[{at}]", f"{name} and failover exclude each other")
                return
    for at, share in enumerate(value.distribute):
        here = f"{path}.distribute[{at}].to"
        for name, weight in share.to.items():
            if not 1 <= weight <= 100:
                report.error(f"{here}[{name}]", f"{weight} is not in 1 to 100")
                return
        if sum(share.to.values()) != 100:
            report.error(here, f"the weights sum up to {sum(share.to.values())}, not to 100")
            return
        report.take(here, overlap(share.to))
    report.take(f"{path}.distribute", overlap([share.from_ for share in value.distribute]))
    if (value.failover or value.failover_priority) and outlier is None:
        report.warn(path, "failover needs outlierDetection beside it")
    failovers(value, path, report)


def failovers(value: LocalityLoadBalancerSetting | ZoneAwareLoadBalancerSetting, path: str, report: Report) -> None:
    """From one region to another."""
    for at, failover in enumerate(value.failover):
        here = f"{path}.failover[{at}]"
        report.need(failover.from_ != failover.to, here, "the two regions are the same")
        for field, region in (("from", failover.from_), ("to", failover.to)):
            report.need("/" not in region, f"{here}.{field}", "only a region can be named")
            report.need("*" not in region, f"{here}.{field}", "a region has no wildcard")


def zone_aware(value: ZoneAwareLoadBalancerSetting | None, path: str, report: Report) -> None:
    """Regions that differ, priorities by other labels than the topology's."""
    if value is None:
        return
    failovers(value, path, report)
    for at, name in enumerate(value.failover_priority):
        here = f"{path}.failoverPriority[{at}]"
        report.need(name.partition("=")[0] not in TOPOLOGY_LABELS, here, f"{name} cannot be used here")
    if value.min_cluster_size is not None:
        report.need(value.min_cluster_size >= 1, f"{path}.minClusterSize", "is less than 1")


def overlap(localities: Iterable[str]) -> str:
    """Whether localities (region/zone/subzone, a * at an end) are well formed and apart: "" or what is wrong."""
    seen: list[list[str]] = []
    for name in localities:
        if name.count("*") > 1 or ("*" in name and not name.endswith("*")):
            return f"{name!r}: one * at the end is allowed"
        parts = name.split("/", 2)
        if any(part == "" for part in parts):
            return f"{name!r} has an empty part"
        for other in seen:
            whole = other[:-1] if other[-1] == "*" else other  # "r/*" is as much as "r"
            if parts[: len(whole)] == whole or (len(parts) <= 2 and other[: len(parts)] == parts):
                return f"{name!r} overlaps with {'/'.join(other)!r}"
        seen.append(parts)
    return ""


def client_tls(value: ClientTLSSettings | None, path: str, namespace: str, report: Report) -> None:
    """Where certificates come from, in each mode."""
    if value is None:
        return
    if value.credential_name.startswith("configmap://"):
        report.take(f"{path}.credentialName", config_map(value.credential_name, namespace))
    by_name = value.credential_name != ""
    if value.insecure_skip_verify and value.mode in ("SIMPLE", "MUTUAL"):
        named = by_name and value.mode == "SIMPLE"
        if value.ca_certificates or value.subject_alt_names or named:
            report.error(path, "insecureSkipVerify excludes a CA and subjectAltNames")
    if by_name and value.mode in ("SIMPLE", "MUTUAL"):
        if value.client_certificate or value.private_key or value.ca_certificates or value.ca_crl:
            report.error(path, "credentialName and certificate files exclude each other")
    elif value.mode == "MUTUAL":
        report.need(value.client_certificate != "", f"{path}.clientCertificate", "is required in mode MUTUAL")
        report.need(value.private_key != "", f"{path}.privateKey", "is required in mode MUTUAL")


def config_map(name: str, namespace: str) -> str:
    """configmap://namespace/name, of the object's own namespace."""
    parts = name.removeprefix("configmap://").split("/")
    if len(parts) < 2 or not all(parts[:2]):
        return f"{name!r} is not of the form configmap://<namespace>/<name>"
    if parts[0] != namespace:
        return f"a ConfigMap of another namespace than {namespace} cannot be used"
    return ""
