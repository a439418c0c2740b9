"""Which address a load balancer gets."""

from __future__ import annotations

from typing import Any

from mizzen.up.load_balancers import address_of, pool

POOL = pool("10.97.0.0/16")


def service(ip: str = "", asked: str = "", cluster: str = "10.97.0.9") -> dict[str, Any]:
    status = {"loadBalancer": {"ingress": [{"ip": ip}]} if ip else {}}
    return {"spec": {"clusterIPs": [cluster], **({"loadBalancerIP": asked} if asked else {})}, "status": status}


def test_the_pool() -> None:
    assert (POOL[0], POOL[-1], len(POOL)) == ("10.97.255.1", "10.97.255.254", 254)


def test_the_first_that_is_free() -> None:
    others = [service("10.97.255.1"), service(cluster="10.97.255.2")]
    assert address_of(service(), iter(others), POOL) == "10.97.255.3"


def test_the_one_asked_for_or_none() -> None:
    assert address_of(service(asked="10.97.255.77"), iter(()), POOL) == "10.97.255.77"
    assert address_of(service(asked="10.97.255.1"), iter([service("10.97.255.1")]), POOL) == ""
    assert address_of(service(asked="192.0.2.1"), iter(()), POOL) == ""
