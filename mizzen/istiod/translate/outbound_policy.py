"""What a sidecar does with traffic to destinations outside the registry.

The Sidecar resource's outboundTrafficPolicy, else the mesh's. Not here: clusters that carry such traffic.
"""

from __future__ import annotations

import msgspec

from mizzen.api.istio.destination_rule import ClientTLSSettings
from mizzen.api.istio.virtual_service import Destination
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot

ALLOW_ANY, BLOCK, ALLOW_ANY_DYNAMIC_DNS = "ALLOW_ANY", "REGISTRY_ONLY", "ALLOW_ANY_DYNAMIC_DNS"


class OutboundPolicy(msgspec.Struct, frozen=True):
    """mode: one of the three; egress_proxy: where unknown traffic goes instead of straight out, its host as written."""

    mode: str
    egress_proxy: Destination | None = None
    tls: ClientTLSSettings | None = None


def outbound_policy(snap: Snapshot, node: Node) -> OutboundPolicy:
    """The policy that holds for a sidecar."""
    sidecar = snap.sidecar_of(node)
    own = sidecar.spec.outbound_traffic_policy if sidecar is not None else None
    if own is None:
        mesh = snap.mesh.outbound_traffic_policy
        return OutboundPolicy(mesh.mode, tls=mesh.tls) if mesh is not None else OutboundPolicy(ALLOW_ANY)
    return OutboundPolicy(own.mode, own.egress_proxy, own.tls)
