"""Load balancing: which host of a cluster takes a request.

`HostSet` is one priority's hosts; `Balancer` chooses a priority (overprovisioning, panic), then lets a policy choose among its
hosts. A policy is a class with `rebuild(hosts)` and `pick(stream)`; POLICIES is the one list of them.
Not here: hash policies (hashing.py), subsets (subsets.py), locality weights (locality.py).
Source: Envoy's load balancing overview; envoy.config.cluster.v3.Cluster.LbPolicy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from typing import Any, Protocol

from mizzen.proxy.upstream.host import DEGRADED, UNHEALTHY, Host

OVERPROVISIONING = 1.4


class Policy(Protocol):
    """Chooses among the hosts it was last given."""

    def rebuild(self, hosts: Sequence[Host]) -> None: ...
    def pick(self, stream: Any) -> Host | None: ...


class RoundRobin:
    """Hosts in turn; with weights, earliest deadline first, as Envoy's EDF scheduler."""

    def __init__(self, _config: Any = None) -> None:
        self._hosts: tuple[Host, ...] = ()
        self._next = 0
        self._queue: list[tuple[float, int, Host]] | None = None
        self._order = 0

    def rebuild(self, hosts: Sequence[Host]) -> None:
        start = self._next if self._hosts else random.randrange(1 << 16)
        self._hosts = tuple(hosts)
        self._next = start
        self._queue = None
        if hosts and any(host.weight != hosts[0].weight for host in hosts):
            self._queue = [(1 / host.weight, i, host) for i, host in enumerate(hosts)]
            heapify(self._queue)
            self._order = len(hosts)
            for _ in range(random.randrange(len(hosts))):
                self.pick(None)

    def pick(self, stream: Any) -> Host | None:
        if self._queue is not None:
            deadline, _, host = self._queue[0]
            self._order += 1
            heapreplace(self._queue, (deadline + 1 / host.weight, self._order, host))
            return host
        hosts = self._hosts
        if not hosts:
            return None
        self._next += 1
        return hosts[self._next % len(hosts)]


class Random:
    """Any host, each alike."""

    def __init__(self, _config: Any = None) -> None:
        self._hosts: tuple[Host, ...] = ()

    def rebuild(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)

    def pick(self, stream: Any) -> Host | None:
        return random.choice(self._hosts) if self._hosts else None


class LeastRequest:
    """Of `choices` random hosts the one with fewest requests under way; with weights, by weight over requests."""

    def __init__(self, config: Any = None) -> None:
        self._choices = 2
        self._bias = 1.0
        if config is not None:
            self._choices = config.choice_count.value if config.HasField("choice_count") else 2
            self._bias = config.active_request_bias.default_value if config.HasField("active_request_bias") else 1.0
        self._hosts: tuple[Host, ...] = ()
        self._weighted = False

    def rebuild(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        self._weighted = any(host.weight != hosts[0].weight for host in hosts)

    def pick(self, stream: Any) -> Host | None:
        hosts = self._hosts
        count = len(hosts)
        if count < 2:
            return hosts[0] if hosts else None
        if self._weighted:
            weights = [host.weight / (host.rq_active + 1) ** self._bias for host in hosts]
            return random.choices(hosts, weights)[0]
        rand = random.random
        best = hosts[int(rand() * count)]
        for _ in range(self._choices - 1):
            other = hosts[int(rand() * count)]
            if other.rq_active < best.rq_active:
                best = other
        return best


POLICIES: dict[str, Callable[[Any], Policy]] = {
    "ROUND_ROBIN": RoundRobin,
    "LEAST_REQUEST": LeastRequest,
    "RANDOM": Random,
}


class HostSet:
    """The hosts of one priority, sorted by health, with a policy for each group that may be picked from."""

    __slots__ = ("all", "degraded", "degraded_policy", "healthy", "hosts", "panic_policy", "policy")

    def __init__(self, make: Callable[[], Policy]) -> None:
        self.hosts: list[Host] = []
        self.healthy: list[Host] = []
        self.degraded: list[Host] = []
        self.policy = make()
        self.degraded_policy = make()
        self.panic_policy = make()

    def update(self, hosts: list[Host]) -> None:
        self.hosts = hosts
        self.healthy = [host for host in hosts if not host.flags & (UNHEALTHY | DEGRADED)]
        self.degraded = [host for host in hosts if host.flags & DEGRADED and not host.flags & UNHEALTHY]
        self.policy.rebuild(self.healthy)
        self.degraded_policy.rebuild(self.degraded)
        self.panic_policy.rebuild(hosts)

    def health(self) -> float:
        return min(1.0, OVERPROVISIONING * len(self.healthy) / len(self.hosts)) if self.hosts else 0.0

    def degraded_health(self) -> float:
        return min(1.0, OVERPROVISIONING * len(self.degraded) / len(self.hosts)) if self.hosts else 0.0


def priority_loads(sets: Sequence[HostSet]) -> tuple[list[int], list[int]]:
    """Percent of the traffic that the healthy and the degraded hosts of each priority take."""
    healthy = [int(100 * s.health()) for s in sets]
    degraded = [int(100 * s.degraded_health()) for s in sets]
    total = min(100, sum(healthy) + sum(degraded))
    if not total:
        return [0] * len(sets), [0] * len(sets)
    left = 100

    def share(percent: int) -> int:
        nonlocal left
        taken = min(left, percent * 100 // total)
        left -= taken
        return taken

    loads = [share(percent) for percent in healthy]
    degraded_loads = [share(percent) for percent in degraded]
    if left:  # rounding: the first priority that takes anything takes the rest
        for some in (loads, degraded_loads):
            for i, load in enumerate(some):
                if load and left:
                    some[i] += left
                    left = 0
    return loads, degraded_loads


class Balancer:
    """Priorities, panic and one policy."""

    def __init__(self, make: Callable[[], Policy], panic_percent: float = 50.0, fail_on_panic: bool = False) -> None:
        self._make = make
        self._panic = panic_percent
        self._fail = fail_on_panic
        self.sets: list[HostSet] = []
        self.loads: list[int] = []
        self.degraded_loads: list[int] = []
        self.in_panic: list[bool] = []
        self.total_panic = False
        self._only: HostSet | None = None
        self.panics = 0

    def update(self, priorities: Sequence[list[Host]]) -> None:
        """Take new hosts, or the same ones with new health."""
        while len(self.sets) < len(priorities):
            self.sets.append(HostSet(self._make))
        del self.sets[len(priorities) :]
        for host_set, hosts in zip(self.sets, priorities, strict=True):
            host_set.update(hosts)
        self.loads, self.degraded_loads = priority_loads(self.sets)
        self.in_panic = [self._panics(s) for s in self.sets]
        self.total_panic = not any(self.loads) and not any(self.degraded_loads)
        if self.total_panic:
            self._spread_panic()
        elif min(100, sum(int(100 * (s.health() + s.degraded_health())) for s in self.sets)) >= 100:
            self.in_panic = [
                False if load == 0 else panic for load, panic in zip(self.loads, self.in_panic, strict=True)
            ]
            if sum(int(100 * s.health()) for s in self.sets) >= 100:
                self.in_panic = [False] * len(self.sets)
        self._only = self.sets[0] if len(self.sets) == 1 and not any(self.in_panic) and self.loads == [100] else None

    def _panics(self, host_set: HostSet) -> bool:
        if not host_set.hosts or self._panic <= 0:
            return False
        usable = len(host_set.healthy) + len(host_set.degraded)
        return 100 * usable / len(host_set.hosts) < self._panic

    def _spread_panic(self) -> None:
        """Nothing is usable anywhere: traffic spreads over the priorities by their number of hosts."""
        total = sum(len(s.hosts) for s in self.sets)
        self.loads = [100 * len(s.hosts) // total if total else 0 for s in self.sets]
        if total:
            first = next(i for i, s in enumerate(self.sets) if s.hosts)
            self.loads[first] += 100 - sum(self.loads)

    def pick(self, stream: Any) -> Host | None:
        """A host for a request; None when no host may be used."""
        only = self._only
        if only is not None:
            return only.policy.pick(stream)
        return self.pick_at(stream, self.loads, self.degraded_loads)

    def pick_at(self, stream: Any, loads: Sequence[int], degraded_loads: Sequence[int]) -> Host | None:
        total = sum(loads) + sum(degraded_loads)
        if not total:
            return None
        point = self.point(stream) % total
        for i, load in enumerate(loads):
            if point < load:
                host_set = self.sets[i]
                if self.in_panic[i]:
                    self.panics += 1
                    return None if self._fail else host_set.panic_policy.pick(stream)
                return host_set.policy.pick(stream)
            point -= load
        for i, load in enumerate(degraded_loads):
            if point < load:
                if self.in_panic[i]:
                    self.panics += 1
                    return None if self._fail else self.sets[i].panic_policy.pick(stream)
                return self.sets[i].degraded_policy.pick(stream)
            point -= load
        return None

    def point(self, stream: Any) -> int:
        """Where in 0 … 99 this request falls: its hash where there is one, else chance."""
        value = None if stream is None else stream.lb_hash
        return random.randrange(100) if value is None else int(value % 100)
