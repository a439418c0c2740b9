"""Endpoints in other networks: clients are sent to the gateways of those networks instead.

Takes the localities of a load assignment, gives them with endpoints of other networks replaced. Only mutual TLS crosses
networks: endpoints that do not take it are left out. A proxy may say which networks it can see.
"""

from __future__ import annotations

from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import Endpoint
from mizzen.istiod.registry.workloads import CLUSTER, NETWORK
from mizzen.istiod.snapshot.networks import NetworkGateway, Networks
from mizzen.istiod.translate.locality import Group

VIEW = "REQUESTED_NETWORK_VIEW"
SOCKET_MATCH = "envoy.transport_socket_match"


def network_of(node: Node) -> str:
    """The network that a proxy is in, "" when nobody says."""
    return node.network or node.labels.get(NETWORK, "")


def view_of(node: Node) -> frozenset[str]:
    """The networks that a proxy wants to see; empty = all."""
    return frozenset(name.strip() for name in node.text(VIEW).split(",") if name.strip())


def through_gateways(groups: list[Group], networks: Networks, node: Node) -> list[Group]:
    """The localities as a proxy can reach them."""
    view = view_of(node)
    if not networks.gateways and not view:
        return groups
    own = network_of(node)
    return [_reachable(group, networks, own, view, node.cluster_id) for group in groups]


def _reachable(group: Group, networks: Networks, own: str, view: frozenset[str], cluster_id: str) -> Group:
    message = type(group.message)()
    message.locality.CopyFrom(group.message.locality)
    out = Group(message, [])
    weights: dict[NetworkGateway, int] = {}
    for endpoint, lb in zip(group.endpoints, group.message.lb_endpoints, strict=True):
        if view and endpoint.network not in view:
            continue
        weight = lb.load_balancing_weight.value * networks.scale
        gateways = networks.gateways.get(endpoint.network, ())
        if not gateways or endpoint.network in ("", own) or not own:
            copy = message.lb_endpoints.add()
            copy.CopyFrom(lb)
            copy.load_balancing_weight.value = weight
            out.endpoints.append(endpoint)
        elif SOCKET_MATCH in lb.metadata.filter_metadata:
            for gateway in gateways:
                weights[gateway] = weights.get(gateway, 0) + weight // len(gateways)
    for gateway in sorted(weights):
        _add_gateway(out, gateway, weights[gateway], cluster_id)
    return out


def _add_gateway(group: Group, gateway: NetworkGateway, weight: int, cluster_id: str) -> None:
    lb: Any = group.message.lb_endpoints.add()
    lb.endpoint.address.socket_address.address = gateway.address
    lb.endpoint.address.socket_address.port_value = gateway.port
    lb.load_balancing_weight.value = weight
    lb.metadata.filter_metadata[SOCKET_MATCH].fields["tlsMode"].string_value = "istio"
    lb.metadata.filter_metadata["istio"].fields["workload"].string_value = f";;;;{cluster_id}"
    labels = {NETWORK: gateway.network, CLUSTER: cluster_id}
    group.endpoints.append(Endpoint(gateway.address, gateway.port, "", labels=labels, network=gateway.network))
