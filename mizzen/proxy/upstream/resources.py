"""Circuit breakers: how much of each kind a cluster may have under way at one priority.

`Resources` counts; the pools and the router ask before they take. Not here: what an overflow looks like to a client.
Source: envoy.config.cluster.v3.CircuitBreakers.
"""

from __future__ import annotations

from typing import Any, Final

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.config.values import wrapped
from mizzen.proxy.stats.store import Group, Store

DEFAULT: Final = 0
HIGH: Final = 1
PRIORITY_NAMES: Final = ("default", "high")


class Resources:
    """Limits and counts of one cluster at one priority."""

    __slots__ = (
        "budget_percent",
        "connections",
        "group",
        "max_connections",
        "max_pending",
        "max_requests",
        "max_retries",
        "min_retries",
        "pending",
        "requests",
        "retries",
        "track_remaining",
    )

    def __init__(self, group: Any, message: Any = None) -> None:
        self.group: Any = group  # a stats Group
        self.connections = self.pending = self.requests = self.retries = 0
        self.max_connections: int = 1024
        self.max_pending: int = 1024
        self.max_requests: int = 1024
        self.max_retries: int = 3
        self.budget_percent: float | None = None
        self.min_retries = 3
        self.track_remaining = False
        if message is not None:
            self._read(message)
        self.publish()

    def _read(self, message: Any) -> None:
        self.max_connections = wrapped(message, "max_connections", 1024)
        self.max_pending = wrapped(message, "max_pending_requests", 1024)
        self.max_requests = wrapped(message, "max_requests", 1024)
        self.max_retries = wrapped(message, "max_retries", 3)
        self.track_remaining = message.track_remaining
        if message.HasField("max_connection_pools"):
            raise Unsupported("CircuitBreakers.Thresholds.max_connection_pools")
        if message.HasField("retry_budget"):
            budget = message.retry_budget
            self.budget_percent = budget.budget_percent.value if budget.HasField("budget_percent") else 20.0
            self.min_retries = wrapped(budget, "min_retry_concurrency", 3)

    def retry_limit(self) -> int:
        """How many retries may be under way now."""
        if self.budget_percent is None:
            return self.max_retries
        return max(self.min_retries, int((self.requests + self.pending) * self.budget_percent / 100))

    def publish(self) -> None:
        """Bring the gauges up to date; called when somebody looks."""
        group = self.group
        group.cx_open = int(self.connections >= self.max_connections)
        group.rq_pending_open = int(self.pending >= self.max_pending)
        group.rq_open = int(self.requests >= self.max_requests)
        group.rq_retry_open = int(self.retries >= self.retry_limit())
        group.cx_pool_open = 0
        if self.track_remaining:
            group.remaining_cx = max(0, self.max_connections - self.connections)
            group.remaining_pending = max(0, self.max_pending - self.pending)
            group.remaining_rq = max(0, self.max_requests - self.requests)
            group.remaining_retries = max(0, self.retry_limit() - self.retries)
            group.remaining_cx_pools = 2**32 - 1


def unlimited() -> Resources:
    """Resources without limits, that no statistics show."""
    out = Resources(Group(""))
    out.max_connections = out.max_pending = out.max_requests = 1 << 30
    return out


GAUGES: Final = ["cx_open", "cx_pool_open", "rq_open", "rq_pending_open", "rq_retry_open"]
REMAINING: Final = ["remaining_cx", "remaining_cx_pools", "remaining_pending", "remaining_retries", "remaining_rq"]


def resources(store: Store, prefix: str, message: Any) -> tuple[Resources, Resources]:
    """The default and high priority resources that a Cluster's circuit_breakers ask for."""
    given: dict[int, Any] = {}
    for threshold in message.circuit_breakers.thresholds:
        given.setdefault(threshold.priority, threshold)
    if message.circuit_breakers.per_host_thresholds:
        raise Unsupported("Cluster.circuit_breakers.per_host_thresholds")
    default, high = (
        Resources(
            store.group(
                f"{prefix}.circuit_breakers.{name}",
                (),
                [*GAUGES, *REMAINING] if priority in given and given[priority].track_remaining else GAUGES,
            ),
            given.get(priority),
        )
        for priority, name in enumerate(PRIORITY_NAMES)
    )
    return default, high
