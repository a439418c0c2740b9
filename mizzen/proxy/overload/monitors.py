"""Resource monitors: each tells how much of a resource is used, as a share of what there is (1.0: all of it).

Not here: the limit of client connections, which is asked at every accept (server.py).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from mizzen.proxy.config.errors import ConfigError, Unsupported

KIND = "envoy.extensions.resource_monitors."
PAGE = os.sysconf("SC_PAGE_SIZE")
DAMPENING = 0.05  # of the CPU's utilization: how much a single reading counts
MILLION = 1_000_000


class Monitor(Protocol):
    def pressure(self) -> float:
        """The share in use. Raises OSError or ValueError when it cannot be told."""


class FixedHeap:
    """The process's resident memory beside a limit: Python has no heap whose size tells more."""

    def __init__(self, config: Any) -> None:
        self.limit = config.max_heap_size_bytes
        if not self.limit:
            raise ConfigError("FixedHeapConfig.max_heap_size_bytes: value must be greater than 0")

    def pressure(self) -> float:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE / float(self.limit)


class CgroupMemory:
    """The control group's memory beside its limit, or a lower one that the configuration gives."""

    def __init__(self, config: Any, root: Path = Path("/sys/fs/cgroup")) -> None:
        second = (root / "memory.current").exists()
        self.used = root / ("memory.current" if second else "memory/memory.usage_in_bytes")
        self.most = root / ("memory.max" if second else "memory/memory.limit_in_bytes")
        self.limit = config.max_memory_bytes

    def pressure(self) -> float:
        text = self.most.read_text().strip()
        limits = [int(each) for each in (text, str(self.limit or "max")) if each != "max"]
        return int(self.used.read_text()) / min(limits) if limits else 0.0


class CpuUtilization:
    """The host's processors: time at work beside all time since the last reading, smoothed."""

    def __init__(self, config: Any, stat: Path = Path("/proc/stat")) -> None:
        if config.mode:
            raise Unsupported("CpuUtilizationConfig.mode other than HOST")
        self.stat = stat
        self.smoothed = 0.0
        self.last = self._times()

    def _times(self) -> tuple[int, int]:
        ticks = [int(each) for each in self.stat.read_text().split("\n", 1)[0].split()[1:5]]
        return sum(ticks[:3]), sum(ticks)

    def pressure(self) -> float:
        work, total = self._times()
        passed = total - self.last[1]
        if passed > 0:
            now = (work - self.last[0]) / passed
            self.smoothed = now * DAMPENING + self.smoothed * (1 - DAMPENING)
            self.last = work, total
        return self.smoothed


class InjectedResource:
    """What a file says, for tests."""

    def __init__(self, config: Any) -> None:
        self.path = Path(config.filename)
        if not self.path.exists():
            raise ConfigError(f"InjectedResourceConfig: no file {config.filename}")

    def pressure(self) -> float:
        value = float(self.path.read_text())
        if not 0 <= value <= 1:
            raise ValueError(f"{self.path}: pressure {value} is out of range")
        return value


MONITORS: dict[str, Any] = {
    KIND + "fixed_heap.v3.FixedHeapConfig": FixedHeap,
    KIND + "cgroup_memory.v3.CgroupMemoryConfig": CgroupMemory,
    KIND + "cpu_utilization.v3.CpuUtilizationConfig": CpuUtilization,
    KIND + "injected_resource.v3.InjectedResourceConfig": InjectedResource,
}
