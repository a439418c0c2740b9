"""The statistics that every request touches, as native classes: a compiled data path adds to them in place.

Each class holds the members of one kind of Group (groups.py) that are written per request; the group reads them back, so
that names and the admin pages know no difference. Not here: everything that is counted rarely (store.py).
"""

from __future__ import annotations

_keeping = False
MAX_KEPT = 100_000


def keep_observations() -> None:
    """From now on histograms keep what they fold until it is taken, for sinks that want every observation."""
    global _keeping
    _keeping = True


class Histogram:
    """Observations in log-linear bins of two significant digits, as Envoy's circllhist keeps them."""

    __slots__ = ("bins", "count", "interval", "interval_bins", "interval_seen", "kept", "pending", "total")

    def __init__(self) -> None:
        self.pending: list[float] = []  # the data path appends here
        self.bins: dict[float, int] = {}
        self.interval_bins: dict[float, int] = {}
        self.interval_seen: dict[float, int] = {}
        self.kept: list[float] = []
        self.count = 0
        self.total = 0.0

    def record(self, value: float) -> None:
        self.pending.append(value)
        if len(self.pending) > 10_000:
            self.fold()

    def fold(self) -> None:
        """Take in what was recorded since the last time."""
        pending = self.pending[:]
        self.pending.clear()
        if _keeping and len(self.kept) < MAX_KEPT:
            self.kept += pending
        for value in pending:
            key = bin_of(value)
            self.bins[key] = self.bins.get(key, 0) + 1
            self.interval_bins[key] = self.interval_bins.get(key, 0) + 1
            self.total += value
        self.count += len(pending)

    def take(self) -> list[float]:
        """What was observed since the last time, where sinks want it."""
        out, self.kept = self.kept, []
        return out

    def new_interval(self) -> None:
        """What the admin page calls the last interval is what came between two of these."""
        self.fold()
        self.interval_seen, self.interval_bins = self.interval_bins, {}


def bin_of(value: float) -> float:
    """The lower edge of a value's bin."""
    if value <= 0:
        return 0.0
    scale = 1.0
    while value >= 100:
        value /= 10
        scale *= 10
    while value < 10:
        value *= 10
        scale /= 10
    return int(value) * scale


class HttpHot:
    """Of a connection manager: `http.<stat_prefix>`."""

    __slots__ = (
        "downstream_cx_rx_bytes_total",
        "downstream_cx_tx_bytes_total",
        "downstream_rq_2xx",
        "downstream_rq_active",
        "downstream_rq_completed",
        "downstream_rq_http1_total",
        "downstream_rq_http2_total",
        "downstream_rq_time",
        "downstream_rq_total",
        "rq_total",
    )

    def __init__(self) -> None:
        self.downstream_cx_rx_bytes_total: int = 0
        self.downstream_cx_tx_bytes_total: int = 0
        self.downstream_rq_2xx: int = 0
        self.downstream_rq_active: int = 0
        self.downstream_rq_completed: int = 0
        self.downstream_rq_http1_total: int = 0
        self.downstream_rq_http2_total: int = 0
        self.downstream_rq_total: int = 0
        self.rq_total: int = 0
        self.downstream_rq_time = Histogram()

    def members(self) -> tuple[str, ...]:
        return (
            "downstream_cx_rx_bytes_total",
            "downstream_cx_tx_bytes_total",
            "downstream_rq_2xx",
            "downstream_rq_active",
            "downstream_rq_completed",
            "downstream_rq_http1_total",
            "downstream_rq_http2_total",
            "downstream_rq_time",
            "downstream_rq_total",
            "rq_total",
        )


class ClusterHot:
    """Of a cluster: `cluster.<name>`."""

    __slots__ = (
        "outcomes",
        "upstream_cx_rx_bytes_total",
        "upstream_cx_tx_bytes_total",
        "upstream_rq_active",
        "upstream_rq_completed",
        "upstream_rq_time",
        "upstream_rq_total",
    )

    def __init__(self) -> None:
        self.upstream_cx_rx_bytes_total: int = 0
        self.upstream_cx_tx_bytes_total: int = 0
        self.upstream_rq_active: int = 0
        self.upstream_rq_completed: int = 0
        self.upstream_rq_total: int = 0
        self.upstream_rq_time = Histogram()
        self.outcomes: dict[int, int] = {}

    def members(self) -> tuple[str, ...]:
        return (
            "outcomes",
            "upstream_cx_rx_bytes_total",
            "upstream_cx_tx_bytes_total",
            "upstream_rq_active",
            "upstream_rq_completed",
            "upstream_rq_time",
            "upstream_rq_total",
        )


class CodesHot:
    """Of a listener's connection manager: `listener.<address>.http.<stat_prefix>`."""

    __slots__ = ("downstream_rq_2xx", "downstream_rq_completed")

    def __init__(self) -> None:
        self.downstream_rq_2xx: int = 0
        self.downstream_rq_completed: int = 0

    def members(self) -> tuple[str, ...]:
        return ("downstream_rq_2xx", "downstream_rq_completed")
