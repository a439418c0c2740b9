"""Subset load balancing: a request's metadata names a group of a cluster's hosts.

Each set of selector keys has a table from values to a balancer over the hosts that carry them. A `SubsetBalancer` stands where a
Balancer stands. Refused: metadata_fallback_policy, scale_locality_weight and other options beyond fallback policies.
Source: envoy.config.cluster.v3.Cluster.LbSubsetConfig.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from mizzen.proxy.accesslog.format import struct_value
from mizzen.proxy.upstream.balancer import Balancer
from mizzen.proxy.upstream.host import Host

NO_FALLBACK, ANY_ENDPOINT, DEFAULT_SUBSET, KEYS_SUBSET = "NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET", "KEYS_SUBSET"
THREADS = 2  # Envoy keeps a balancer in its main thread and in each worker, and counts the subsets of all
Values = tuple[str, ...]


def value_key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class Selector:
    """One set of keys with the subsets that its values make."""

    def __init__(self, message: Any) -> None:
        self.keys = tuple(sorted(message.keys))
        name = message.LbSubsetSelectorFallbackPolicy.Name(message.fallback_policy)
        self.fallback = "" if name == "NOT_DEFINED" else name
        self.fallback_keys = tuple(sorted(message.fallback_keys_subset))
        self.single: bool = message.single_host_per_subset
        self.subsets: dict[Values, Balancer] = {}


class SubsetBalancer:
    """A balancer for each subset, and one for requests that name none."""

    def __init__(self, config: Any, make: Callable[[], Balancer], stats: Any) -> None:
        self._make = make
        self._stats = stats
        self._list_as_any: bool = config.list_as_any
        self._panic_any: bool = config.panic_mode_any
        self._fallback = config.LbSubsetFallbackPolicy.Name(config.fallback_policy)
        default = struct_value(config.default_subset)
        self._default_keys = tuple(sorted(default))
        self._default_values = tuple(value_key(default[key]) for key in self._default_keys)
        self._selectors = {tuple(sorted(each.keys)): Selector(each) for each in config.subset_selectors}
        self._whole = make()
        self._default = make()
        self.locality_weighted = False

    # what others read of a balancer

    @property
    def sets(self) -> Any:
        return self._whole.sets

    @property
    def loads(self) -> list[int]:
        return self._whole.loads

    @property
    def panics(self) -> int:
        return self._whole.panics + self._default.panics

    # --- hosts ---

    def _values(self, host: Host, keys: Sequence[str]) -> Iterator[Values]:
        """The subsets of these keys that a host is in."""
        given = (host.metadata or {}).get("envoy.lb") or {}
        choices = []
        for key in keys:
            if key not in given:
                return
            value = given[key]
            several = self._list_as_any and isinstance(value, list)
            choices.append([value_key(each) for each in value] if several else [value_key(value)])
        yield from product(*choices)

    def update(self, priorities: Sequence[list[Host]], assignment: Any = None) -> None:
        """Sort the hosts into subsets; those that stay keep their balancer and its place in the turn."""
        self._whole.update(priorities, assignment)
        wanted = self._default_values
        self._default.update(
            [[host for host in hosts if wanted in self._values(host, self._default_keys)] for hosts in priorities],
            assignment,
        )
        active = 0
        for selector in self._selectors.values():
            groups: dict[Values, list[list[Host]]] = {}
            for i, hosts in enumerate(priorities):
                for host in hosts:
                    for values in self._values(host, selector.keys):
                        group = groups.setdefault(values, [[] for _ in priorities])
                        if not (selector.single and group[i]):
                            group[i].append(host)
            for values in [values for values in selector.subsets if values not in groups]:
                del selector.subsets[values]
                self._stats.lb_subsets_removed += THREADS
            for values, group in groups.items():
                balancer = selector.subsets.get(values)
                if balancer is None:
                    balancer = selector.subsets[values] = self._make()
                    self._stats.lb_subsets_created += THREADS
                balancer.update(group, assignment)
            active += len(groups)
        self._stats.lb_subsets_active = active * THREADS

    # --- requests ---

    def _chosen(self, stream: Any) -> Balancer | None:
        match: dict[str, Any] | None = None if stream is None else stream.lb_match
        selector: Selector | None = None
        if match:
            keys = tuple(sorted(match))
            selector = self._selectors.get(keys)
            if selector is not None:
                found = selector.subsets.get(tuple(value_key(match[key]) for key in keys))
                if found is not None:
                    self._stats.lb_subsets_selected += 1
                    return found
        fallback = self._fallback
        if selector is not None and selector.fallback:
            fallback = selector.fallback
            if fallback == KEYS_SUBSET:
                return self._by_fewer_keys(selector, match or {})
        if fallback == NO_FALLBACK:
            return None
        self._stats.lb_subsets_fallback += 1
        return self._whole if fallback == ANY_ENDPOINT else self._default

    def _by_fewer_keys(self, selector: Selector, match: dict[str, Any]) -> Balancer | None:
        narrower = self._selectors.get(selector.fallback_keys)
        if narrower is None:
            return None
        found = narrower.subsets.get(tuple(value_key(match[key]) for key in narrower.keys))
        if found is not None:
            self._stats.lb_subsets_selected += 1
        return found

    def pick(self, stream: Any) -> Host | None:
        chosen = self._chosen(stream)
        host = None if chosen is None else chosen.pick(stream)
        if host is None and self._panic_any:
            host = self._whole.pick(stream)
            if host is not None:
                self._stats.lb_subsets_fallback_panic += 1
        return host

    def pick_excluding(self, stream: Any, tried: Sequence[Host], update_frequency: int) -> Host | None:
        chosen = self._chosen(stream)
        return None if chosen is None else chosen.pick_excluding(stream, tried, update_frequency)
