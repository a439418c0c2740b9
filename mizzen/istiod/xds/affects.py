"""Which resources a change of configuration may touch: by type, and for endpoints and clusters by name.

Takes changes, gives None ("all of this type may differ"), a set of names, or an empty set ("none can"). Erring
towards more is safe: unchanged content is not sent again. Not here: comparing content (collection.py). Source:
which kinds each of istiod's generators skips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from functools import lru_cache

from mizzen.istiod.hostname import resolve_host
from mizzen.istiod.node import Node
from mizzen.istiod.objects import Change
from mizzen.istiod.registry.model import Resolution
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.trust import KIND as TRUST
from mizzen.istiod.xds.types import CDS, ECDS, EDS, LDS, NDS, PCDS, RDS, SDS

SECURITY = frozenset({"PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy", "Jwks"})
WORKLOADS = frozenset({"EndpointSlice", "Pod", "WorkloadEntry"})
EXTENSIONS = frozenset({"Telemetry", "WasmPlugin", "TrafficExtension"})

# What cannot change a resource of the type, whatever the object says.
IGNORED: dict[str, frozenset[str]] = {
    EDS: EXTENSIONS
    | {"Gateway", "VirtualService", "WorkloadGroup", "AuthorizationPolicy", "RequestAuthentication", "Jwks"}
    | {"Secret", "ConfigMap", "ProxyConfig", "EnvoyFilter"},
    CDS: EXTENSIONS | {"WorkloadGroup", "AuthorizationPolicy", "RequestAuthentication", "Jwks", "Secret", "ConfigMap"},
    LDS: frozenset({"WorkloadGroup", "ProxyConfig"}),
    RDS: SECURITY | EXTENSIONS | {"WorkloadGroup", "Secret", "ConfigMap", "ProxyConfig"},
    NDS: SECURITY
    | EXTENSIONS
    | {"Gateway", "VirtualService", "DestinationRule", "EnvoyFilter", "WorkloadGroup", "Secret", "ConfigMap"},
    SDS: frozenset(),
    ECDS: frozenset(),
}
ONLY: dict[str, frozenset[str]] = {
    PCDS: frozenset({TRUST}),
    SDS: frozenset({"Secret", "ConfigMap", "ReferenceGrant", "Gateway", "K8sGateway", "Mesh"}),
    ECDS: EXTENSIONS | {"EnvoyFilter", "Secret", "Mesh"},
}


class Moves:
    """Which proxies may have got other labels, another place or other services by some changes. False when none."""

    def __init__(self) -> None:
        self.everyone = False
        self.addresses: set[str] = set()
        self.names: set[str] = set()
        self.namespaces: set[str] = set()

    @classmethod
    def of(cls, changes: Iterable[Change]) -> Moves:
        out = cls()
        for change in changes:
            if change.kind in ("Node", "Mesh"):
                out.everyone = True
            elif change.kind in ("Service", "ServiceEntry", "WorkloadEntry"):
                out.namespaces.add(change.key[0])
            elif change.kind == "Pod":
                out.names.add(f"{change.key[1]}.{change.key[0]}")
            elif change.kind == "EndpointSlice":
                for piece in (change.old, change.obj):
                    for endpoint in (piece.endpoints or ()) if piece is not None else ():
                        out.addresses.update(endpoint.addresses or ())
        return out

    def __bool__(self) -> bool:
        return bool(self.everyone or self.addresses or self.names or self.namespaces)

    def concern(self, node: Node) -> bool:
        return (
            self.everyone
            or node.namespace in self.namespaces
            or node.name in self.names
            or not self.addresses.isdisjoint(node.ips)
        )


def names(
    type_url: str, changes: Collection[Change], before: Snapshot | None, after: Snapshot
) -> Collection[str] | None:
    """The names of a type that the changes may touch (hosts, for EDS); None = all of them."""
    if before is not None and _translated(before, after):
        return None if type_url != EDS else _endpoint_hosts(changes, before, after)
    only, ignored = ONLY.get(type_url), IGNORED.get(type_url, frozenset())
    changes = [c for c in changes if c.kind != TRUST or type_url == PCDS]
    relevant = [c for c in changes if (c.kind in only if only is not None else c.kind not in ignored)]
    if not relevant or before is None:
        return None if before is None else ()
    if type_url == EDS:
        return _endpoint_hosts(relevant, before, after)
    if type_url in (CDS, LDS) and all(map(_routes_http_only, relevant)) and not after.objects.table("Sidecar"):
        return ()
    if all(change.kind in WORKLOADS for change in relevant):
        return () if type_url == RDS or not _seen_beyond_endpoints(before, after) else None
    return None


@lru_cache(maxsize=1)  # asked once for each type of one publication
def _translated(before: Snapshot, after: Snapshot) -> bool:
    """Whether objects translated from the Gateway API or Ingresses differ."""
    return before.translated is not after.translated and before.translated != after.translated


def _routes_http_only(change: Change) -> bool:
    """Whether it is a VirtualService that says nothing about TCP or TLS, before and after.

    It only shows in routes then, unless a Sidecar resource imports what it leads to.
    """
    found = [obj for obj in (change.old, change.obj) if obj is not None]
    return change.kind == "VirtualService" and not any(obj.spec.tcp or obj.spec.tls for obj in found)


@lru_cache(maxsize=1)  # asked once for each type of one publication
def _changed_services(before: Snapshot, after: Snapshot) -> Set[tuple[str, str]]:
    """(host, namespace) of the services whose endpoints differ. Untouched ones are shared between snapshots."""
    return after.registry.changed_endpoints(before.registry)


def _endpoint_hosts(changes: Iterable[Change], before: Snapshot, after: Snapshot) -> set[str] | None:
    """Hosts whose ClusterLoadAssignments may differ; None = any."""
    hosts = {host for host, _ in _changed_services(before, after)}
    domain = after.options.config_domain
    for change in changes:
        if change.kind in ("Service", "ServiceEntry"):
            for registry in (before.registry, after.registry):
                hosts.update(svc.host for svc in registry.sources.get((change.kind, change.key), ()))
        elif change.kind == "DestinationRule":
            found = [
                resolve_host(o.spec.host, change.key[0], domain) for o in (change.old, change.obj) if o is not None
            ]
            if any(host.startswith("*") for host in found):
                return None
            hosts.update(found)
        elif change.kind not in WORKLOADS:
            return None
    return hosts


def _seen_beyond_endpoints(before: Snapshot, after: Snapshot) -> bool:
    """Whether changed endpoints show in clusters, listeners or names too: identities, headless and DNS services."""
    for key in _changed_services(before, after):
        found = [s for s in after.registry.by_host.get(key[0], ()) if s.namespace == key[1]]
        if not found or any(s.resolution is not Resolution.CLIENT_SIDE_LB for s in found):
            return True
        if any(before.service_accounts(svc) != after.service_accounts(svc) for svc in found):
            return True
    return False
