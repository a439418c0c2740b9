"""Which resources a change of configuration may touch: by type, and for endpoints and clusters by name.

Takes changes, gives None ("all of this type may differ"), a set of names, or an empty set ("none can"). Erring towards more is
safe: unchanged content is not sent again. Not here: comparing content (collection.py).
Source: which kinds each of istiod's generators skips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mizzen.istiod.hostname import resolve_short
from mizzen.istiod.objects import Change
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.xds.types import CDS, ECDS, EDS, LDS, NDS, RDS, SDS

SECURITY = frozenset({"PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy"})
ENDPOINTS = frozenset({"EndpointSlice"})
EXTENSIONS = frozenset({"Telemetry", "WasmPlugin", "TrafficExtension"})

# What cannot change a resource of the type, whatever the object says.
IGNORED: dict[str, frozenset[str]] = {
    EDS: EXTENSIONS
    | {"Gateway", "VirtualService", "WorkloadGroup", "AuthorizationPolicy", "RequestAuthentication"}
    | {"Secret", "ConfigMap", "ProxyConfig", "EnvoyFilter"},
    CDS: EXTENSIONS | {"WorkloadGroup", "AuthorizationPolicy", "RequestAuthentication", "Secret", "ConfigMap"},
    LDS: frozenset({"WorkloadGroup", "ProxyConfig"}),
    RDS: SECURITY | EXTENSIONS | {"WorkloadGroup", "Secret", "ConfigMap", "ProxyConfig"},
    NDS: SECURITY
    | EXTENSIONS
    | {"Gateway", "VirtualService", "DestinationRule", "EnvoyFilter", "WorkloadGroup", "Secret", "ConfigMap"},
    SDS: frozenset(),
    ECDS: frozenset(),
}
ONLY: dict[str, frozenset[str]] = {
    SDS: frozenset({"Secret", "ConfigMap", "ReferenceGrant", "Gateway", "K8sGateway", "Mesh"}),
    ECDS: EXTENSIONS | {"EnvoyFilter", "Secret", "Mesh"},
}
# Kinds that say which workload a proxy is, or which services it implements.
PLACES = frozenset({"Pod", "WorkloadEntry", "Service", "ServiceEntry", "Node", "EndpointSlice"})


def moves_nodes(changes: Iterable[Change]) -> bool:
    """Whether proxies may have got other labels, places or services by these changes."""
    return any(change.kind in PLACES for change in changes)


def names(
    type_url: str, changes: Collection[Change], before: Snapshot | None, after: Snapshot
) -> Collection[str] | None:
    """The names of a type that the changes may touch; None = all of them.

    EDS names are given as hosts' clusters are told apart by `host_of`: see `Hosts`.
    """
    only, ignored = ONLY.get(type_url), IGNORED.get(type_url, frozenset())
    relevant = [c for c in changes if (c.kind in only if only is not None else c.kind not in ignored)]
    if not relevant or before is None:
        return None if before is None else ()
    if type_url == EDS:
        hosts = _endpoint_hosts(relevant, before, after)
        return None if hosts is None else Hosts(hosts)
    if type_url != EDS and all(c.kind in ENDPOINTS or c.kind == "Pod" for c in relevant):
        return _without_endpoints(before, after)
    return None


class Hosts(set[str]):
    """Cluster names of some hosts; membership is asked by name: `outbound|80|v1|host`, `outbound_.80_.v1_.host`."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(host_of(name))


def host_of(cluster: str) -> str:
    """The host of a cluster's name."""
    if "|" in cluster:
        return cluster.rpartition("|")[2]
    return cluster.rpartition("_.")[2] if "_." in cluster else cluster
