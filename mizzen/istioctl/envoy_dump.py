"""Envoy's admin answers, taken apart: which resources a /config_dump and a /clusters?format=json hold.

Takes JSON (protobuf's mapping, original field names), gives plain resources as dicts. Not here: how they are shown.
Source: envoy.admin.v3 ConfigDump and its parts, Clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mizzen.api.errors import UsageError

Json = dict[str, Any]


def parts(dump: Mapping[str, Any]) -> list[Json]:
    """The messages of a dump. Raises UsageError for JSON that is none."""
    found = dump.get("configs")
    if not isinstance(found, list):
        raise UsageError("not an Envoy config dump: no list `configs`")
    return found


def section(dump: Mapping[str, Any], name: str) -> Json:
    """One part of a config dump by its message's name (ClustersConfigDump); {} when it is not there."""
    for part in parts(dump):
        if str(part.get("@type", "")).rpartition(".")[2] == name:
            return dict(part)
    return {}


def bootstrap(dump: Mapping[str, Any]) -> Json:
    return section(dump, "BootstrapConfigDump")


def clusters(dump: Mapping[str, Any]) -> list[Json]:
    """Dynamic active clusters, then static ones."""
    part = section(dump, "ClustersConfigDump")
    return [e["cluster"] for kind in ("dynamic_active_clusters", "static_clusters") for e in part.get(kind, ())]


def listeners(dump: Mapping[str, Any]) -> list[Json]:
    """Active listeners, then static ones."""
    part = section(dump, "ListenersConfigDump")
    dynamic = [e["active_state"]["listener"] for e in part.get("dynamic_listeners", ()) if "active_state" in e]
    return dynamic + [entry["listener"] for entry in part.get("static_listeners", ())]


def routes(dump: Mapping[str, Any]) -> list[Json]:
    """Dynamic route configurations, then static ones."""
    part = section(dump, "RoutesConfigDump")
    kinds = ("dynamic_route_configs", "static_route_configs")
    return [entry["route_config"] for kind in kinds for entry in part.get(kind, ()) if "route_config" in entry]


def extensions(dump: Mapping[str, Any]) -> list[Json]:
    return [entry["ecds_filter"] for entry in section(dump, "EcdsConfigDump").get("ecds_filters", ())]


def secrets(dump: Mapping[str, Any]) -> Iterator[tuple[str, str, Json]]:
    """(name, ACTIVE or WARMING, the Secret)."""
    part = section(dump, "SecretsConfigDump")
    for status, kinds in (
        ("ACTIVE", ("static_secrets", "dynamic_active_secrets")),
        ("WARMING", ("dynamic_warming_secrets",)),
    ):
        for kind in kinds:
            for entry in part.get(kind, ()):
                secret = entry.get("secret", {})
                yield entry.get("name") or secret.get("name", ""), status, secret


def configured_endpoints(dump: Mapping[str, Any]) -> list[Json]:
    """ClusterLoadAssignments of a dump taken with include_eds."""
    part = section(dump, "EndpointsConfigDump")
    kinds = ("dynamic_endpoint_configs", "static_endpoint_configs")
    return [entry["endpoint_config"] for kind in kinds for entry in part.get(kind, ())]


def address_of(address: Mapping[str, Any]) -> tuple[str, int]:
    """Host and port of an envoy.config.core.v3.Address; pipes and internal addresses as URLs with port 0."""
    if "socket_address" in address:
        socket = address["socket_address"]
        return str(socket.get("address", "")), int(socket.get("port_value", 0))
    if "pipe" in address:
        return f"unix://{address['pipe'].get('path', '')}", 0
    internal = address.get("envoy_internal_address", {})
    return f"envoy://{internal.get('server_listener_name', '')}/{internal.get('endpoint_id', '')}", 0


def istio_config(resource: Mapping[str, Any], empty: str = "") -> str:
    """`name.namespace` of the object in metadata `istio.config`; `empty` when there is none."""
    metadata = resource.get("metadata", {}).get("filter_metadata", {}).get("istio", {})
    path = metadata.get("config")
    if not path:
        return empty
    # /apis/networking.istio.io/v1/namespaces/<namespace>/<kind>/<name>
    parts = str(path).split("/")
    return f"{parts[7]}.{parts[5]}" if len(parts) == 8 else "<unknown>"
