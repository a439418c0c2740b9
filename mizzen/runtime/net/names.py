"""Keeps a Zone in line with the API server's Services and EndpointSlices: rebuilt at the first question after a change."""

from __future__ import annotations

from pathlib import Path

from mizzen.kube.informer import Informers
from mizzen.kube.resource import ENDPOINT_SLICES, SERVICES
from mizzen.runtime.net.zone import Zone


class Names:
    """`zone()`: the names of now."""

    def __init__(self, informers: Informers, domain: str = "cluster.local") -> None:
        self._services, self._slices, self._domain = informers.of(SERVICES), informers.of(ENDPOINT_SLICES), domain
        self._zone: Zone | None = None
        for informer in (self._services, self._slices):
            informer.add_handler(lambda _: self._forget())

    def _forget(self) -> None:
        self._zone = None

    def zone(self) -> Zone:
        if self._zone is None:
            self._zone = Zone(self._services.all(), self._slices.all(), self._domain)
        return self._zone


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The nameservers of a resolv.conf."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    return [words[1] for line in lines if (words := line.split()) and words[0] == "nameserver" and len(words) > 1]
