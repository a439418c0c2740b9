"""The resource types of xDS: their URLs, short names, which have wildcard semantics, and the order they are pushed in.

Facts only; every other file of this folder reads them from here.
"""

from __future__ import annotations

PREFIX = "type.googleapis.com/"
CDS = PREFIX + "envoy.config.cluster.v3.Cluster"
EDS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = PREFIX + "envoy.config.listener.v3.Listener"
RDS = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SDS = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
ECDS = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
NDS = PREFIX + "istio.networking.nds.v1.NameTable"
PCDS = PREFIX + "istio.mesh.v1alpha1.ProxyConfig"
HEALTH = PREFIX + "istio.v1.HealthInformation"
DEBUG = "istio.io/debug"

SHORT_NAMES = {
    CDS: "CDS",
    EDS: "EDS",
    LDS: "LDS",
    RDS: "RDS",
    SDS: "SDS",
    ECDS: "ECDS",
    NDS: "NDS",
    PCDS: "PCDS",
}

# A request without names means "nothing" for these, and "everything" for every other type.
NAMED = frozenset({EDS, RDS, SDS, ECDS})

# Served out of the mesh's snapshot. (PCDS only with ISTIO_MULTIROOT_MESH: without it the subscription is kept, no answer
# comes, as from Istio's.)
SERVED = frozenset({CDS, EDS, LDS, RDS, SDS, ECDS, NDS, PCDS})

# Clusters before what refers to them, endpoints before the listeners that would use them; the rest in any order.
PUSH_ORDER = (CDS, EDS, LDS, RDS, SDS, NDS, ECDS, PCDS)
ORDER = {url: position for position, url in enumerate(PUSH_ORDER)}


def short_name(type_url: str) -> str:
    """CDS, EDS, …; the URL itself for a type without one."""
    return SHORT_NAMES.get(type_url, type_url)


def host_of(cluster: str) -> str:
    """The host in a cluster's name: `outbound|80|v1|host`, `outbound_.80_.v1_.host`; another name as it is."""
    if "|" in cluster:
        return cluster.rpartition("|")[2]
    return cluster.rpartition("_.")[2] if "_." in cluster else cluster


def is_debug(type_url: str) -> bool:
    return type_url == DEBUG or type_url.startswith(DEBUG + "/")
