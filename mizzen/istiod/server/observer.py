"""What the ADS server tells, as metrics; and what is looked up when metrics are read.

Not here: the metrics' definitions (metrics.py).
"""

from __future__ import annotations

import time
from collections import Counter

import grpc

import mizzen
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.types import short_name

VERSION = "1.32.0"
"""The version of Istio whose behaviour is served; proxies and istioctl compare theirs with it."""


MAX_NOTED = 10_000
CODES = {
    status.value[0]: "".join(word.capitalize() for word in status.name.split("_")) for status in grpc.StatusCode
} | {0: "OK", 1: "Canceled"}


class MetricsObserver:
    """An xds.hub.Observer."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._sizes: dict[str, list[int]] = {}  # told for every response, so only noted; counted when metrics are read
        self._convergence: list[float] = []
        metrics.collectors.append(self._count)

    def pushed(self, type_url: str, size: int) -> None:
        noted = self._sizes.get(type_url)
        if noted is None:
            noted = self._sizes[type_url] = []
        noted.append(size)
        if len(noted) >= MAX_NOTED:
            self._count()

    def _count(self) -> None:
        for seconds in self._convergence:
            self._metrics.observe("pilot_proxy_convergence_time", seconds)
        self._convergence.clear()
        noted, self._sizes = self._sizes, {}
        for type_url, sizes in noted.items():
            self._metrics.add("pilot_xds_pushes", len(sizes), type=short_name(type_url).lower())
            for size in sizes:
                self._metrics.observe("pilot_xds_config_size_bytes", size, type=type_url)

    def converged(self, seconds: float) -> None:
        self._convergence.append(seconds)
        if len(self._convergence) >= MAX_NOTED:
            self._count()

    def rejected(self, type_url: str, node: str, code: int) -> None:
        short = short_name(type_url).lower()
        self._metrics.add("pilot_total_xds_rejects", type=short)
        if short in ("cds", "eds", "lds", "rds"):
            self._metrics.add(f"pilot_xds_{short}_reject", node=node, err=CODES.get(code, f"Code({code})"))

    def expired(self, type_url: str) -> None:
        self._metrics.add("pilot_xds_expired_nonce", type=short_name(type_url).lower())


def collector(metrics: Metrics, hub: Hub) -> None:
    """Add what is looked up when the metrics are read."""
    started = time.monotonic()

    def collect() -> None:
        metrics.set("pilot_info", 1, version=VERSION)
        metrics.set("istio_build", 1, component="pilot", tag=mizzen.__version__)
        metrics.set("istiod_uptime_seconds", time.monotonic() - started)
        versions = Counter(c.raw.text("ISTIO_VERSION") or "unknown" for c in hub.connections.values())
        metrics.clear("pilot_xds")
        for version, count in versions.items():
            metrics.set("pilot_xds", count, version=version)
        if hub.snapshot is not None:
            metrics.set("pilot_services", len(hub.snapshot.registry.services))
            metrics.set("pilot_virt_services", len(hub.snapshot.objects.table("VirtualService")))

    metrics.collectors.append(collect)
