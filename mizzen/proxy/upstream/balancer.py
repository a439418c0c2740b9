"""Load balancing: which host of a cluster takes a request.

`HostSet` is one priority's hosts; `Balancer` chooses a priority (overprovisioning, panic), then lets a policy choose among its
hosts. A policy is a class with `rebuild(hosts)` and `pick(stream)`; POLICIES is the one list of them.
Not here: rings and tables (ring_hash.py), subsets (subsets.py).
Source: Envoy's load balancing overview; envoy.config.cluster.v3.Cluster.LbPolicy.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from typing import Any, Final, Protocol

from mizzen.proxy.config.matchers import runtime_number
from mizzen.proxy.upstream.host import DEGRADED, UNHEALTHY, Host, Locality

OVERPROVISIONING: Final = 1.4


class Policy(Protocol):
    """Chooses among the hosts it was last given."""

    def rebuild(self, hosts: Sequence[Host]) -> None: ...
    def pick(self, stream: Any) -> Host | None: ...


class RoundRobin:
    """Hosts in turn; with weights, earliest deadline first, as Envoy's EDF scheduler."""

    def __init__(self, _config: Any, _runtime: Any) -> None:
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

    def __init__(self, _config: Any, _runtime: Any) -> None:
        self._hosts: tuple[Host, ...] = ()

    def rebuild(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)

    def pick(self, stream: Any) -> Host | None:
        return random.choice(self._hosts) if self._hosts else None


class LeastRequest:
    """Of `choices` random hosts the one with fewest requests under way; with weights, by weight over requests."""

    def __init__(self, config: Any, runtime: dict[str, Any]) -> None:
        self._choices = 2
        self._bias = 1.0
        self._current_bias: Callable[[], float] | None = None
        if config is not None:
            self._choices = config.choice_count.value if config.HasField("choice_count") else 2
            if config.HasField("active_request_bias"):
                self._current_bias = runtime_number(config.active_request_bias, runtime)
        self._hosts: tuple[Host, ...] = ()
        self._weighted = False

    def rebuild(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        if self._current_bias is not None:
            self._bias = self._current_bias()
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


POLICIES: Final[dict[str, Callable[[Any, Any], Policy]]] = {
    "ROUND_ROBIN": RoundRobin,
    "LEAST_REQUEST": LeastRequest,
    "RANDOM": Random,
}


class SlowStart:
    """Hosts that joined lately get less: their weight grows over the window. Wraps a policy for when none is new."""

    def __init__(self, inner: Policy, config: Any, runtime: dict[str, Any]) -> None:
        self._inner = inner
        self._window = float(config.slow_start_window.seconds) + config.slow_start_window.nanos / 1e9
        self._aggression: Callable[[], float] | None = (
            runtime_number(config.aggression, runtime) if config.HasField("aggression") else None
        )
        self._exponent = 1.0
        self._least = (config.min_weight_percent.value if config.HasField("min_weight_percent") else 10.0) / 100
        self._hosts: tuple[Host, ...] = ()
        self._until = 0.0

    def rebuild(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        if self._aggression is not None:
            self._exponent = 1 / max(self._aggression(), 1e-3)
        self._until = max((host.since for host in hosts), default=0.0) + self._window
        self._inner.rebuild(hosts)

    def pick(self, stream: Any) -> Host | None:
        now = time.monotonic()
        if now >= self._until or not self._hosts:
            return self._inner.pick(stream)
        weights = []
        for host in self._hosts:
            age = now - host.since
            share = 1.0 if age >= self._window else max(self._least, (age / self._window) ** self._exponent)
            weights.append(host.weight * share)
        return random.choices(self._hosts, weights)[0]


class HostSet:
    """The hosts of one priority, sorted by health, with a policy for each group that may be picked from."""

    __slots__ = (
        "degraded",
        "degraded_policy",
        "healthy",
        "hosts",
        "make",
        "overprovisioning",
        "panic_policy",
        "policy",
    )

    def __init__(self, make: Callable[[], Policy]) -> None:
        self.make = make
        self.overprovisioning = OVERPROVISIONING
        self.hosts: list[Host] = []
        self.healthy: list[Host] = []
        self.degraded: list[Host] = []
        self.policy = make()
        self.degraded_policy = make()
        self.panic_policy = make()

    def update(self, hosts: list[Host], localities: dict[Locality, int] | None = None) -> None:
        """Take hosts in. `localities`: the weights by which localities share the traffic, where they do."""
        self.hosts = hosts
        self.healthy = [host for host in hosts if not host.flags & (UNHEALTHY | DEGRADED)]
        self.degraded = [host for host in hosts if host.flags & DEGRADED and not host.flags & UNHEALTHY]
        self.panic_policy.rebuild(hosts)
        if localities:
            self.policy = by_locality(self.make, hosts, self.healthy, localities, self.overprovisioning)
            self.degraded_policy = by_locality(self.make, hosts, self.degraded, localities, self.overprovisioning)
            return
        self.policy.rebuild(self.healthy)
        self.degraded_policy.rebuild(self.degraded)

    def health(self) -> float:
        return min(1.0, self.overprovisioning * len(self.healthy) / len(self.hosts)) if self.hosts else 0.0

    def degraded_health(self) -> float:
        return min(1.0, self.overprovisioning * len(self.degraded) / len(self.hosts)) if self.hosts else 0.0


def by_locality(
    make: Callable[[], Policy],
    hosts: Sequence[Host],
    usable: Sequence[Host],
    weights: dict[Locality, int],
    overprovisioning: float,
) -> Policy:
    """A policy that chooses a locality first: by its weight times the share of its hosts that can be used."""
    total = Counter(host.locality for host in hosts)
    groups: dict[Locality, list[Host]] = {}
    for host in usable:
        groups.setdefault(host.locality, []).append(host)
    shares = {
        locality: weights.get(locality, 0) * min(1.0, overprovisioning * len(group) / total[locality])
        for locality, group in groups.items()
    }
    shares = {locality: share for locality, share in shares.items() if share > 0}
    sample = make()
    whole = sum(shares.values())
    if hasattr(sample, "rebuild_weighted"):
        chosen = [host for locality in shares for host in groups[locality]]
        sums = {locality: sum(host.weight for host in groups[locality]) for locality in shares}
        sample.rebuild_weighted(
            chosen, [shares[host.locality] / whole * host.weight / sums[host.locality] for host in chosen]
        )
        return sample
    return Localities([(share, groups[locality]) for locality, share in shares.items()], make)


class Localities:
    """Localities in turn by weight (earliest deadline first), each with a policy of its own."""

    def __init__(self, groups: Sequence[tuple[float, list[Host]]], make: Callable[[], Policy]) -> None:
        self._queue: list[tuple[float, int, float, Policy]] = []
        for i, (weight, hosts) in enumerate(groups):
            policy = make()
            policy.rebuild(hosts)
            self._queue.append((random.random() / weight, i, weight, policy))
        heapify(self._queue)
        self._order = len(groups)

    def rebuild(self, hosts: Sequence[Host]) -> None:
        raise NotImplementedError("localities are made anew")

    def pick(self, stream: Any) -> Host | None:
        if not self._queue:
            return None
        deadline, _, weight, policy = self._queue[0]
        self._order += 1
        heapreplace(self._queue, (deadline + 1 / weight, self._order, weight, policy))
        return policy.pick(stream)


def priority_loads(sets: Sequence[HostSet], excluded: frozenset[int] = frozenset()) -> tuple[list[int], list[int]]:
    """Percent of the traffic that the healthy and the degraded hosts of each priority take."""
    healthy = [0 if i in excluded else int(100 * s.health()) for i, s in enumerate(sets)]
    degraded = [0 if i in excluded else int(100 * s.degraded_health()) for i, s in enumerate(sets)]
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
        self.locality_weighted = False
        self.sets: list[HostSet] = []
        self.loads: list[int] = []
        self.degraded_loads: list[int] = []
        self.in_panic: list[bool] = []
        self.total_panic = False
        self._only: HostSet | None = None
        self.panics = 0

    def update(self, priorities: Sequence[list[Host]], assignment: Any = None) -> None:
        """Take new hosts, or the same ones with new health."""
        while len(self.sets) < len(priorities):
            self.sets.append(HostSet(self._make))
        del self.sets[len(priorities) :]
        weighted = self.locality_weighted and assignment is not None and assignment.locality_weights
        for i, (host_set, hosts) in enumerate(zip(self.sets, priorities, strict=True)):
            weights = None
            if assignment is not None:
                host_set.overprovisioning = assignment.overprovisioning / 100
            if weighted:
                weights = {where: weight for (n, where), weight in assignment.locality_weights.items() if n == i}
            host_set.update(hosts, weights)
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

    def pick_excluding(self, stream: Any, tried: Sequence[Host], update_frequency: int) -> Host | None:
        """A host of a priority that was not tried yet; of any when all were. Priorities count anew every few attempts."""
        counted = tried[: len(tried) // update_frequency * update_frequency]
        loads, degraded = priority_loads(self.sets, frozenset(host.priority for host in counted))
        if not any(loads) and not any(degraded):
            loads, degraded = self.loads, self.degraded_loads
        return self.pick_at(stream, loads, degraded)

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
