"""Networks of the mesh, and the gateways through which each is reached from the others.

Takes the mesh's networks configuration and Services that are labelled as gateways, gives gateways by network.
Not here: what endpoints become (translate/networks.py), DNS: a gateway without an IP address is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import lcm
from typing import Any, NamedTuple

from mizzen.api.istio.mesh import MeshNetworks
from mizzen.istiod.node import is_ip
from mizzen.istiod.registry.workloads import NETWORK

GATEWAY_PORT_LABEL = "networking.istio.io/gatewayPort"
GATEWAY_PORT = 15443


class NetworkGateway(NamedTuple):
    """Where a network is entered: mutual TLS, told apart by SNI."""

    network: str
    address: str
    port: int


class Networks:
    """Gateways by network, sorted. scale: what weights are multiplied by, so that they split evenly."""

    def __init__(self, gateways: Iterable[NetworkGateway]) -> None:
        table: dict[str, list[NetworkGateway]] = {}
        for gateway in sorted(set(gateways)):
            table.setdefault(gateway.network, []).append(gateway)
        self.gateways: Mapping[str, tuple[NetworkGateway, ...]] = {name: tuple(found) for name, found in table.items()}
        self.scale = lcm(*map(len, self.gateways.values())) if self.gateways else 1

    @classmethod
    def build(cls, services: Iterable[Any], configured: MeshNetworks, domain: str) -> Networks:
        """services: Kubernetes Services; configured: the mesh's networks; domain: of Services' hosts."""
        every = list(services)
        by_host = {f"{svc.metadata.name}.{svc.metadata.namespace or 'default'}.svc.{domain}": svc for svc in every}
        found = [gateway for svc in every for gateway in _labelled(svc)]
        for name, network in configured.networks.items():
            for given in network.gateways:
                if given.registry_service_name is not None:
                    named = by_host.get(given.registry_service_name)
                    addresses = external_addresses(named) if named is not None else []
                else:
                    addresses = [given.address or ""]
                found += [NetworkGateway(name, ip, given.port) for ip in addresses if is_ip(ip)]
        return cls(found)


def is_gateway(svc: Any) -> bool:
    """Whether a Service is labelled as the way into a network."""
    return bool((svc.metadata.labels or {}).get(NETWORK))


def _labelled(svc: Any) -> list[NetworkGateway]:
    labels = svc.metadata.labels or {}
    network = labels.get(NETWORK)
    if not network:
        return []
    port = labels.get(GATEWAY_PORT_LABEL, "")
    number = int(port) if port.isdigit() else GATEWAY_PORT
    return [NetworkGateway(network, ip, number) for ip in external_addresses(svc) if is_ip(ip)]


def external_addresses(svc: Any) -> list[str]:
    """Addresses under which a Service is reached from outside of its cluster."""
    status = svc.status.loadBalancer if svc.status is not None else None
    ingress = (status.ingress if status is not None else None) or ()
    return [*(one.ip for one in ingress if one.ip), *(svc.spec.externalIPs or ())]
