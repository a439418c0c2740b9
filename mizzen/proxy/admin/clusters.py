"""/clusters: every cluster and host with its state and counters, as lines or JSON (envoy.admin.v3.Clusters)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.admin.answers import JSON, Answer, as_json
from mizzen.proxy.upstream.host import Host

if TYPE_CHECKING:
    from mizzen.proxy.server import Server


def clusters(server: Server, query: dict[str, str], body: bytes) -> Answer:
    if query.get("format") == "json":
        return Answer(
            as_json({"cluster_statuses": [cluster_status(server, each) for each in server.clusters.active.values()]}),
            JSON,
        )
    lines: list[str] = []
    for cluster in server.clusters.active.values():
        name = cluster.name
        lines.append(f"{name}::observability_name::{cluster.config.alt_stat_name}")
        if cluster.outlier is not None:
            lines += outlier_lines(name)
        for kind, each in zip(("default", "high"), cluster.resources, strict=True):
            for limit, value in (
                ("max_connections", each.max_connections),
                ("max_pending_requests", each.max_pending),
                ("max_requests", each.max_requests),
                ("max_retries", each.max_retries),
            ):
                lines.append(f"{name}::{kind}_priority::{limit}::{value}")
        lines.append(f"{name}::added_via_api::{str(cluster.config.added_via_api).lower()}")
        if cluster.config.eds_service_name != name and cluster.config.type == "EDS":
            lines.append(f"{name}::eds_service_name::{cluster.config.eds_service_name}")
        for host in cluster.hosts.values():
            lines += [
                f"{name}::{host.text}::{key}::{value}"
                for key, value in host_facts(host, counts_of(server, cluster, host))
            ]
    return Answer("".join(line + "\n" for line in lines))


def outlier_lines(name: str) -> list[str]:
    kinds = ("success_rate", "local_origin_success_rate")
    return [f"{name}::outlier::{kind}_{what}::-1" for kind in kinds for what in ("average", "ejection_threshold")]


def counts_of(server: Server, cluster: Any, host: Host) -> dict[str, int]:
    """What all workers counted of a host."""
    counts = {name: getattr(host, name) for name in (*(name for name, _ in HOST_COUNTERS), *HOST_GAUGES)}
    counts["rq_pending_active"] = sum(len(pool.pending) for pool in host.pools.values())
    if server.pool is not None:
        for name in counts:
            counts[name] += server.pool.host(cluster.name, host.key, name)
    return counts


def host_facts(host: Host, counts: dict[str, int]) -> list[tuple[str, Any]]:
    region, zone, sub_zone = host.locality
    state = host.outlier
    return [
        *sorted(counts.items()),
        ("hostname", host.hostname),
        ("health_flags", host.health_text()),
        ("weight", host.weight),
        ("region", region),
        ("zone", zone),
        ("sub_zone", sub_zone),
        ("canary", str(host.canary).lower()),
        ("priority", host.priority),
        ("success_rate", rate_text(state.rate if state is not None else -1.0)),
        ("local_origin_success_rate", rate_text(state.local_rate if state is not None else -1.0)),
    ]


def rate_text(value: float) -> str:
    return f"{value:g}"


HOST_COUNTERS = (
    ("cx_connect_fail", "COUNTER"),
    ("cx_total", "COUNTER"),
    ("rq_error", "COUNTER"),
    ("rq_success", "COUNTER"),
    ("rq_timeout", "COUNTER"),
    ("rq_total", "COUNTER"),
)


HOST_GAUGES = ("cx_active", "rq_active")


def counter_json(name: str, value: int, kind: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    if value:
        out["value"] = str(value)
    if kind:
        out["type"] = kind
    out["name"] = name
    return out


def host_status(host: Host, counts: dict[str, int]) -> dict[str, Any]:
    from mizzen.proxy.upstream import host as flags

    host_name, port = host.address
    address = (
        {"pipe": {"path": host_name}} if port < 0 else {"socket_address": {"address": host_name, "port_value": port}}
    )
    stats = [counter_json(name, counts[name]) for name, _ in HOST_COUNTERS]
    stats += [counter_json(name, counts[name], "GAUGE") for name in HOST_GAUGES]
    stats.append(counter_json("rq_pending_active", counts["rq_pending_active"], "GAUGE"))
    health: dict[str, Any] = {}
    if host.flags & flags.FAILED_ACTIVE_HC:
        health["failed_active_health_check"] = True
    if host.flags & flags.FAILED_OUTLIER:
        health["failed_outlier_check"] = True
    if host.flags & flags.DEGRADED_ACTIVE_HC:
        health["failed_active_degraded_check"] = True
    eds = "HEALTHY"
    if host.flags & flags.FAILED_EDS:
        eds = "UNHEALTHY"
    elif host.flags & flags.DRAINING_EDS:
        eds = "DRAINING"
    elif host.flags & flags.DEGRADED_EDS:
        eds = "DEGRADED"
    health["eds_health_status"] = eds
    locality = {key: value for key, value in zip(("region", "zone", "sub_zone"), host.locality, strict=True) if value}
    out: dict[str, Any] = {
        "address": address,
        "stats": stats,
        "health_status": health,
        "weight": host.weight,
        "locality": locality,
    }
    if host.hostname:
        out["hostname"] = host.hostname
    if host.priority:
        out["priority"] = host.priority
    return out


def cluster_status(server: Server, cluster: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"name": cluster.name}
    if cluster.config.added_via_api:
        out["added_via_api"] = True
    out["host_statuses"] = [host_status(host, counts_of(server, cluster, host)) for host in cluster.hosts.values()]
    thresholds = []
    for kind, each in zip(("DEFAULT", "HIGH"), cluster.resources, strict=True):
        item: dict[str, Any] = {} if kind == "DEFAULT" else {"priority": kind}
        item |= {
            "max_connections": each.max_connections,
            "max_pending_requests": each.max_pending,
            "max_requests": each.max_requests,
            "max_retries": each.max_retries,
        }
        thresholds.append(item)
    out["circuit_breakers"] = {"thresholds": thresholds}
    out["observability_name"] = cluster.config.alt_stat_name
    if cluster.config.type == "EDS":
        out["eds_service_name"] = cluster.config.eds_service_name
    return out
