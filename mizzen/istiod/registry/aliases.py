"""Services of type ExternalName that name a service of the mesh: further names of that service.

Takes all services, gives them with their aliases filled in. Not here: that an alias has no cluster and listener of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from mizzen.istiod.registry.model import Resolution, Service


def with_aliases(services: Sequence[Service]) -> tuple[Service, ...]:
    """The same services; one that others stand for lists their hosts, sorted by namespace and host."""
    targets = {svc.host: svc.external_name for svc in services if svc.resolution is Resolution.ALIAS}
    if not targets:
        return tuple(services)
    aliases: dict[str, list[tuple[str, str]]] = {}
    for svc in services:
        if svc.resolution is Resolution.ALIAS:
            aliases.setdefault(_concrete(svc.host, targets), []).append((svc.namespace, svc.host))
    return tuple(
        replace(svc, aliases=tuple(host for _, host in sorted(aliases[svc.host])))
        if svc.host in aliases and svc.resolution is not Resolution.ALIAS
        else svc
        for svc in services
    )


def _concrete(host: str, targets: dict[str, str]) -> str:
    """What an alias means in the end; a circle of aliases means one of its own members."""
    seen = set()
    while host in targets and host not in seen:
        seen.add(host)
        host = targets[host]
    return host
