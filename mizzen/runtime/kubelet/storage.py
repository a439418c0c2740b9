"""Limits of local storage: emptyDir.sizeLimit on disk, and limits.ephemeral-storage of containers and of the pod together.

`excess` says what is over its limit, for the pod to be evicted; pure but for `disk_bytes`, which walks a directory.
Not here: memory volumes (the kernel limits them), pressure of the whole node (no pod is evicted for that).
Source: Kubernetes' eviction of pods by local ephemeral storage, and its messages.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from mizzen.api.quantities import whole
from mizzen.kube.resource import Object

STORAGE_S = 10.0  # how often the disk is looked at, seconds
EPHEMERAL = "ephemeral-storage"


class Used(NamedTuple):
    """Bytes on disk: emptyDir volumes by name, containers (writable layer and logs) by name."""

    volumes: dict[str, int]
    containers: dict[str, int]


def disk_bytes(path: Path) -> int:
    """Bytes that a directory's files take on disk; what goes meanwhile does not count. Does not cross into other mounts."""
    total, seen = 0, set[int]()
    for folder, below, files in os.walk(path):
        below[:] = [name for name in below if not os.path.ismount(os.path.join(folder, name))]
        for name in files:
            try:
                info = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            if info.st_ino not in seen:
                seen.add(info.st_ino)
                total += info.st_blocks * 512
    return total


def _limit(container: Object) -> str | None:
    found = ((container.get("resources") or {}).get("limits") or {}).get(EPHEMERAL)
    return None if found is None else str(found)


def disk_volumes(pod: Object) -> dict[str, str | None]:
    """emptyDir volumes on disk, with their limits."""
    found: dict[str, str | None] = {}
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("emptyDir")
        if source is not None and source.get("medium") != "Memory":
            limit = source.get("sizeLimit")
            found[volume["name"]] = None if limit is None else str(limit)
    return found


def limited(pod: Object) -> bool:
    """Whether the pod has any such limit."""
    containers = pod["spec"]["containers"]
    return any(disk_volumes(pod).values()) or any(_limit(one) is not None for one in containers)


def excess(pod: Object, used: Used) -> str:
    """What is over its limit, in words; empty when nothing is."""
    for name, limit in disk_volumes(pod).items():
        if limit is not None and used.volumes.get(name, 0) > whole(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    containers = pod["spec"]["containers"]
    limits = {one["name"]: _limit(one) for one in containers}
    if limits and all(limit is not None for limit in limits.values()):
        most = sum(whole(limit or 0) for limit in limits.values())
        if sum(used.volumes.values()) + sum(used.containers.values()) > most:
            return f"Pod ephemeral local storage usage exceeds the total limit of containers {most}. "
    for name, limit in limits.items():
        if limit is not None and used.containers.get(name, 0) > whole(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""
