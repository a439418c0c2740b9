"""Outlier detection: which hosts of one cluster are ejected, and until when.

Counts failures per host; a host over a limit leaves the balancing set for base_ejection_time times its number of
ejections. `result` takes request outcomes, `local` outcomes of connecting; a timer puts hosts back.
Not here: active checks (health.py), limits on concurrency (resources.py). Source: envoy.config.cluster.v3.OutlierDetection.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

from mizzen.proxy.config.values import seconds, wrapped
from mizzen.proxy.stats.names import OUTLIER_COUNTERS
from mizzen.proxy.upstream.host import FAILED_OUTLIER, Host

if TYPE_CHECKING:
    from mizzen.proxy.upstream.cluster import Cluster

GATEWAY: Final = (502, 503, 504)
# kinds of ejection, as in the names of statistics
FIVE_XX: Final = "consecutive_5xx"
GATEWAY_FAILURE: Final = "consecutive_gateway_failure"
LOCAL_ORIGIN: Final = "consecutive_local_origin_failure"
SUCCESS_RATE: Final = "success_rate"
LOCAL_SUCCESS_RATE: Final = "local_origin_success_rate"
FAILURE_PERCENTAGE: Final = "failure_percentage"
LOCAL_FAILURE_PERCENTAGE: Final = "local_origin_failure_percentage"


class HostState:
    """Failures of one host."""

    __slots__ = (
        "backoff",
        "ejected_at",
        "ejections",
        "five_xx",
        "gateway",
        "local",
        "local_rate",
        "local_success",
        "local_total",
        "rate",
        "success",
        "total",
    )

    def __init__(self) -> None:
        self.five_xx = self.gateway = self.local = 0
        self.success = self.total = self.local_success = self.local_total = 0
        self.rate = self.local_rate = -1.0  # percent of the last interval; -1 when there were too few requests
        self.ejected_at: float | None = None
        self.ejections = 0
        self.backoff = 0


class Detector:
    """Outlier detection of one cluster."""

    def __init__(self, message: Any, cluster: Cluster) -> None:
        self.cluster = cluster
        self.stats: Any = cluster.server.stats.group(
            f"{cluster.stat_prefix}.outlier_detection", OUTLIER_COUNTERS, ["ejections_active"]
        )
        self.interval = seconds(message.interval) if message.HasField("interval") else 10.0
        self.base_time = seconds(message.base_ejection_time) if message.HasField("base_ejection_time") else 30.0
        self.max_time = (
            seconds(message.max_ejection_time) if message.HasField("max_ejection_time") else max(300.0, self.base_time)
        )
        self.jitter = seconds(message.max_ejection_time_jitter) if message.HasField("max_ejection_time_jitter") else 0.0
        self.max_percent = wrapped(message, "max_ejection_percent", 10)
        self.always_one = wrapped(message, "always_eject_one_host", False)
        self.split = bool(message.split_external_local_origin_errors)
        self.limits = {
            FIVE_XX: (wrapped(message, "consecutive_5xx", 5), wrapped(message, "enforcing_consecutive_5xx", 100)),
            GATEWAY_FAILURE: (
                wrapped(message, "consecutive_gateway_failure", 5),
                wrapped(message, "enforcing_consecutive_gateway_failure", 0),
            ),
            LOCAL_ORIGIN: (
                wrapped(message, "consecutive_local_origin_failure", 5),
                wrapped(message, "enforcing_consecutive_local_origin_failure", 100),
            ),
        }
        self.message = message
        self.timer: Any = None

    def add(self, host: Host) -> None:
        if host.outlier is None:
            host.outlier = HostState()
        if self.timer is None:
            self.timer = self.cluster.loop.call_later(self.interval, self._tick)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def result(self, host: Host, status: int) -> None:
        """A host answered with this HTTP status."""
        state: HostState | None = host.outlier
        if state is None:
            return
        state.total += 1
        if status < 500:
            state.five_xx = state.gateway = 0
            state.success += 1
            if not self.split:
                state.local = 0
            return
        if status in GATEWAY:
            state.gateway += 1
            if state.gateway == self.limits[GATEWAY_FAILURE][0]:
                self._detected(host, GATEWAY_FAILURE)
                state.gateway = 0
        else:
            state.gateway = 0
        state.five_xx += 1
        if state.five_xx == self.limits[FIVE_XX][0]:
            self._detected(host, FIVE_XX)
            state.five_xx = 0

    def local(self, host: Host, success: bool, status: int = 503) -> None:
        """A connection to a host came about, or failed (time-outs count as status 504)."""
        state: HostState | None = host.outlier
        if state is None:
            return
        if not self.split:
            if not success:
                self.result(host, status)
            return
        state.local_total += 1
        if success:
            state.local = 0
            state.local_success += 1
            return
        state.local += 1
        if state.local == self.limits[LOCAL_ORIGIN][0]:
            self._detected(host, LOCAL_ORIGIN)
            state.local = 0

    def _detected(self, host: Host, kind: str) -> None:
        self.cluster.loop.call_soon(self.eject, host, kind, self.limits[kind][1])

    def eject(self, host: Host, kind: str, enforcing: int) -> None:
        """Take a host out, if that is enforced and not too many are out already."""
        state: HostState = host.outlier
        if host.flags & FAILED_OUTLIER or self.cluster.hosts.get(host.key) is not host:
            return
        stats = self.stats
        stats.counter(f"ejections_detected_{kind}")
        stats.ejections_total += 1
        hosts = self.cluster.hosts.values()
        out = sum(1 for each in hosts if each.flags & FAILED_OUTLIER)
        allowed = (out + 1) * 100 / max(1, len(hosts)) <= self.max_percent or (self.always_one and not out)
        if not allowed:
            stats.ejections_overflow += 1
            return
        if random.randrange(100) >= enforcing:
            return
        if kind == FIVE_XX:
            stats.ejections_consecutive_5xx += 1
        stats.counter(f"ejections_enforced_{kind}")
        stats.ejections_enforced_total += 1
        stats.ejections_active += 1
        host.flags |= FAILED_OUTLIER
        state.ejected_at = time.monotonic()
        state.ejections += 1
        state.backoff += 1
        self.cluster.refresh()

    def ejection_time(self, state: HostState) -> float:
        return (
            min(self.base_time * max(1, state.backoff), max(self.max_time, self.base_time))
            + random.random() * self.jitter
        )

    def _tick(self) -> None:
        self.timer = self.cluster.loop.call_later(self.interval, self._tick)
        now = time.monotonic()
        back = False
        for host in self.cluster.hosts.values():
            state: HostState | None = host.outlier
            if state is None:
                continue
            if host.flags & FAILED_OUTLIER and state.ejected_at is not None:
                if now - state.ejected_at >= self.ejection_time(state):
                    host.flags &= ~FAILED_OUTLIER
                    state.ejected_at = None
                    state.five_xx = state.gateway = state.local = 0
                    self.stats.ejections_active -= 1
                    back = True
            elif state.backoff:
                state.backoff -= 1
        self.sweep_rates()
        if back:
            self.cluster.refresh()

    def sweep_rates(self) -> None:
        """Success rates and failure percentages of the interval that ends now."""
        message = self.message
        hosts = list(self.cluster.hosts.values())
        volume = wrapped(message, "success_rate_request_volume", 100)
        minimum = wrapped(message, "success_rate_minimum_hosts", 5)
        self._rates(hosts, False, volume, minimum)
        if self.split:
            self._rates(hosts, True, volume, minimum)
        for host in hosts:
            state = host.outlier
            if state is not None:
                state.success = state.total = state.local_success = state.local_total = 0

    def _rates(self, hosts: list[Host], local: bool, volume: int, minimum: int) -> None:
        message = self.message
        rated: list[tuple[Host, float, int]] = []
        for host in hosts:
            state = host.outlier
            if state is None:
                continue
            total = state.local_total if local else state.total
            success = state.local_success if local else state.success
            rate = 100.0 * success / total if total and total >= volume else -1.0
            if local:
                state.local_rate = rate
            else:
                state.rate = rate
            if total:
                rated.append((host, 100.0 * success / total, total))
        enough = [(host, rate) for host, rate, total in rated if total >= volume and not host.flags & FAILED_OUTLIER]
        if enough and len(enough) >= minimum:
            mean = sum(rate for _, rate in enough) / len(enough)
            deviation = (sum((rate - mean) ** 2 for _, rate in enough) / len(enough)) ** 0.5
            threshold = mean - deviation * wrapped(message, "success_rate_stdev_factor", 1900) / 1000
            enforcing = wrapped(
                message, "enforcing_local_origin_success_rate" if local else "enforcing_success_rate", 100
            )
            for host, rate in enough:
                if rate < threshold:
                    self.eject(host, LOCAL_SUCCESS_RATE if local else SUCCESS_RATE, enforcing)
        limit = wrapped(message, "failure_percentage_threshold", 85)
        enforcing = wrapped(
            message, "enforcing_failure_percentage_local_origin" if local else "enforcing_failure_percentage", 0
        )
        needed = wrapped(message, "failure_percentage_request_volume", 50)
        candidates = [
            (host, rate) for host, rate, total in rated if total >= needed and not host.flags & FAILED_OUTLIER
        ]
        if len(candidates) >= wrapped(message, "failure_percentage_minimum_hosts", 5):
            for host, rate in candidates:
                if 100 - rate >= limit:
                    self.eject(host, LOCAL_FAILURE_PERCENTAGE if local else FAILURE_PERCENTAGE, enforcing)
