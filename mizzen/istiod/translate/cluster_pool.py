"""Connection pools and outlier detection of clusters.

Takes ConnectionPoolSettings, OutlierDetection and RetryBudget, writes into a Draft. Source: DestinationRule.trafficPolicy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envoy.config.cluster.v3 import circuit_breaker_pb2, outlier_detection_pb2
from envoy.config.common.matcher.v3 import matcher_pb2
from envoy.config.core.v3 import protocol_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2
from envoy.type.v3 import percent_pb2

from mizzen.api.istio.mesh import MeshConfig
from mizzen.api.istio.networking import (
    ConnectionPoolSettings,
    HTTPSettings,
    OutlierDetection,
    RetryBudget,
    TcpKeepalive,
    TCPSettings,
)
from mizzen.api.types import Duration
from mizzen.istiod.registry.protocol import Protocol
from mizzen.istiod.translate.cluster_draft import UNLIMITED, Draft
from mizzen.istiod.translate.messages import duration, uint32
from mizzen.wire.newer import set_field

Thresholds = circuit_breaker_pb2.CircuitBreakers.Thresholds
DEFAULT_RETRY_PERCENT, DEFAULT_RETRY_CONCURRENCY = 20.0, 3


def apply_pool(draft: Draft, pool: ConnectionPoolSettings | None, budget: RetryBudget | None = None) -> None:
    """Limits, time-outs and keep-alive; the mesh's where the pool says nothing."""
    http = pool.http if pool is not None and pool.http is not None else HTTPSettings()
    tcp = pool.tcp if pool is not None and pool.tcp is not None else TCPSettings()
    thresholds = Thresholds(
        max_connections=uint32(tcp.max_connections or UNLIMITED),
        max_pending_requests=uint32(http.http1_max_pending_requests or UNLIMITED),
        max_requests=uint32(http.http2_max_requests or UNLIMITED),
        max_retries=uint32(http.max_retries or UNLIMITED),
    )
    if budget is not None:
        percent = budget.percent if budget.percent is not None else DEFAULT_RETRY_PERCENT
        thresholds.retry_budget.budget_percent.value = percent
        concurrency = budget.min_retry_concurrency or DEFAULT_RETRY_CONCURRENCY
        thresholds.retry_budget.min_retry_concurrency.value = concurrency
        if budget.budget_interval is not None:
            set_field(thresholds.retry_budget, "budget_interval", duration(budget.budget_interval))
    draft.cluster.circuit_breakers.thresholds.append(thresholds)
    if tcp.connect_timeout is not None:
        draft.cluster.connect_timeout.CopyFrom(duration(tcp.connect_timeout))
    for keepalive in (draft.mesh.tcp_keepalive, tcp.tcp_keepalive):
        if keepalive is not None:
            _keepalive(draft, keepalive)
    _http_limits(draft, http, tcp)
    if http.use_client_protocol:
        draft.speak_as_client()


def _keepalive(draft: Draft, keepalive: TcpKeepalive) -> None:
    target = draft.cluster.upstream_connection_options.tcp_keepalive
    target.SetInParent()
    if keepalive.probes:
        target.keepalive_probes.value = keepalive.probes
    if keepalive.time is not None:
        target.keepalive_time.value = int(keepalive.time.seconds)
    if keepalive.interval is not None:
        target.keepalive_interval.value = int(keepalive.interval.seconds)


def _http_limits(draft: Draft, http: HTTPSettings, tcp: TCPSettings) -> None:
    idle: Duration | None = http.idle_timeout if http.idle_timeout is not None else tcp.idle_timeout
    common = protocol_pb2.HttpProtocolOptions(
        idle_timeout=duration(idle),
        max_requests_per_connection=uint32(http.max_requests_per_connection or None),
        max_connection_duration=duration(tcp.max_connection_duration),
    )
    keepalive = http.http2_keep_alive
    if common.ByteSize() or idle is not None or http.max_concurrent_streams or keepalive is not None:
        draft.used_http = True
        draft.http.common_http_protocol_options.CopyFrom(common)
    if not draft.is_http2:
        return
    http2 = draft.http.explicit_http_config.http2_protocol_options
    if http.max_concurrent_streams:
        http2.max_concurrent_streams.value = http.max_concurrent_streams
    if keepalive is not None:
        for name, value in (("interval", keepalive.interval), ("timeout", keepalive.timeout)):
            if value is not None:
                getattr(http2.connection_keepalive, name).CopyFrom(duration(value))


def upgrades_to_http2(mesh: MeshConfig, pool: ConnectionPoolSettings | None, protocol: Protocol) -> bool:
    """Whether connections to the cluster are made HTTP/2 although its port does not say so."""
    http = pool.http if pool is not None else None
    if http is not None:
        if http.use_client_protocol or http.h2_upgrade_policy == "DO_NOT_UPGRADE":
            return False
        if http.h2_upgrade_policy == "UPGRADE":
            return True
    return mesh.h2_upgrade_policy == "UPGRADE" and protocol.is_http


def apply_outlier_detection(draft: Draft, outlier: OutlierDetection | None, keep_panic_zero: bool) -> None:
    """Ejection of hosts. keep_panic_zero: unready endpoints are sent, so there must be no panic mode."""
    threshold = percent_pb2.Percent()
    draft.cluster.common_lb_config.healthy_panic_threshold.CopyFrom(threshold)
    if outlier is None:
        return
    out = outlier_detection_pb2.OutlierDetection(enforcing_success_rate=uint32(0))
    if outlier.consecutive_5xx_errors is not None:
        out.consecutive_5xx.value = outlier.consecutive_5xx_errors
        out.enforcing_consecutive_5xx.value = 100 if outlier.consecutive_5xx_errors > 0 else 0
    if outlier.consecutive_gateway_errors is not None:
        out.consecutive_gateway_failure.value = outlier.consecutive_gateway_errors
        out.enforcing_consecutive_gateway_failure.value = 100 if outlier.consecutive_gateway_errors > 0 else 0
    if outlier.interval is not None:
        out.interval.CopyFrom(duration(outlier.interval))
    if outlier.base_ejection_time is not None:
        out.base_ejection_time.CopyFrom(duration(outlier.base_ejection_time))
    if outlier.max_ejection_percent > 0:
        out.max_ejection_percent.value = outlier.max_ejection_percent
    if outlier.split_external_local_origin_errors:
        out.split_external_local_origin_errors = True
        if outlier.consecutive_local_origin_failures:
            out.consecutive_local_origin_failure.value = outlier.consecutive_local_origin_failures
            out.enforcing_consecutive_local_origin_failure.value = 100
        out.enforcing_local_origin_success_rate.value = 0
    draft.cluster.outlier_detection.CopyFrom(out)
    if outlier.outlier_detection_http_error_codes:
        draft.http.outlier_detection.error_matcher.CopyFrom(_error_codes(outlier.outlier_detection_http_error_codes))
        draft.used_http = True
    if outlier.min_health_percent > 0 and not keep_panic_zero:
        draft.cluster.common_lb_config.healthy_panic_threshold.value = outlier.min_health_percent


def _error_codes(codes: Sequence[int]) -> Any:
    """The answers that count as errors, by status."""
    rules = []
    for code in codes:
        text = string_pb2.StringMatcher(exact=str(code))
        header = route_components_pb2.HeaderMatcher(name=":status", string_match=text)
        headers = matcher_pb2.HttpHeadersMatch(headers=[header])
        rules.append(matcher_pb2.MatchPredicate(http_response_headers_match=headers))
    if len(rules) == 1:
        return rules[0]
    return matcher_pb2.MatchPredicate(or_match=matcher_pb2.MatchPredicate.MatchSet(rules=rules))
