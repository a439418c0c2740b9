"""Addresses and ports of Services: which are taken, which is next.

`Allocators` is asked before a Service is stored and told when it goes. Kept in memory, rebuilt from the Services at start.
Source: KEP-3070, KEP-3668 (static and dynamic bands of ranges).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from typing import Any

from .cache import Collection
from .resources import Resource

Object = dict[str, Any]


class Full(Exception):
    """Nothing is free in the range."""


class Pool:
    """Numbers from `low` to `high`, both included. Dynamic ones come from the upper band first."""

    def __init__(self, low: int, high: int, offset: int) -> None:
        self.low, self.high, self._offset = low, high, min(offset, high - low)
        self.taken: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return self.low <= number <= self.high

    def take(self, number: int) -> bool:
        if number in self.taken:
            return False
        self.taken.add(number)
        return True

    def next(self) -> int:
        for low, high in ((self.low + self._offset, self.high), (self.low, self.low + self._offset - 1)):
            if high < low:
                continue
            start = random.randint(low, high)
            for number in (*range(start, min(start + 4096, high + 1)), *range(low, min(start, low + 70_000))):
                if number not in self.taken:
                    self.taken.add(number)
                    return int(number)
        raise Full


def _nothing() -> None:
    return None


class Allocators:
    def __init__(self, cidr: str, ports: tuple[int, int]) -> None:
        self.network = ipaddress.ip_network(cidr)
        first, size = int(self.network.network_address), self.network.num_addresses
        offset = min(max(16, size // 16), 256) if size > 16 else 0
        self.addresses = Pool(first + 1, first + size - 2, offset)
        self.ports = Pool(ports[0], ports[1], min(max(16, (ports[1] - ports[0] + 1) // 32), 128))

    def load(self, services: Collection) -> None:
        for item in services.items.values():
            self._hold(item.shared)

    def number(self, address: str) -> int | None:
        """The number of an IPv4 address in the range's family; None when it is none."""
        try:
            return int(ipaddress.IPv4Address(address))
        except ValueError:
            return None

    def text(self, number: int) -> str:
        return str(ipaddress.IPv4Address(number))

    def _hold(self, service: Object) -> None:
        for number in self._addresses_of(service):
            self.addresses.take(number)
        for port in self._ports_of(service):
            self.ports.take(port)

    def _addresses_of(self, service: Object) -> list[int]:
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return []
        found = [self.number(one) for one in spec.get("clusterIPs") or () if one not in ("None", "")]
        return [one for one in found if one is not None]

    def _ports_of(self, service: Object) -> list[int]:
        spec = service.get("spec") or {}
        ports = {one["nodePort"] for one in spec.get("ports") or () if one.get("nodePort")}
        if spec.get("healthCheckNodePort"):
            ports.add(spec["healthCheckNodePort"])
        return sorted(ports)

    def create(self, resource: Resource, obj: Object) -> Callable[[], None]:
        """Called when a Service was prepared; answers what takes the reservation back if the store refuses."""
        if resource.qualified != "services":
            return _nothing
        return lambda: self.release(resource, obj)

    def update(self, resource: Resource, new: Object, old: Object) -> Callable[[], None]:
        if resource.qualified != "services":
            return _nothing
        kept = set(self._addresses_of(new)), set(self._ports_of(new))
        for number in self._addresses_of(old):
            if number not in kept[0]:
                self.addresses.taken.discard(number)
        for port in self._ports_of(old):
            if port not in kept[1]:
                self.ports.taken.discard(port)
        return lambda: self._hold(old)

    def release(self, resource: Resource, obj: Object) -> None:
        if resource.qualified != "services":
            return
        for number in self._addresses_of(obj):
            self.addresses.taken.discard(number)
        for port in self._ports_of(obj):
            self.ports.taken.discard(port)
