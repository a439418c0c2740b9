"""The status of GatewayClasses: accepted when they name our controller, with the features that are built.

Source: gateway.networking.k8s.io GatewayClass; feature names: the Gateway API's conformance suite.
"""

from __future__ import annotations

from typing import Any

from mizzen.istiod.gateway_api.gateways import CONTROLLER, UNMANAGED_CONTROLLER
from mizzen.istiod.gateway_api.statuses.conditions import condition, generation_of

FEATURES = tuple(
    sorted(
        (
            "BackendTLSPolicy",
            "BackendTLSPolicySANValidation",
            "GRPCRoute",
            "Gateway",
            "GatewayAddressEmpty",
            "GatewayFrontendClientCertificateValidation",
            "GatewayHTTPListenerIsolation",
            "GatewayInfrastructurePropagation",
            "GatewayPort8080",
            "HTTPRoute",
            "HTTPRouteBackendProtocolH2C",
            "HTTPRouteBackendProtocolWebSocket",
            "HTTPRouteBackendRequestHeaderModification",
            "HTTPRouteBackendTimeout",
            "HTTPRouteCORS",
            "HTTPRouteDestinationPortMatching",
            "HTTPRouteHostRewrite",
            "HTTPRouteMethodMatching",
            "HTTPRouteParentRefPort",
            "HTTPRoutePathRedirect",
            "HTTPRoutePathRewrite",
            "HTTPRoutePortRedirect",
            "HTTPRouteQueryParamMatching",
            "HTTPRouteRequestMirror",
            "HTTPRouteRequestMultipleMirrors",
            "HTTPRouteRequestPercentageMirror",
            "HTTPRouteRequestTimeout",
            "HTTPRouteResponseHeaderModification",
            "HTTPRouteSchemeRedirect",
            "Mesh",
            "MeshClusterIPMatching",
            "MeshConsumerRoute",
            "ReferenceGrant",
            "TCPRoute",
            "TLSRoute",
        )
    )
)


def class_status(obj: Any) -> dict[str, Any] | None:
    """The status of a class; None when it is another controller's."""
    if obj.spec.controller_name not in (CONTROLLER, UNMANAGED_CONTROLLER):
        return None
    accepted = condition("Accepted", True, "Accepted", "Handled by Istio controller", generation_of(obj))
    return {"conditions": [accepted], "supportedFeatures": [{"name": name} for name in FEATURES]}
