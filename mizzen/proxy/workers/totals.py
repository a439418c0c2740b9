"""Statistics of all workers together: what each counted is added to what the main process counted.

`exported` is what a worker tells of itself; `Totals` is a Store's `carried` in the main process. Statistics of what only the
main process does for all (discovery, health checks, the members of clusters, the process itself) are not added: every
worker applies the same resources, and Envoy counts them once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from mizzen.proxy.stats.hot import Histogram
from mizzen.proxy.stats.store import COUNTER, GAUGE, HISTOGRAM, Stat

ONCE = re.compile(
    r"^(server|cluster_manager|listener_manager|control_plane|runtime|sds|filesystem)\."
    r"|\.(rds|sds|health_check)\."
    r"|\.(membership_change|update_(attempt|success|failure|rejected|empty|no_rebuild|duration|time)"
    r"|assignment_\w+|config_reload|init_fetch_timeout|version|ssl_context_update_by_sds|lb_recalculate_zone_structures)$"
)
PROCESS = {
    f"server.{name}" for name in ("memory_allocated", "memory_heap_size", "memory_physical_size", "total_connections")
}
OF_WORKER = re.compile(r"\.worker_\d+\.")
ADDS_UP = ("_active", "_buffered")
Row = tuple[str, str, Any, Any, Any]


def exported(stats: Iterable[Stat]) -> list[Row]:
    """A worker's own statistics as the main process is told of them."""
    out: list[Row] = []
    for name, kind, value, used, tags, tag_name in stats:
        if name not in PROCESS and ONCE.search(name):
            continue
        told: Any = value
        if kind == HISTOGRAM:
            if not value.count:
                continue
            told = (value.bins, value.interval_seen, value.count, value.total)
        elif kind == GAUGE:
            if name not in PROCESS and not name.endswith(ADDS_UP):
                continue
        elif kind != COUNTER:
            continue
        if used or OF_WORKER.search(name):
            out.append((name, kind, told, tags, tag_name))
    return out


class Totals:
    """What workers told last, by worker, and what those that have gone had counted."""

    def __init__(self) -> None:
        self.told: dict[int, list[Row]] = {}
        self.past: list[Row] = []

    def gone(self, worker: int) -> None:
        """A worker ended: its counters stay, its gauges do not."""
        kept = [row for row in self.told.pop(worker, []) if row[1] != GAUGE]
        self.past = list(added([*self.past, *kept]).values())

    def reset(self) -> None:
        self.past = [row for row in self.past if row[1] != COUNTER]

    def merged(self, stats: Iterable[Stat], keeps: Callable[[str], bool] | None) -> list[Stat]:
        """The main process's statistics with those of all workers added."""
        more = added([*self.past, *(row for rows in self.told.values() for row in rows)])
        out = []
        for stat in stats:
            found = more.pop(stat.name, None)
            if found is not None and found[1] == stat.kind:
                own = stat.value
                value = joined(own, found[2]) if stat.kind == HISTOGRAM else own + found[2]
                stat = stat._replace(value=value, used=True)
            out.append(stat)
        for name, kind, value, tags, tag_name in more.values():
            if keeps is None or tags is not None or keeps(name):
                whole = joined(Histogram(), value) if kind == HISTOGRAM else value
                out.append(Stat(name, kind, whole, True, tags, tag_name))
        return out


def added(rows: Iterable[Row]) -> dict[str, Row]:
    out: dict[str, Row] = {}
    for row in rows:
        before = out.get(row[0])
        if before is None:
            out[row[0]] = row
        elif row[1] == HISTOGRAM:
            bins, seen, count, total = row[2]
            old = before[2]
            value: Any = (both(old[0], bins), both(old[1], seen), old[2] + count, old[3] + total)
            out[row[0]] = (*row[:2], value, *row[3:])
        else:
            out[row[0]] = (*row[:2], before[2] + row[2], *row[3:])
    return out


def both(one: dict[float, int], other: dict[float, int]) -> dict[float, int]:
    out = dict(one)
    for edge, count in other.items():
        out[edge] = out.get(edge, 0) + count
    return out


def joined(own: Histogram, told: Any) -> Histogram:
    """A histogram of both; neither is changed."""
    out = Histogram()
    bins, seen, count, total = told
    out.bins, out.interval_seen = both(own.bins, bins), both(own.interval_seen, seen)
    out.count, out.total = own.count + count, own.total + total
    return out
