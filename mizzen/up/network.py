"""Which addresses a mesh on this machine uses: a pod subnet, a service range and the host's address on the pods' bridge.

Each home gets an index of its own from 0 to 15, so that meshes of several homes do not meet: pods 10.244.INDEX.0/24, Services
10.(96 + INDEX).0.0/16. The index is remembered in the home; a fresh home takes the first that no interface and no other home uses.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mizzen.api.errors import UsageError
from mizzen.cni.names import bridge_name, home_tag

INDEXES = range(16)


class Addresses(msgspec.Struct, frozen=True):
    """What belongs to one index."""

    index: int

    @property
    def pods(self) -> str:
        return f"10.244.{self.index}.0/24"

    @property
    def services(self) -> str:
        return f"10.{96 + self.index}.0.0/16"

    @property
    def host(self) -> str:
        """This machine, as pods reach it: the bridge's own address."""
        return f"10.244.{self.index}.1"

    @property
    def dns(self) -> str:
        return f"10.{96 + self.index}.0.10"


def taken(addresses: list[str]) -> set[int]:
    """The indexes whose pod subnet or service range an address or route of this machine lies in."""
    networks = [ipaddress.ip_network(text, strict=False) for text in addresses]
    return {
        index
        for index in INDEXES
        if any(
            network.prefixlen > 8 and network.overlaps(ipaddress.ip_network(own))
            for network in networks
            for own in (Addresses(index).pods, Addresses(index).services)
        )
    }


def _routes(but: str) -> list[str]:
    """Destinations of this machine's IPv4 routes, but for those of one interface."""
    text = subprocess.run(["ip", "-j", "-4", "route"], capture_output=True, check=True, text=True).stdout
    routes = json.loads(text or "[]")
    return [route["dst"] for route in routes if route["dst"] != "default" and route.get("dev") != but]


LOCK = Path("/run/mizzen-network.lock")


@contextlib.contextmanager
def reserved(home: Path) -> Iterator[Addresses]:
    """The home's addresses, while no other mesh can choose any: hold it until the bridge is there.

    As remembered in the home, else the first free ones. Raises UsageError when none are free, or another mesh has the home's.
    """
    remembered = home / "network"
    with open(LOCK, "a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        used = taken(_routes(but=bridge_name(home_tag(home))))
        if remembered.exists():
            index = int(remembered.read_text())
            if index in used:
                raise UsageError(
                    f"{Addresses(index).pods} is in use on this machine, perhaps by another mesh: mizzen down it first"
                )
        else:
            found = next((i for i in INDEXES if i not in used), None)
            if found is None:
                raise UsageError(
                    "all pod subnets 10.244.0.0/24 … 10.244.15.0/24 are in use on this machine: mizzen down the others"
                )
            index = found
            remembered.write_text(f"{index}\n")
        yield Addresses(index)
