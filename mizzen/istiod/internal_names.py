"""Names that istiod's parts agree on and that users never write: annotations of objects made from others, placeholders.

Objects of the Gateway API and Ingresses become Istio's own kinds first; these annotations say what is special of them.
"""

from __future__ import annotations

MESH_GATEWAY = "mesh"
"""The gateway that stands for all sidecars."""
ROUTE_SEMANTICS = "internal.istio.io/route-semantics"
"""On a VirtualService: `gateway` or `ingress`, whose path rules hold for its routes."""
GATEWAY_SERVICES = "internal.istio.io/gateway-service"
"""On a Gateway: hosts of the services that it stands behind, comma-separated; its ports are theirs."""
GRANTED_CREDENTIALS = "internal.istio.io/granted-credentials"
"""On a Gateway: credentials of other namespaces that it may use, comma-separated."""
PREFIX_PLACEHOLDER = "%PREFIX()%"
"""At the beginning of a redirect's uri: the rest replaces only the prefix that matched."""
