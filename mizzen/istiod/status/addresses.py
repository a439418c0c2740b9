"""Virtual addresses of ServiceEntries that give none: allocated by a leader, and kept in the objects' status.

Takes ServiceEntries and what their status holds, gives the addresses that each host should have; an address stays with its
host as long as both are there, and of two entries that hold the same one the older keeps it. Not here: what proxies do with
an address (they use it only when they capture DNS).
Source: istiod's IP auto-allocation; prefixes 240.240.0.0/16 and 2001:2::/48.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mizzen.istiod.config.store import ConfigStore, Live, ObjectKey
from mizzen.istiod.objects import Change, Key, by_age, key_of
from mizzen.istiod.status.writer import StatusWriter

log = logging.getLogger(__name__)

KIND = "ServiceEntry"
PREFIXES = ("240.240.0.0/16", "2001:2::/48")
LABEL = "networking.istio.io/enable-autoallocate-ip"
EVERY_S, RETRY_S = 0.2, 2.0
Given = dict[Key, dict[str, tuple[str, ...]]]
"""By entry: the addresses of each host, one of each prefix."""


def wants(entry: Any) -> bool:
    """Whether a ServiceEntry gets addresses."""
    spec = entry.spec
    off = (entry.metadata.labels or {}).get(LABEL, "").lower() == "false"
    return not off and not spec.addresses and (spec.resolution or "NONE") != "NONE"


def hosts(entry: Any) -> list[str]:
    """The hosts that get addresses: a wildcard has no name to be asked for by."""
    return sorted({host for host in entry.spec.hosts if "*" not in host})


def plan(entries: Sequence[Any], prefixes: Sequence[str] = PREFIXES) -> Given:
    """What every entry's hosts should have. entries: with the status that they have now."""
    networks = [ipaddress.ip_network(prefix) for prefix in prefixes]
    held: Given = {}
    taken: set[str] = set()
    wanting = [entry for entry in by_age(entries) if wants(entry)]
    for entry in wanting:
        kept = {host: _kept(entry, host, networks, taken) for host in hosts(entry)}
        held[key_of(KIND, entry)] = kept
        taken.update(address for addresses in kept.values() for address in addresses if address)
    free = [_free(network, taken) for network in networks]
    out: Given = {}
    for entry in wanting:
        key = key_of(KIND, entry)
        out[key] = {
            host: tuple(old or next(free[n], "") for n, old in enumerate(addresses))
            for host, addresses in held[key].items()
        }
    return out


def _kept(entry: Any, host: str, networks: Sequence[Any], taken: set[str]) -> tuple[str, ...]:
    """What the host has already, "" for what it lacks or another has."""
    status = entry.status.addresses if entry.status is not None else None
    own = [one.value for one in status or () if one.host == host and one.value not in taken]
    return tuple(next((value for value in own if _within(value, network)), "") for network in networks)


def _within(value: str, network: Any) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    return address.version == network.version and address in network


def _free(network: Any, taken: Collection[str]) -> Iterator[str]:
    """Addresses nobody has, in order, from the first that a host can have."""
    for number in range(1, network.num_addresses - 1):
        address = str(network.network_address + number)
        if address not in taken:
            yield address


def status_with(status: Mapping[str, Any], given: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A status with these addresses in it."""
    addresses = [{"value": value, "host": host} for host, values in sorted(given.items()) for value in values if value]
    out = {name: value for name, value in status.items() if name != "addresses"}
    return {**out, "addresses": addresses} if addresses else out


class AddressAllocator:
    """`run` under an election; `published` at each publication."""

    def __init__(self, store: ConfigStore, writer: StatusWriter) -> None:
        self._store, self._writer = store, writer
        self._wake = asyncio.Event()

    def published(self, changes: Collection[Change]) -> None:
        if any(change.kind == KIND for change in changes):
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._round():
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            await asyncio.sleep(EVERY_S)

    async def _round(self) -> bool:
        entries = {key: obj for (kind, key), obj in self._store.objects.items() if kind == KIND}
        given, done = plan(list(entries.values())), True
        for key, entry in entries.items():
            has = entry.status is not None and bool(entry.status.addresses)
            if key in given or has:
                done = await self._write((KIND, key), given.get(key, {})) and done
        return done

    async def _write(self, key: ObjectKey, given: Mapping[str, Sequence[str]]) -> bool:
        def make(live: Live) -> Mapping[str, Any]:
            return status_with(live.status, given)

        return await self._writer.write(key, make)
