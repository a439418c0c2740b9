"""What must be there before anything is started: one clear line for each thing that is not, with its remedy.

Takes what is to be run, gives problems; starts and changes nothing.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterable
from typing import NamedTuple


class Problem(NamedTuple):
    """What is missing, and what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


PROGRAMS = {
    "ip": "iproute2",
    "iptables": "iptables",
    "iptables-restore": "iptables",
    "runc": "runc",
}
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def check(ports: Iterable[tuple[str, int, str]], programs: dict[str, str] | None = None) -> list[Problem]:
    """Everything that stands in the way. ports: (address, TCP port, what it is for)."""
    problems = []
    if sys.platform != "linux":
        return [Problem(f"this is {sys.platform}", "mizzen up needs Linux (network namespaces, overlayfs, iptables)")]
    if os.geteuid() != 0:
        problems.append(Problem("not root", "pods need network namespaces and mounts; run with sudo"))
    path = f"{os.environ.get('PATH', '')}:{SBIN}"
    for program, package in (PROGRAMS if programs is None else programs).items():
        if shutil.which(program, path=path) is None:
            problems.append(Problem(f"{program} is not installed", f"apt-get install {package}"))
    if not os.path.isdir("/sys/fs/cgroup"):
        problems.append(Problem("no cgroup file system", "mount it at /sys/fs/cgroup"))
    for address, port, purpose in ports:
        if (problem := _port(address, port, purpose)) is not None:
            problems.append(problem)
    return problems


def _port(address: str, port: int, purpose: str) -> Problem | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Problem(
                    f"port {port} ({purpose}) is taken", f"stop what listens there: ss -ltnp 'sport = :{port}'"
                )
            if error.errno == errno.EADDRNOTAVAIL:
                return None  # the bridge's address: it does not exist yet
            return Problem(f"port {port} ({purpose}): {error.strerror}", "choose another address or run as root")
    return None
