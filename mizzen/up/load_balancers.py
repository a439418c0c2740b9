"""Load balancers on one machine: each Service of type LoadBalancer gets an address of its own, which the node leads to its pods.

A controller over Services. Addresses are the last 254 of the service range, so that they are routed as cluster addresses are;
`spec.loadBalancerIP` is given when it is one of them and free. Services with a loadBalancerClass are another's affair. Not
here: leading traffic (runtime/net).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterator, Mapping

from mizzen.kube.client import Client
from mizzen.kube.controller import After, KeysOf, itself
from mizzen.kube.informer import Informers
from mizzen.kube.resource import SERVICES, Key, Object, Resource

log = logging.getLogger(__name__)
POOL_PREFIX = 24
AGAIN_S = 10.0


def pool(services: str) -> list[str]:
    """The addresses for load balancers in a service range."""
    last = list(ipaddress.IPv4Network(services).subnets(new_prefix=POOL_PREFIX))[-1]
    return [str(address) for address in last.hosts()]


def address_of(service: Object, others: Iterator[Object], addresses: list[str]) -> str:
    """The address that a Service gets; "" when none is free, or not the one that it asks for."""
    taken: set[str] = set()
    for other in others:
        spec = other["spec"]
        taken.update([*(spec.get("clusterIPs") or ()), *ingress(other)])
    asked = service["spec"].get("loadBalancerIP")
    free = [address for address in addresses if address not in taken and asked in (None, "", address)]
    return free[0] if free else ""


def ingress(service: Object) -> list[str]:
    """The addresses that a Service has."""
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return [entry["ip"] for entry in balancer.get("ingress") or () if entry.get("ip")]


class LoadBalancerController:
    """Gives addresses, and takes them back from a Service that is no load balancer any more."""

    watches: Mapping[Resource, KeysOf] = {SERVICES: itself}

    def __init__(self, client: Client, informers: Informers, services: str) -> None:
        self._client, self._informers, self._pool = client, informers, pool(services)

    async def reconcile(self, key: Key) -> After | None:
        service = self._informers.get(SERVICES, key)
        if service is None or service["metadata"].get("deletionTimestamp"):
            return None
        wanted = service["spec"].get("type") == "LoadBalancer" and not service["spec"].get("loadBalancerClass")
        if not wanted or ingress(service):
            return None
        address = address_of(service, iter(self._informers.of(SERVICES).store.all()), self._pool)
        if not address:
            log.warning("no address for the load balancer %s", key)
            return After(AGAIN_S)
        status = {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}}
        changed = await self._client.patch(SERVICES, key.name, {"status": status}, key.namespace, subresource="status")
        self._informers.of(SERVICES).observe(changed)
        log.info("load balancer %s has the address %s", key, address)
        return None
