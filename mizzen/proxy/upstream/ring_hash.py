"""Consistent hashing: Ketama rings and Maglev tables over the hosts of one priority.

Both are built when first asked after their hosts changed: a set that nobody picks from costs nothing.
Not here: a request's number (hashing.py). Source: envoy.config.cluster.v3.Cluster.{RingHash,Maglev}LbConfig.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.upstream.hashing import murmur2, xxhash64
from mizzen.proxy.upstream.host import Host

MAX_RING = 8 << 20
MAGLEV_SIZE, MAGLEV_LARGEST = 65537, 5000011


def hash_key(host: Host, by_hostname: bool) -> bytes:
    """What a host is hashed by: its metadata's hash_key, its name or its address."""
    given = (host.metadata or {}).get("envoy.lb", {}).get("hash_key")
    if isinstance(given, str) and given:
        return given.encode()
    return (host.hostname if by_hostname and host.hostname else host.text).encode()


def number(stream: Any) -> int:
    value = None if stream is None else stream.lb_hash
    return random.getrandbits(64) if value is None else int(value)


class Hashed:
    """What rings and tables share: hosts, and building when needed."""

    def __init__(self, by_hostname: bool = False) -> None:
        self.by_hostname = by_hostname
        self._hosts: tuple[Host, ...] = ()
        self._weights: tuple[float, ...] = ()
        self._built = False

    def rebuild(self, hosts: Sequence[Host]) -> None:
        total = sum(host.weight for host in hosts) or 1
        weights = tuple(host.weight / total for host in hosts)
        if tuple(hosts) != self._hosts or weights != self._weights:
            self._hosts, self._weights = tuple(hosts), weights
            self._built = False

    def rebuild_weighted(self, hosts: Sequence[Host], weights: Sequence[float]) -> None:
        """Hosts with shares that add up to one, localities' weights counted in."""
        self._hosts, self._weights = tuple(hosts), tuple(weights)
        self._built = False

    def build(self) -> None:
        raise NotImplementedError

    def at(self, value: int, attempt: int) -> Host:
        raise NotImplementedError

    def pick(self, stream: Any) -> Host | None:
        if not self._hosts:
            return None
        if not self._built:
            self.build()
            self._built = True
        return self.at(number(stream), getattr(stream, "lb_attempt", 0))


class RingHash(Hashed):
    def __init__(self, config: Any = None, by_hostname: bool = False) -> None:
        super().__init__(by_hostname)
        self.least, self.most = 1024, MAX_RING
        self.function: Callable[[bytes], int] = xxhash64
        if config is not None:
            self.least = config.minimum_ring_size.value if config.HasField("minimum_ring_size") else 1024
            self.most = config.maximum_ring_size.value if config.HasField("maximum_ring_size") else MAX_RING
            if config.hash_function == 1:
                self.function = murmur2
        if self.least > self.most:
            raise ConfigError(f"ring hash: minimum_ring_size ({self.least}) > maximum_ring_size ({self.most})")
        self._hashes: list[int] = []
        self._owners: list[Host] = []

    def build(self) -> None:
        smallest = min(self._weights)
        scale = min(math.ceil(smallest * self.least) / smallest, float(self.most))
        ring: list[tuple[int, int]] = []
        target = 0.0
        for i, (host, weight) in enumerate(zip(self._hosts, self._weights, strict=True)):
            key = hash_key(host, self.by_hostname) + b"_"
            target += scale * weight
            n = 0
            while len(ring) < target:
                ring.append((self.function(key + str(n).encode()), i))
                n += 1
        ring.sort()
        self._hashes = [value for value, _ in ring]
        self._owners = [self._hosts[i] for _, i in ring]

    def at(self, value: int, attempt: int) -> Host:
        owners = self._owners
        return owners[(bisect_left(self._hashes, value) + attempt) % len(owners)]


class Maglev(Hashed):
    def __init__(self, config: Any = None, by_hostname: bool = False) -> None:
        super().__init__(by_hostname)
        self.size = config.table_size.value if config is not None and config.HasField("table_size") else MAGLEV_SIZE
        if self.size > MAGLEV_LARGEST or any(self.size % n == 0 for n in range(2, int(self.size**0.5) + 1)):
            raise ConfigError("The table size of maglev must be prime number")
        self._table: list[Host] = []

    def build(self) -> None:
        size = self.size
        entries: list[list[Any]] = []
        for host, weight in zip(self._hosts, self._weights, strict=True):
            key = hash_key(host, self.by_hostname)
            entries.append([host, xxhash64(key) % size, xxhash64(key, 1) % (size - 1) + 1, weight, 0.0, key])
        entries.sort(key=lambda entry: entry[5])  # the table is the same in whatever order hosts came
        table: list[Any] = [None] * size
        heaviest = max(self._weights)
        left, iteration = size, 0
        while left:
            iteration += 1
            for entry in entries:
                if not left:
                    break
                if iteration * entry[3] < entry[4]:
                    continue
                entry[4] += heaviest
                at, step = entry[1], entry[2]
                while table[at] is not None:
                    at = (at + step) % size
                table[at] = entry[0]
                entry[1] = (at + step) % size
                left -= 1
        self._table = table

    def at(self, value: int, attempt: int) -> Host:
        if attempt:
            value ^= (1 << 64) - attempt
        return self._table[value % self.size]
