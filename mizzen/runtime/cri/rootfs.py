"""Root file systems: an overlay per container, and what of the host a container on the host's root must not see.

Takes an image and a container's directory; mounts and unmounts. `masks` is pure: tmpfs over the host's private places,
and the interpreter's own paths bound back in where a mask or a closed directory hides them.
Source: overlayfs (kernel Documentation/filesystems/overlayfs.rst).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mizzen
from mizzen.cni.netns import mount, umount
from mizzen.runtime.cri.images import Image

# Not for pods: the host's scratch space, sockets, and people's files.
PRIVATE = ("/tmp", "/run", "/root", "/home", "/var/lib/docker", "/var/lib/containerd", "/var/log")


def needed_paths() -> list[str]:
    """Directories that our own Python needs at run time: its prefixes and where our packages are."""
    package = Path(mizzen.__file__).resolve().parents[1]
    wanted = {sys.prefix, sys.base_prefix, str(package), str(Path(sys.executable).resolve().parents[1])}
    wanted |= {path for path in sys.path if path and os.path.isdir(path)}
    kept: list[str] = []
    for path in sorted(os.path.realpath(p) for p in wanted):
        if path not in ("/", "/usr", "/usr/local") and not any(path.startswith(k + "/") for k in kept):
            kept.append(path)
    return kept


def _closed_ancestor(path: str) -> str | None:
    """The topmost directory above path that others may not enter."""
    for parent in reversed(Path(path).parents):
        if not parent.stat().st_mode & 0o001:
            return str(parent)
    return None


def _tmpfs(path: str, mode: str = "0755") -> dict[str, Any]:
    options = ["nosuid", "nodev", f"mode={mode}"]
    return {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": options}


def masks(home: str, needed: list[str]) -> list[dict[str, Any]]:
    """OCI mounts for a container on the host's root.

    home: the mesh's home, hidden always. needed: paths that must be seen, read-only, by any user.
    """
    hidden = {path for path in PRIVATE if os.path.isdir(path) and not os.path.islink(path)}
    hidden |= {closed for path in needed if (closed := _closed_ancestor(path)) is not None}
    if os.path.isdir(home) and not any(path == home or path.startswith(home + "/") for path in needed):
        hidden.add(home)
    tops = [p for p in sorted(hidden) if not any(p.startswith(q + "/") for q in hidden)]
    mounts = [_tmpfs(path, "1777" if path == "/tmp" else "0755") for path in tops]
    root_device = os.stat("/").st_dev
    back = [p for p in needed if any(p == q or p.startswith(q + "/") for q in tops) or os.stat(p).st_dev != root_device]
    options = ["rbind", "ro", "rprivate"]
    return mounts + [{"destination": path, "type": "bind", "source": path, "options": options} for path in back]


def pilot_agent(root: Path) -> dict[str, Any]:
    """The OCI mount of an executable `pilot-agent`, as Istio's image has it: hooks and probes of injected pods call it.

    root: where the script is written.
    """
    root.mkdir(parents=True, exist_ok=True)
    script = root / "pilot-agent"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m mizzen agent "$@"\n')
    script.chmod(0o755)
    options = ["bind", "ro", "rprivate"]
    return {"destination": "/usr/local/bin/pilot-agent", "type": "bind", "source": str(script), "options": options}


def mount_rootfs(image: Image, directory: Path) -> Path:
    """Mount a container's root at directory/rootfs; its writable layer lies beside it."""
    root, upper, work = directory / "rootfs", directory / "upper", directory / "work"
    for path in (root, upper, work):
        path.mkdir(exist_ok=True)
    lower = ":".join(reversed(image.layers))
    data = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        mount("overlay", str(root), "overlay", 0, data)
    except OSError as error:
        if error.errno != 22:  # EINVAL: the home is itself on an overlay, which cannot be a writable layer
            raise
        layer = directory / "layer"
        layer.mkdir(exist_ok=True)
        mount("tmpfs", str(layer), "tmpfs", 0, "mode=0755")
        for name in ("upper", "work"):
            (layer / name).mkdir()
        mount("overlay", str(root), "overlay", 0, f"lowerdir={lower},upperdir={layer}/upper,workdir={layer}/work")
    return root


def unmount_rootfs(directory: Path) -> None:
    """Undo `mount_rootfs`; what is not mounted is no error."""
    umount(str(directory / "rootfs"))
    umount(str(directory / "layer"))


def mounts_below(path: str, mountinfo: str) -> list[str]:
    """The mount points at or below path in a /proc/PID/mountinfo text, deepest first."""
    points = [line.split()[4].replace("\\040", " ") for line in mountinfo.splitlines() if line]
    return [p for p in reversed(points) if p == path or p.startswith(path.rstrip("/") + "/")]
