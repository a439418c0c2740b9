"""The services of an egress listener that have one port, the same value again for the same services.

Takes the services in order of precedence, gives them by host. Not here: who sees which service.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from mizzen.istiod.registry.model import Service

NO_NAMESPACE = "-"
"""Stands where a proxy's DNS domain has no namespace: no service's is called so."""
KEPT_PER_PORT = 32


class PortServices:
    """by_host: each with the one port only, or with all for port 0; namespaces: of hosts that have one in their name."""

    def __init__(self, source: tuple[Service, ...], by_host: Mapping[str, Service]) -> None:
        self.source = source
        self.by_host = by_host
        self.namespaces = frozenset(_namespace(host) for host in by_host)


_kept: dict[int, list[PortServices]] = {}


def port_services(services: tuple[Service, ...], port: int) -> PortServices:
    """The services that have a port; all of them for port 0. Of several with one host the last counts.

    Snapshots share Service objects, so that comparing with what is kept takes microseconds.
    """
    kept = _kept.setdefault(port, [])
    for index, one in enumerate(kept):
        if one.source == services:
            kept.append(kept.pop(index))  # the least recently used stands first
            return one
    made = PortServices(services, _by_host(services, port))
    if len(kept) >= KEPT_PER_PORT:
        del kept[0]
    kept.append(made)
    return made


def _by_host(services: tuple[Service, ...], port: int) -> dict[str, Service]:
    if port == 0:
        return {svc.host: svc for svc in services}
    found = ((svc, svc.port(port)) for svc in services)
    return {svc.host: svc if len(svc.ports) == 1 else replace(svc, ports=(p,)) for svc, p in found if p is not None}


def _namespace(host: str) -> str:
    """The namespace in a Kubernetes service's host name, "" in others."""
    end = host.find(".svc.")
    return host[host.find(".") + 1 : end] if end > 0 else ""
