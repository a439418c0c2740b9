"""The Gateway API translated into Istio's own Gateways, VirtualServices and DestinationRules, which the rest of istiod knows.

Takes the table of objects, gives Istio structs with fully qualified names. Not here: status conditions of these objects,
deploying proxies for Gateways.
"""

from __future__ import annotations

import msgspec

from mizzen.api.istio.destination_rule import DestinationRule
from mizzen.api.istio.gateway import Gateway
from mizzen.api.istio.virtual_service import VirtualService
from mizzen.istiod.gateway_api.backend_policies import destination_rules
from mizzen.istiod.gateway_api.gateways import listeners
from mizzen.istiod.gateway_api.references import References
from mizzen.istiod.gateway_api.virtual_services import virtual_services
from mizzen.istiod.objects import Objects

KINDS = frozenset(
    {
        "K8sGateway",
        "GatewayClass",
        "HTTPRoute",
        "GRPCRoute",
        "TLSRoute",
        "TCPRoute",
        "ReferenceGrant",
        "BackendTLSPolicy",
    }
)
"""Kinds that are translated; Namespaces, Secrets, ConfigMaps and ServiceEntries are looked at too."""
GIVES = KINDS - {"GatewayClass", "ReferenceGrant"}
"""Without any of these nothing is translated: every cluster has classes."""


class Translated(msgspec.Struct, frozen=True):
    """Istio objects that were made of others."""

    gateways: tuple[Gateway, ...] = ()
    virtual_services: tuple[VirtualService, ...] = ()
    destination_rules: tuple[DestinationRule, ...] = ()


def translate(objects: Objects, domain: str) -> Translated:
    """domain: of Kubernetes Services' hosts."""
    if not any(objects.table(kind) for kind in GIVES):
        return Translated()
    references = References(objects, domain)
    found = listeners(objects, references)
    return Translated(
        gateways=tuple(listener.gateway for listener in found),
        virtual_services=tuple(virtual_services(objects, found, references)),
        destination_rules=tuple(destination_rules(objects, references)),
    )
