"""The checks of Istio's admission, by kind.

Not here: the checks themselves, one file for each family of kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.api.validation.destination_rule import destination_rule
from mizzen.api.validation.envoy_filter import envoy_filter
from mizzen.api.validation.gateway import gateway, sidecar
from mizzen.api.validation.reachability import unreachable
from mizzen.api.validation.report import Report
from mizzen.api.validation.security import authorization_policy, peer_authentication, request_authentication
from mizzen.api.validation.service_entry import proxy_config, service_entry, workload_entry, workload_group
from mizzen.api.validation.telemetry import telemetry, traffic_extension, wasm_plugin
from mizzen.api.validation.virtual_service import virtual_service


def _virtual_service(obj: Any, report: Report) -> None:
    virtual_service(obj, report)
    unreachable(obj.spec, report)


NETWORKING, SECURITY = "networking.istio.io", "security.istio.io"
CHECKS: dict[tuple[str, str], Callable[[Any, Report], None]] = {
    (NETWORKING, "VirtualService"): _virtual_service,
    (NETWORKING, "DestinationRule"): destination_rule,
    (NETWORKING, "Gateway"): gateway,
    (NETWORKING, "ServiceEntry"): service_entry,
    (NETWORKING, "Sidecar"): sidecar,
    (NETWORKING, "WorkloadEntry"): workload_entry,
    (NETWORKING, "WorkloadGroup"): workload_group,
    (NETWORKING, "EnvoyFilter"): envoy_filter,
    (NETWORKING, "ProxyConfig"): proxy_config,
    (SECURITY, "AuthorizationPolicy"): authorization_policy,
    (SECURITY, "PeerAuthentication"): peer_authentication,
    (SECURITY, "RequestAuthentication"): request_authentication,
    ("telemetry.istio.io", "Telemetry"): telemetry,
    ("extensions.istio.io", "WasmPlugin"): wasm_plugin,
    ("extensions.istio.io", "TrafficExtension"): traffic_extension,
}
