"""Clusters and endpoints as `proxy-config cluster` and `proxy-config endpoint` show them.

Takes Envoy's JSON, gives rows. Not here: fetching it, printing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mizzen.istioctl.envoy_dump import Json, address_of, istio_config

CLUSTER_HEADER = ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE")
ENDPOINT_HEADER = ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER")
EDS_HEADER = ("NAME", "STATUS", "LOCALITY", "CLUSTER")


class ClusterName(NamedTuple):
    """What a cluster's name tells; direction, port and subset are "-" where it tells nothing."""

    direction: str
    port: str
    subset: str
    fqdn: str


def parse_name(name: str) -> ClusterName:
    """`outbound|80|v1|host`, or any other name as the FQDN."""
    parts = name.split("|")
    if len(parts) != 4:
        return ClusterName("-", "-", "-", name)
    direction, port, subset, fqdn = parts
    return ClusterName(direction, port, subset or "-", fqdn)


class ClusterFilter(NamedTuple):
    """Empty fields let everything through."""

    fqdn: str = ""
    direction: str = ""
    subset: str = ""
    port: int = 0

    def wants(self, cluster: Json) -> bool:
        name = parse_name(cluster.get("name", ""))
        return (
            (not self.fqdn or self.fqdn in name.fqdn)
            and (not self.direction or name.direction == self.direction)
            and (not self.subset or name.subset == self.subset)
            and (not self.port or name.port == str(self.port))
        )


def chosen_clusters(clusters: Iterable[Json], wanted: ClusterFilter) -> list[Json]:
    """Those wanted, by FQDN, subset, port, direction."""

    def order(cluster: Json) -> tuple[str, str, int, str]:
        name = parse_name(cluster.get("name", ""))
        return name.fqdn, name.subset, int(name.port) if name.port.isdigit() else 0, name.direction

    return sorted(filter(wanted.wants, clusters), key=order)


def cluster_rows(clusters: Iterable[Json]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for cluster in clusters:
        name = parse_name(cluster.get("name", ""))
        kind = cluster.get("type") or cluster.get("cluster_type", {}).get("name") or "STATIC"
        rows.append((name.fqdn, name.port, name.subset, name.direction, str(kind), istio_config(cluster)))
    return rows


class EndpointFilter(NamedTuple):
    """Empty fields let everything through."""

    address: str = ""
    port: int = 0
    cluster: str = ""
    status: str = ""

    def wants(self, row: Endpoint) -> bool:
        return (
            self.address in ("", row.address)
            and self.port in (0, row.port)
            and self.cluster in ("", row.cluster)
            and (not self.status or row.status.lower() == self.status.lower())
        )


class Endpoint(NamedTuple):
    """One endpoint of a cluster. outlier: OK or FAILED."""

    address: str
    port: int
    cluster: str
    status: str
    outlier: str = "OK"
    locality: str = ""

    @property
    def text(self) -> str:
        return f"{self.address}:{self.port}" if self.port else self.address


def endpoints(clusters_json: Mapping[str, Any]) -> list[Endpoint]:
    """The endpoints in /clusters?format=json."""
    rows = []
    for cluster in clusters_json.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            address, port = address_of(host.get("address", {}))
            health = host.get("health_status", {})
            outlier = "FAILED" if health.get("failed_outlier_check") else "OK"
            status = health.get("eds_health_status", "UNKNOWN")
            rows.append(Endpoint(address, port, cluster["name"], status, outlier))
    return rows


def configured(assignments: Iterable[Json]) -> list[Endpoint]:
    """The endpoints in the dump of ClusterLoadAssignments."""
    rows = []
    for assignment in assignments:
        for group in assignment.get("endpoints", ()):
            place = group.get("locality", {})
            locality = "/".join(filter(None, (place.get("region"), place.get("zone"), place.get("sub_zone"))))
            for one in group.get("lb_endpoints", ()):
                address, port = address_of(one.get("endpoint", {}).get("address", {}))
                status = one.get("health_status", "HEALTHY")
                rows.append(Endpoint(address, port, assignment["cluster_name"], status, "OK", locality))
    return rows


def chosen_endpoints(found: Iterable[Endpoint], wanted: EndpointFilter) -> list[Endpoint]:
    return sorted(filter(wanted.wants, found))


def endpoint_rows(found: Iterable[Endpoint]) -> list[tuple[str, ...]]:
    return [(row.text, row.status, row.outlier, row.cluster) for row in found]


def eds_rows(found: Iterable[Endpoint]) -> list[tuple[str, ...]]:
    return [(row.text, row.status, row.locality, row.cluster) for row in found]
