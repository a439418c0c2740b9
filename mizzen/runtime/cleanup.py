"""Takes away all that a home's node has on this machine: containers, supervisor, mounts, interfaces, rules, cgroups, namespaces.

Works from what is there, by the home's tag, whoever made it and however that one ended; doing it twice is no error.
Kept: the home's other files: keys, stores, images.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from mizzen.cni.bridge import remove_interfaces
from mizzen.cni.hostrules import remove_chains
from mizzen.cni.names import cgroup_root, chain_prefix, home_tag
from mizzen.cni.netns import umount
from mizzen.runtime.cri.rootfs import mounts_below
from mizzen.runtime.cri.runtime import remove_cgroup

WAIT_S = 5.0


def cleanup(home: Path, *, runc: str = "runc") -> None:
    """Removes all of it. Raises OSError when the kernel refuses to let something go."""
    home = home.resolve()
    tag = home_tag(home)
    root = home / "cri"
    for name in _containers(root):
        subprocess.run(
            [runc, "--root", str(root / "runc"), "delete", "--force", name], capture_output=True, check=False
        )
    _end_supervisor(root)
    for point in mounts_below(str(home), Path("/proc/self/mountinfo").read_text()):
        umount(point)
    remove_interfaces(tag)
    with contextlib.suppress(FileNotFoundError):
        remove_chains(chain_prefix(tag))
    _cgroups(cgroup_root(tag))
    _records(home)


def _containers(root: Path) -> list[str]:
    folder = root / "runc"
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _end_supervisor(root: Path) -> None:
    path = root / "shim.sock"
    if not path.exists():
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WAIT_S)
        sock.connect(str(path))
        pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        process = os.pidfd_open(pid)
        try:
            sock.sendall(json.dumps({"op": "quit"}).encode() + b"\n")
            while sock.recv(65536):
                pass
            select.select([process], [], [], WAIT_S)  # it lets go of the socket before it has ended
        finally:
            os.close(process)
    path.unlink(missing_ok=True)


def _records(home: Path) -> None:
    """What the runtime, the kubelet and the address book wrote down of pods that are gone now; unpacked layers stay."""
    for folder in (home / "cni" / "ipam", home / "cni" / "ports", home / "kubelet" / "pods"):
        shutil.rmtree(folder, ignore_errors=True)
    root = home / "cri"
    if root.is_dir():
        for path in root.iterdir():
            if path.is_dir() and path.name != "layers":
                shutil.rmtree(path, ignore_errors=True)


def _cgroups(root: str) -> None:
    """The home's cgroups; what still runs in them is killed first."""
    deadline = time.monotonic() + WAIT_S
    while pids := _pids(root):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    remove_cgroup(root)


def _pids(root: str) -> set[int]:
    found: set[int] = set()
    for base in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()):
        top = base / root.strip("/")
        if top.is_dir():
            for path in [top, *top.rglob("*")]:
                procs = path / "cgroup.procs"
                if path.is_dir() and procs.exists():
                    with contextlib.suppress(OSError):
                        found |= {int(pid) for pid in procs.read_text().split()}
    return found
