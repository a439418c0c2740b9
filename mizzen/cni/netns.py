"""Network namespaces: enter one for a moment, make and remove persistent ones.

A namespace is named by a path (a bind mount of /proc/PID/ns/net). Entering is per thread, so code inside `inside` must not
await: the thread would carry the wrong namespace to other tasks.
Source: setns(2), unshare(2), mount(2), network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError with errno for a C call that answered below zero."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def setns(fd: int, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace that fd refers to."""
    check(_libc.setns(fd, kind), "setns")


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces."""
    check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    code = _libc.mount(
        source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    check(code, f"mount {kind or 'bind'} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2); a target that is not mounted, or absent, is no error."""
    if _libc.umount2(target.encode(), flags) < 0 and (code := ctypes.get_errno()) not in (2, 22):
        raise OSError(code, f"umount {target}: {os.strerror(code)}")


@contextmanager
def inside(path: str | Path) -> Iterator[None]:
    """Run the block in the network namespace at path; the calling thread is moved back afterwards."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            setns(home)
    finally:
        os.close(home)


def pin(pid: int, kind: str, path: Path) -> None:
    """Bind-mount a process's namespace (`net`, `ipc`, `uts`) on path, so that it outlives the process."""
    path.touch()
    mount(f"/proc/{pid}/ns/{kind}", str(path), flags=MS_BIND)


def unpin(path: Path) -> None:
    """Undo `pin`; absent is fine."""
    umount(str(path))
    path.unlink(missing_ok=True)


def create(path: Path) -> None:
    """Make a persistent network namespace at path; the calling thread stays where it is."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        try:
            path.touch()
            mount("/proc/thread-self/ns/net", str(path), flags=MS_BIND)
        finally:
            setns(home)
    finally:
        os.close(home)
