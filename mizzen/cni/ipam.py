"""Addresses for pods: host-local style, on disk, safe between processes.

One file per address under a network's directory, holding its owner (`CONTAINER\\nIFNAME`); the address handed out last is
remembered, so that a freed one is not given away at once. All changes are under one flock.
Takes a subnet; gives addresses of it. The network, the gateway (first) and the broadcast address are never given.
Source: CNI's host-local plugin keeps its state in this form.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

LAST = "last_reserved_ip.0"


class NoAddress(Exception):
    """The subnet has no free address."""


class Ipam:
    """The address book of one network."""

    def __init__(self, directory: Path, subnet: str) -> None:
        self.directory = directory
        self.subnet = IPv4Network(subnet)
        self.gateway = self.subnet.network_address + 1

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _entries(self) -> Iterator[tuple[Path, str]]:
        for path in self.directory.iterdir():
            if path.name[0].isdigit():
                yield path, path.read_text()

    def owned(self, container: str, interface: str) -> IPv4Address | None:
        """The address that an owner holds, if any."""
        owner = f"{container}\n{interface}"
        if not self.directory.is_dir():
            return None
        return next((IPv4Address(path.name) for path, text in self._entries() if text == owner), None)

    def add(self, container: str, interface: str) -> IPv4Address:
        """Reserve an address, the one already held if there is one. Raises NoAddress."""
        with self._locked():
            if (held := self.owned(container, interface)) is not None:
                return held
            address = self._next()
            (self.directory / str(address)).write_text(f"{container}\n{interface}")
            (self.directory / LAST).write_text(str(address))
            return address

    def _next(self) -> IPv4Address:
        first, last = int(self.gateway) + 1, int(self.subnet.broadcast_address) - 1
        try:
            start = int(IPv4Address((self.directory / LAST).read_text())) + 1
        except (OSError, ValueError):
            start = first
        if not first <= start <= last:
            start = first
        for value in (*range(start, last + 1), *range(first, start)):
            if not (self.directory / str(IPv4Address(value))).exists():
                return IPv4Address(value)
        raise NoAddress(f"no free address in {self.subnet}")

    def release(self, container: str, interface: str | None = None) -> list[IPv4Address]:
        """Free what an owner holds (all its interfaces when interface is None); nothing held is fine."""
        if not self.directory.is_dir():
            return []
        freed = []
        with self._locked():
            for path, text in list(self._entries()):
                owner, _, name = text.partition("\n")
                if owner == container and interface in (None, name):
                    path.unlink()
                    freed.append(IPv4Address(path.name))
        return freed

    def keep_only(self, containers: set[str]) -> list[IPv4Address]:
        """Free every address whose owner is not among containers (CNI GC)."""
        if not self.directory.is_dir():
            return []
        with self._locked():
            gone = [(path, text.partition("\n")[0]) for path, text in self._entries()]
            stale = [path for path, owner in gone if owner not in containers]
            for path in stale:
                path.unlink()
        return [IPv4Address(path.name) for path in stale]
