"""Names of clusters: `outbound|80|v1|host`, `outbound_.80_.v1_.host` (SNI-DNAT, and the SNI of mutual TLS), `inbound|8080||`."""

from __future__ import annotations

from typing import NamedTuple

OUTBOUND, SNI_DNAT = "outbound", "outbound_"
BLACKHOLE, PASSTHROUGH, INBOUND_PASSTHROUGH = "BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"
ALLOW_ANY_DYNAMIC_DNS = "AllowAnyDynamicDNSCluster"


class ClusterName(NamedTuple):
    """direction: outbound (`|` form), outbound_ (`_.` form) or inbound."""

    direction: str
    port: int
    subset: str
    host: str


def outbound_name(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


def sni_name(port: int, subset: str, host: str) -> str:
    """The SNI that clients of the mesh send, and the name of a gateway's cluster for it."""
    return f"outbound_.{port}_.{subset}_.{host}"


def parse_cluster_name(name: str) -> ClusterName | None:
    """The parts of a name; None for a name of another form."""
    if name.startswith("outbound_."):
        parts = name.split("_.", 3)
        parts[0] = SNI_DNAT
    else:
        parts = name.split("|", 3)
    if len(parts) != 4 or not parts[1].isdigit():
        return None
    return ClusterName(parts[0], int(parts[1]), parts[2], parts[3])
