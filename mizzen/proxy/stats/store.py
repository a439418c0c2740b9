"""Statistics: counters and gauges as plain int attributes of groups, histograms folded when somebody looks.

A `Group` is made when configuration arrives; the data path writes `group.upstream_rq_total += 1` and nothing else.
`Store` knows all groups and lists them for the admin pages. Not here: names of the groups' members (names.py), tags and
the Prometheus text (prometheus.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mizzen.proxy.stats.hot import Histogram as Histogram

COUNTER, GAUGE, HISTOGRAM, TEXT = "Counter", "Gauge", "Histogram", "TextReadout"


class Stat(NamedTuple):
    """One statistic as it is now."""

    name: str
    kind: str
    value: Any
    used: bool
    tags: tuple[tuple[str, str], ...] | None = None  # given by who made it; None: taken out of the name
    tag_name: str | None = None


def bin_width(edge: float) -> float:
    width = 1.0
    if edge <= 0:
        return 0.0
    while edge >= 100:
        edge /= 10
        width *= 10
    while edge < 10:
        edge *= 10
        width /= 10
    return width


QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0)
BUCKETS = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
)  # fmt: skip


def quantile(bins: dict[float, int], q: float) -> float | None:
    """The interpolated quantile of binned observations; None without observations."""
    count = sum(bins.values())
    if not count:
        return None
    wanted, seen = q * count, 0
    edges = sorted(bins)
    for edge in edges:
        if seen + bins[edge] >= wanted and (wanted > seen or q == 0):
            inside = (wanted - seen) / bins[edge]
            return edge + bin_width(edge) * inside
        seen += bins[edge]
    return edges[-1] + bin_width(edges[-1])


def cumulative(bins: dict[float, int], bounds: Sequence[float]) -> list[int]:
    """How many observations are at most each of the bounds, which ascend."""
    counts = [0] * (len(bounds) + 1)
    for edge, n in bins.items():
        counts[bisect_left(bounds, edge + bin_width(edge) * 0.5)] += n
    out, total = [], 0
    for n in counts[:-1]:
        total += n
        out.append(total)
    return out


class Group:
    """Statistics under one prefix. Counters and gauges are int attributes, histograms are Histogram attributes."""

    native: tuple[str, ...] = ()  # members that are kept in `hot`
    new_hot: Any = None

    def __init__(
        self,
        prefix: str,
        counters: Iterable[str] = (),
        gauges: Iterable[str] = (),
        histograms: Iterable[str] = (),
        texts: Iterable[str] = (),
    ) -> None:
        if self.native:
            self.hot = self.new_hot()
        self._prefix = prefix
        self._counters = dict.fromkeys(counters)
        self._gauges = dict.fromkeys(gauges)
        self._histograms = tuple(histograms)
        self._texts = tuple(texts)
        for name in (*self._counters, *self._gauges):
            setattr(self, name, 0)
        for name in self._histograms:
            setattr(self, name, Histogram())
        for name in self._texts:
            setattr(self, name, "")
        self.codes: dict[str, int] = {}  # counters whose names are known only when they happen
        self.outcomes: dict[int, int] = {}  # HTTP status << 2 | canary << 1 | internal -> answers of a cluster

    def become(self, make: type[Group]) -> None:
        """Keep what was counted, and count on as a group with native counters."""
        kept = {name: self.__dict__.pop(name) for name in make.native if name in self.__dict__}
        self.__class__ = make
        self.hot = make.new_hot()
        for name, value in kept.items():
            setattr(self, name, value)

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no statistic {name} under {self._prefix}")

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter that was not named when the group was made."""
        self.codes[name] = self.codes.get(name, 0) + by

    def counter(self, name: str, by: int = 1) -> None:
        """Add to a counter by name, whether it was named before or not."""
        if name in self._counters:
            setattr(self, name, getattr(self, name) + by)
        else:
            self.count(name, by)

    def stats(self) -> Iterator[Stat]:
        dot = self._prefix + "." if self._prefix else ""
        alive = False
        for name in self._counters:
            value = getattr(self, name)
            alive = alive or value != 0
            yield Stat(dot + name, COUNTER, value, value != 0)
        for name, value in self.codes.items():
            yield Stat(dot + name, COUNTER, value, True)
        for name, value in self._expanded().items():
            yield Stat(dot + name, COUNTER, value, True)
        for name in self._gauges:
            value = getattr(self, name)
            yield Stat(dot + name, GAUGE, value, value != 0 or alive)
        for name in self._histograms:
            histogram = getattr(self, name)
            histogram.fold()
            yield Stat(dot + name, HISTOGRAM, histogram, histogram.count > 0)
        for name in self._texts:
            yield Stat(dot + name, TEXT, getattr(self, name), True)

    def _expanded(self) -> dict[str, int]:
        """The counters by status and class that `outcomes` stands for."""
        out: dict[str, int] = {}
        cluster = "upstream_cx_total" in self._counters
        for key, value in self.outcomes.items():
            status = key >> 2
            kinds = [""]
            if cluster:
                kinds.append("internal." if key & 1 else "external.")
                if key & 2:
                    kinds.append("canary.")
            for kind in kinds:
                names = [f"{kind}upstream_rq_{status}", f"{kind}upstream_rq_{status // 100}xx"]
                if kind:
                    names.append(f"{kind}upstream_rq_completed")
                for name in names:
                    out[name] = out.get(name, 0) + value
        return out

    def reset(self) -> None:
        for name in self._counters:
            setattr(self, name, 0)
        for name in self.codes:
            self.codes[name] = 0
        self.outcomes = dict.fromkeys(self.outcomes, 0)


class Labelled:
    """Counters, gauges and histograms that carry their labels with them, as Istio's standard metrics do."""

    def __init__(self) -> None:
        self.counters: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self.gauges: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
        self.histograms: dict[tuple[str, tuple[tuple[str, str], ...]], Histogram] = {}

    def stats(self) -> Iterator[Stat]:
        for (name, tags), value in self.counters.items():
            yield Stat(full_name(name, tags), COUNTER, value, True, tags, name)
        for (name, tags), value in self.gauges.items():
            yield Stat(full_name(name, tags), GAUGE, value, True, tags, name)
        for (name, tags), histogram in self.histograms.items():
            histogram.fold()
            yield Stat(full_name(name, tags), HISTOGRAM, histogram, histogram.count > 0, tags, name)

    def reset(self) -> None:
        for key in self.counters:
            self.counters[key] = 0


def full_name(name: str, tags: tuple[tuple[str, str], ...]) -> str:
    return ".".join([name, *(f"{key}.{value}" for key, value in tags)])


class Store:
    """All groups of the process. Groups of one prefix exist once: what a new configuration names again goes on counting."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.labelled = Labelled()
        self.tag_rules: Any = None  # prometheus.Tags of the bootstrap's stats_config
        self.keeps: Callable[[str], bool] | None = None  # the bootstrap's stats_matcher
        self.carried: Any = None  # hot_restart.carried.Carried: what the epochs before this process counted

    def group(
        self,
        prefix: str,
        counters: Iterable[str] = (),
        gauges: Iterable[str] = (),
        histograms: Iterable[str] = (),
        texts: Iterable[str] = (),
        make: type[Group] | None = None,
    ) -> Group:
        prefix = prefix.replace("://", "_").replace(":", "_")
        found = self.groups.get(prefix)
        if found is None:
            found = self.groups[prefix] = (make or Group)(prefix, counters, gauges, histograms, texts)
        else:
            if make is not None and found.__class__ is Group:
                found.become(make)
            self._extend(found, counters, gauges, histograms)
        return found

    @staticmethod
    def _extend(group: Group, counters: Iterable[str], gauges: Iterable[str], histograms: Iterable[str]) -> None:
        for name in counters:
            if name not in group._counters:
                group._counters[name] = None
                setattr(group, name, 0)
        for name in gauges:
            if name not in group._gauges:
                group._gauges[name] = None
                setattr(group, name, 0)
        for name in histograms:
            if name not in group._histograms:
                group._histograms = (*group._histograms, name)
                setattr(group, name, Histogram())

    def drop(self, prefix: str) -> None:
        """Forget the group of a prefix and those below it."""
        prefix = prefix.replace("://", "_").replace(":", "_")
        for name in [name for name in self.groups if name == prefix or name.startswith(prefix + ".")]:
            del self.groups[name]

    def all(self) -> list[Stat]:
        """Every statistic, sorted by name."""
        out = [stat for group in list(self.groups.values()) for stat in group.stats()]
        if self.keeps is not None:
            out = [stat for stat in out if self.keeps(stat.name)]
        out += self.labelled.stats()
        if self.carried is not None:
            out = self.carried.merged(out, self.keeps)
        out.sort(key=lambda stat: stat.name)
        return out

    def reset_counters(self) -> None:
        for group in self.groups.values():
            group.reset()
        self.labelled.reset()
        if self.carried is not None:
            self.carried.reset()

    def new_interval(self) -> None:
        for group in self.groups.values():
            for name in group._histograms:
                getattr(group, name).new_interval()
