"""Statistics of the epochs before, which go on in this process: counters for ever, gauges while the parent lives.

Of the gauges only those count that tell how much is under way (connections, requests, bytes buffered): the others say how
this process is configured or what it knows, which the parent's do not add to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mizzen.proxy.stats.store import COUNTER, GAUGE, Stat

ADDS_UP = ("_active", "_buffered")
OWN = ("server.", "cluster_manager.", "listener_manager.", "overload.")
Key = tuple[str, Any]


def adds_up(stat: Stat) -> bool:
    return stat.name.endswith(ADDS_UP) and not stat.name.startswith(OWN)


class Exported:
    """What the parent has told its child already."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def news(self, stats: Iterable[Stat]) -> list[list[Any]]:
        """Counters' growth since it was asked last, and gauges as they are."""
        out: list[list[Any]] = []
        for stat in stats:
            if stat.kind == COUNTER:
                grown = stat.value - self._told.get(stat.name, 0)
                self._told[stat.name] = stat.value
                if grown > 0:
                    out.append([stat.name, COUNTER, grown, stat.tags, stat.tag_name])
            elif stat.kind == GAUGE and stat.value and adds_up(stat):
                out.append([stat.name, GAUGE, stat.value, stat.tags, stat.tag_name])
        return out


class Carried:
    """What a child knows of its parent's statistics."""

    def __init__(self) -> None:
        self.counters: dict[str, Stat] = {}
        self.gauges: dict[str, Stat] = {}

    def take(self, news: Iterable[list[Any]]) -> None:
        self.gauges = {}
        for name, kind, value, tags, tag_name in news:
            told = Stat(name, kind, value, True, tags and tuple((key, text) for key, text in tags), tag_name)
            if kind == GAUGE:
                self.gauges[name] = told
            else:
                before = self.counters.get(name)
                self.counters[name] = told if before is None else told._replace(value=before.value + value)

    def reset(self) -> None:
        self.counters.clear()

    def merged(self, stats: Iterable[Stat], keeps: Callable[[str], bool] | None) -> list[Stat]:
        """A process's own statistics with those of its parent's added."""
        more = {**self.counters, **self.gauges}
        out = []
        for stat in stats:
            found = more.pop(stat.name, None) if stat.kind in (COUNTER, GAUGE) else None
            out.append(stat if found is None else stat._replace(value=stat.value + found.value, used=True))
        out += [stat for stat in more.values() if keeps is None or stat.tags is not None or keeps(stat.name)]
        return out
