"""Statistics of containers and sandboxes: read from cgroups (version 1 or 2) and interface counters."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from mizzen.cni import netns
from mizzen.runtime.cri.store import Container, Sandbox
from mizzen.wire import cri

CGROUPS = Path("/sys/fs/cgroup")


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _pairs(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


def cpu_ns(cgroup: str) -> int | None:
    """CPU time used by a cgroup, in nanoseconds."""
    if (value := _number(Path(f"{CGROUPS}/cpuacct{cgroup}/cpuacct.usage"))) is not None:
        return value
    usage = _pairs(Path(f"{CGROUPS}{cgroup}/cpu.stat")).get("usage_usec")
    return None if usage is None else usage * 1000


def memory_bytes(cgroup: str) -> dict[str, int]:
    """usage, working set (usage less inactive file pages) and resident bytes of a cgroup; {} when unknown."""
    for base, usage, inactive, rss in (
        (f"{CGROUPS}/memory{cgroup}", "memory.usage_in_bytes", "total_inactive_file", "total_rss"),
        (f"{CGROUPS}{cgroup}", "memory.current", "inactive_file", "anon"),
    ):
        if (used := _number(Path(base, usage))) is not None:
            stat = _pairs(Path(base, "memory.stat"))
            return {"usage": used, "working": max(0, used - stat.get(inactive, 0)), "rss": stat.get(rss, 0)}
    return {}


def _value(number: int) -> Any:
    return cri.UInt64Value(value=number)


def _usage(cgroup: str) -> dict[str, Any]:
    now, found = time.time_ns(), dict[str, Any]()
    if (used := cpu_ns(cgroup)) is not None:
        found["cpu"] = cri.CpuUsage(timestamp=now, usage_core_nano_seconds=_value(used))
    if memory := memory_bytes(cgroup):
        found["memory"] = cri.MemoryUsage(
            timestamp=now,
            working_set_bytes=_value(memory["working"]),
            usage_bytes=_value(memory["usage"]),
            rss_bytes=_value(memory["rss"]),
        )
    return found


def container_stats(container: Container) -> Any:
    """CRI's ContainerStats; what the machine does not count is absent."""
    config = container.config
    attributes = cri.ContainerAttributes(
        id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )
    cgroup = ""
    with contextlib.suppress(OSError, ValueError):
        cgroup = json.loads((container.directory / "config.json").read_bytes())["linux"]["cgroupsPath"]
    return cri.ContainerStats(
        attributes=attributes, writable_layer=_layer(container.directory), **(_usage(cgroup) if cgroup else {})
    )


def _layer(directory: Path) -> Any:
    """What a container has written to its root file system: bytes and inodes of the overlay's upper directory."""
    used = inodes = 0
    upper = next((path for path in (directory / "layer" / "upper", directory / "upper") if path.is_dir()), directory)
    for folder, _, files in os.walk(upper) if upper != directory else ():
        for name in files:
            with contextlib.suppress(OSError):
                used += os.lstat(os.path.join(folder, name)).st_blocks * 512
                inodes += 1
    return cri.FilesystemUsage(
        timestamp=time.time_ns(),
        fs_id=cri.FilesystemIdentifier(mountpoint=str(directory)),
        used_bytes=_value(used),
        inodes_used=_value(inodes),
    )


def sandbox_stats(sandbox: Sandbox, containers: list[Container]) -> Any:
    """CRI's PodSandboxStats."""
    config, linux = sandbox.config, dict[str, Any]()
    if config.linux.cgroup_parent:
        linux.update(_usage(config.linux.cgroup_parent))
    if sandbox.namespace("net").exists():
        with contextlib.suppress(OSError):
            linux["network"] = _network(sandbox)
    linux["containers"] = [container_stats(c) for c in containers if c.state.state == cri.CONTAINER_RUNNING]
    attributes = cri.PodSandboxAttributes(
        id=sandbox.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )
    return cri.PodSandboxStats(attributes=attributes, linux=cri.LinuxPodSandboxStats(**linux))


def _network(sandbox: Sandbox) -> Any:
    with netns.inside(sandbox.namespace("net")):
        text = Path("/proc/thread-self/net/dev").read_text()
    for line in text.splitlines():
        name, _, rest = line.strip().partition(":")
        if name == "eth0":
            n = [int(word) for word in rest.split()]
            counts = {"rx_bytes": n[0], "rx_errors": n[2], "tx_bytes": n[8], "tx_errors": n[10]}
            usage = cri.NetworkInterfaceUsage(name=name, **{key: _value(value) for key, value in counts.items()})
            return cri.NetworkUsage(timestamp=time.time_ns(), default_interface=usage)
    return cri.NetworkUsage(timestamp=time.time_ns())


def filesystem_usage(path: Path) -> Any:
    """CRI's FilesystemUsage of the file system that holds path."""
    info = os.statvfs(path)
    used = (info.f_blocks - info.f_bfree) * info.f_frsize
    return cri.FilesystemUsage(
        timestamp=time.time_ns(),
        fs_id=cri.FilesystemIdentifier(mountpoint=str(path)),
        used_bytes=_value(used),
        inodes_used=_value(info.f_files - info.f_ffree),
    )
