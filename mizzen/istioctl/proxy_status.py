"""Proxy status: which proxies are connected to which istiod, and whether they have what they were sent.

Takes DiscoveryResponses of `istio.io/debug/syncz`, gives rows. Not here: fetching them, printing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from envoy.service.status.v3 import csds_pb2
from google.protobuf import json_format

HEADER = ("NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES")
PREFIX = "type.googleapis.com/"
SHORT_NAMES = {
    "envoy.config.cluster.v3.Cluster": "CDS",
    "envoy.config.listener.v3.Listener": "LDS",
    "envoy.config.route.v3.RouteConfiguration": "RDS",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "EDS",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "SDS",
    "istio.networking.nds.v1.NameTable": "NDS",
    "istio.mesh.v1alpha1.ProxyConfig": "PCDS",
    "envoy.config.core.v3.TypedExtensionConfig": "ECDS",
    "istio.workload.Address": "WDS",
    "istio.workload.Workload": "WDS",
    "istio.security.Authorization": "WADS",
}
ALWAYS = ("CDS", "LDS", "EDS", "RDS", "ECDS")
STATUSES = {0: "IGNORED", 1: "SYNCED", 2: "NOT SENT", 3: "STALE", 4: "ERROR"}


class ProxyStatus(NamedTuple):
    """types: short name → (status, seconds since it was last sent or None); errors: short name → why it was refused."""

    name: str
    cluster: str
    istiod: str
    version: str
    namespace: str
    types: dict[str, tuple[str, float | None]]
    errors: dict[str, str] = {}


def statuses(responses: Iterable[Any], now: datetime) -> list[ProxyStatus]:
    """All proxies of all istiods, by name."""
    out = []
    for response in responses:
        istiod = istiod_name(response.control_plane.identifier)
        for packed in response.resources:
            config = csds_pb2.ClientConfig()
            packed.Unpack(config)
            out.append(_status(config, istiod, now))
    return sorted(out, key=lambda status: status.name)


def istiod_name(identifier: str) -> str:
    """The ID in a control plane's identifier; MISSING or INVALID where there is none."""
    if not identifier:
        return "MISSING"
    try:
        return str(json.loads(identifier)["ID"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return "INVALID"


def _status(config: Any, istiod: str, now: datetime) -> ProxyStatus:
    metadata = json_format.MessageToDict(config.node.metadata)
    types, errors = {}, {}
    for one in config.generic_xds_configs:
        sent = one.last_updated.ToDatetime(UTC) if one.HasField("last_updated") else None
        age = (now - sent).total_seconds() if sent is not None else None
        types[short_name(one.type_url)] = (STATUSES.get(one.config_status, "IGNORED"), age)
        if one.error_state.details:
            errors[short_name(one.type_url)] = one.error_state.details
    parts = config.node.id.split("~")
    name = parts[2] if len(parts) == 4 else config.node.id
    return ProxyStatus(
        name,
        str(metadata.get("CLUSTER_ID", "")),
        istiod,
        str(metadata.get("ISTIO_VERSION", "")),
        str(metadata.get("NAMESPACE", "")),
        types,
        errors,
    )


def short_name(type_url: str) -> str:
    return SHORT_NAMES.get(type_url.removeprefix(PREFIX), type_url)


def rows(found: Iterable[ProxyStatus]) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for one in found:
        subscribed = [kind for kind in (*ALWAYS, *sorted(one.types.keys() - set(ALWAYS))) if kind in one.types]
        text = f"{len(subscribed)} ({','.join(subscribed)})" if subscribed else "0"
        out.append((one.name, one.cluster, one.istiod, one.version, text))
    return out


def verbose_table(found: Iterable[ProxyStatus]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows with one column a type."""
    every = list(found)
    kinds = sorted({kind for one in every for kind in one.types} | set(ALWAYS))
    header = ("NAME", "CLUSTER", *kinds, "ISTIOD", "VERSION")
    body: list[tuple[str, ...]] = []
    for one in every:
        cells = []
        for kind in kinds:
            status, age = one.types.get(kind, ("IGNORED", None))
            cells.append(f"{status} ({short_duration(age)})" if age is not None else status)
        body.append((one.name, one.cluster, *cells, one.istiod, one.version))
    return header, body


def short_duration(seconds: float) -> str:
    """As Kubernetes shows an age: 5s, 3m20s, 12m, 3h5m, 20h, 3d4h, 12d, 2y30d."""
    total = max(0, int(seconds))
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years, rest = divmod(days, 365)
    return f"{years}y{rest}d" if years < 8 and rest else f"{years}y"
