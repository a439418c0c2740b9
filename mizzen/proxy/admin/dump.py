"""/config_dump: the bootstrap and all resources in force, warming and refused. Source: envoy.admin.v3.ConfigDump."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from mizzen.proxy.admin.answers import JSON, Answer, as_json
from mizzen.proxy.config.load import import_type

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

ADMIN = "type.googleapis.com/envoy.admin.v3."
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
ENDPOINTS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def timestamp(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall)) + f".{int(wall * 1000) % 1000:03d}Z"


def to_dict(message: Any, kind: str = "") -> dict[str, Any]:
    value = json_value(message)
    return {"@type": kind, **value} if kind else value


def json_value(message: Any) -> dict[str, Any]:
    """A message as JSON; types inside it are imported as they are met."""
    seen: set[str] = set()
    while True:
        try:
            value: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
            return value
        except TypeError as error:
            name = str(error).rpartition("/")[2]
            if name in seen or not import_type(name):
                return {"unreadable": str(error)}
            seen.add(name)


def versioned(version: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"version_info": version, **value} if version else value


def bootstrap(server: Server) -> dict[str, Any]:
    return {
        "@type": ADMIN + "BootstrapConfigDump",
        "bootstrap": to_dict(server.bootstrap),
        "last_updated": timestamp(server.started),
    }


def clusters(server: Server) -> dict[str, Any]:
    out: dict[str, Any] = {"@type": ADMIN + "ClustersConfigDump"}
    manager = server.clusters
    version = server.xds.cds.version if server.xds.cds is not None else ""
    if version:
        out["version_info"] = version
    static, active, warming = [], [], []
    for name, cluster in manager.active.items():
        entry = {
            "cluster": to_dict(cluster.config.proto, CLUSTER),
            "last_updated": timestamp(manager.updated.get(name, server.started)),
        }
        if cluster.config.added_via_api:
            entry = versioned(manager.versions.get(name, ""), entry)
            if name in manager.errors:
                entry["error_state"] = error_state(manager.errors[name], CLUSTER)
            active.append(entry)
        else:
            static.append(entry)
    for name, cluster in manager.warming.items():
        entry = {"cluster": to_dict(cluster.config.proto, CLUSTER), "last_updated": timestamp(time.time())}
        warming.append(versioned(manager.versions.get(name, ""), entry))
    for key, value in (
        ("static_clusters", static),
        ("dynamic_active_clusters", active),
        ("dynamic_warming_clusters", warming),
    ):
        if value:
            out[key] = value  # noqa: PERF403
    return out


def error_state(error: tuple[str, Any], kind: str) -> dict[str, Any]:
    return {
        "failed_configuration": to_dict(error[1], kind),
        "last_update_attempt": timestamp(time.time()),
        "details": error[0],
    }


def listeners(server: Server) -> dict[str, Any]:
    out: dict[str, Any] = {"@type": ADMIN + "ListenersConfigDump"}
    version = server.xds.lds.version if server.xds.lds is not None else ""
    if version:
        out["version_info"] = version
    static, dynamic = [], {}
    manager = server.listeners
    for name, slot in manager.slots.items():
        entry = {
            "listener": to_dict(slot.listener.proto, LISTENER),
            "last_updated": timestamp(slot.updated or server.started),
        }
        if slot.api:
            dynamic[name] = {"name": name, "active_state": versioned(slot.version, entry)}
        else:
            static.append(entry)
    for name, slot in manager.warming.items():
        entry = {"listener": to_dict(slot.listener.proto, LISTENER), "last_updated": timestamp(time.time())}
        dynamic.setdefault(name, {"name": name})["warming_state"] = versioned(slot.version, entry)
    for name, error in manager.errors.items():
        dynamic.setdefault(name, {"name": name})["error_state"] = error_state(error, LISTENER)
    if static:
        out["static_listeners"] = static
    if dynamic:
        out["dynamic_listeners"] = list(dynamic.values())
    return out


def routes(server: Server) -> dict[str, Any]:
    out: dict[str, Any] = {"@type": ADMIN + "RoutesConfigDump"}
    static = []
    for slot in server.listeners.slots.values():
        for chain in slot.listener.all_chains():
            hcm = getattr(chain.terminal, "hcm", None)
            if hcm is not None and hcm.message.WhichOneof("route_specifier") == "route_config":
                static.append(
                    {
                        "route_config": to_dict(hcm.message.route_config, ROUTES),
                        "last_updated": timestamp(server.started),
                    }
                )
    dynamic = []
    for resource in server.xds.route_resources.values():
        if resource.message is not None:
            entry = {"route_config": to_dict(resource.message, ROUTES), "last_updated": timestamp(resource.updated)}
            dynamic.append(versioned(resource.version, entry))
    if static:
        out["static_route_configs"] = static
    if dynamic:
        out["dynamic_route_configs"] = dynamic
    return out


REDACTED = "W3JlZGFjdGVkXQ=="  # "[redacted]"


def redact(value: Any) -> Any:
    """Private keys never leave the process."""
    if isinstance(value, dict):
        return {
            key: (
                {"inline_bytes": REDACTED}
                if key in ("private_key", "password") and isinstance(item, dict)
                else redact(item)
            )
            for key, item in value.items()
        }
    return [redact(item) for item in value] if isinstance(value, list) else value


def secrets(server: Server) -> dict[str, Any]:
    out: dict[str, Any] = {"@type": ADMIN + "SecretsConfigDump"}
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
    static = [
        {"name": each.name, "last_updated": timestamp(server.started), "secret": redact(to_dict(each, kind))}
        for each in server.secrets.static_protos
    ]
    active, warming = [], []
    for (name, _), secret in server.secrets.dynamic.items():
        message = server.secrets.protos.get(name)
        if secret.message is None or message is None:
            warming.append(
                {
                    "name": name,
                    "version_info": "uninitialized",
                    "secret": {"@type": kind, "name": name},
                    "last_updated": timestamp(server.started),
                }
            )
            continue
        resource = next((r for r in server.xds.resources if getattr(r.consumer, "secret", None) is secret), None)
        entry = {
            "name": name,
            "last_updated": timestamp(resource.updated if resource is not None else time.time()),
            "secret": redact(to_dict(message, kind)),
        }
        if resource is not None and resource.version:
            entry["version_info"] = resource.version
        active.append(entry)
    for key, value in (
        ("static_secrets", static),
        ("dynamic_active_secrets", active),
        ("dynamic_warming_secrets", warming),
    ):
        if value:
            out[key] = value  # noqa: PERF403
    return out


def endpoints(server: Server) -> dict[str, Any]:
    out: dict[str, Any] = {"@type": ADMIN + "EndpointsConfigDump"}
    static: list[Any] = []
    dynamic: list[Any] = []
    for cluster in server.clusters.active.values():
        groups: dict[tuple[int, tuple[str, str, str]], list[Any]] = {}
        for host in cluster.hosts.values():
            groups.setdefault((host.priority, host.locality), []).append(host)
        built: dict[str, Any] = {"@type": ENDPOINTS, "cluster_name": cluster.config.eds_service_name, "endpoints": []}
        for (priority, locality), hosts in groups.items():
            group: dict[str, Any] = {
                "locality": {k: v for k, v in zip(("region", "zone", "sub_zone"), locality, strict=True) if v},
                "lb_endpoints": [],
            }
            if priority:
                group["priority"] = priority
            for host in hosts:
                entry: dict[str, Any] = {
                    "endpoint": {
                        "address": {"socket_address": {"address": host.address[0], "port_value": host.address[1]}},
                        "health_check_config": {},
                    },
                    "health_status": "HEALTHY" if host.healthy else "UNHEALTHY",
                    "load_balancing_weight": host.weight,
                }
                if host.hostname:
                    entry["endpoint"]["hostname"] = host.hostname
                if host.metadata:
                    entry["metadata"] = {"filter_metadata": host.metadata}
                group["lb_endpoints"].append(entry)
            built["endpoints"].append(group)
        (dynamic if cluster.config.added_via_api else static).append({"endpoint_config": built})
    if static:
        out["static_endpoint_configs"] = static
    if dynamic:
        out["dynamic_endpoint_configs"] = dynamic
    return out


EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"


def extensions(server: Server) -> list[dict[str, Any]]:
    """A section per kind of filter that ECDS serves."""
    out = []
    for kind in ("http_filter", "network_filter"):
        held = [r for (k, _, _), r in server.xds.extensions.resources.items() if k == kind]
        filters = [
            versioned(
                each.version,
                {"ecds_filter": to_dict(each.consumer.config, EXTENSION), "last_updated": timestamp(each.updated)},
            )
            for each in held
            if each.consumer.config is not None
        ]
        if held:
            out.append({"@type": ADMIN + "EcdsConfigDump", **({"ecds_filters": filters} if filters else {})})
    return out


def scoped(server: Server) -> dict[str, Any]:
    return {"@type": ADMIN + "ScopedRoutesConfigDump"}


SINGULAR = {
    "static_clusters": "ClustersConfigDump.StaticCluster",
    "dynamic_active_clusters": "ClustersConfigDump.DynamicCluster",
    "dynamic_warming_clusters": "ClustersConfigDump.DynamicCluster",
    "static_listeners": "ListenersConfigDump.StaticListener",
    "dynamic_listeners": "ListenersConfigDump.DynamicListener",
    "static_route_configs": "RoutesConfigDump.StaticRouteConfig",
    "dynamic_route_configs": "RoutesConfigDump.DynamicRouteConfig",
    "static_secrets": "SecretsConfigDump.StaticSecret",
    "ecds_filters": "EcdsConfigDump.EcdsFilterConfig",
    "dynamic_active_secrets": "SecretsConfigDump.DynamicSecret",
    "dynamic_warming_secrets": "SecretsConfigDump.DynamicSecret",
    "static_endpoint_configs": "EndpointsConfigDump.StaticEndpointConfig",
    "dynamic_endpoint_configs": "EndpointsConfigDump.DynamicEndpointConfig",
}


def entry_name(entry: dict[str, Any]) -> str:
    """The name of the resource in a dump's entry."""
    if isinstance(entry.get("name"), str):
        return str(entry["name"])
    for key in ("cluster", "listener", "route_config", "secret", "endpoint_config", "ecds_filter"):
        inner = entry.get(key)
        if isinstance(inner, dict):
            return str(inner.get("name") or inner.get("cluster_name") or "")
    return ""


def masked(value: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """Only these paths of a message, with every "@type" on the way."""
    out: dict[str, Any] = {"@type": value["@type"]} if "@type" in value else {}
    for path in paths:
        head, _, rest = path.partition(".")
        if head not in value:
            continue
        inner = value[head]
        if not rest:
            out[head] = inner
        elif isinstance(inner, dict):
            out[head] = {**out.get(head, {}), **masked(inner, [rest])}
    return out


def config_dump(server: Server, query: dict[str, str]) -> Answer:
    sections = [bootstrap(server), clusters(server), *extensions(server)]
    if "include_eds" in query:
        sections.append(endpoints(server))
    sections += [listeners(server), scoped(server), routes(server), secrets(server)]
    pattern = None
    if query.get("name_regex"):
        try:
            pattern = re.compile(query["name_regex"])
        except re.error as error:
            return Answer(f"Error while parsing name_regex from {query['name_regex']}: {error}", status=400)
        for section in sections:
            for key in [key for key in section if key in SINGULAR]:
                section[key] = [entry for entry in section[key] if pattern.fullmatch(entry_name(entry))]
                if not section[key]:
                    del section[key]
    paths = [path for path in query.get("mask", "").split(",") if path]
    resource = query.get("resource")
    if resource:
        return one_resource(sections, resource, paths)
    if paths:
        sections = [masked(section, paths) for section in sections]
    return Answer(as_json({"configs": sections}), JSON)


def one_resource(sections: list[dict[str, Any]], resource: str, paths: list[str]) -> Answer:
    known = resource in SINGULAR
    if resource == "bootstrap":
        return Answer(
            as_json(
                {
                    "configs": [
                        {"@type": "type.googleapis.com/envoy.config.bootstrap.v3.Bootstrap", **sections[0]["bootstrap"]}
                    ]
                }
            ),
            JSON,
        )
    found = next(
        (section[resource] for section in sections if resource in section and isinstance(section[resource], list)), None
    )
    if found is None and not known:
        return Answer(f"{resource} not found in config dump", status=404)
    out = [{"@type": ADMIN + SINGULAR[resource], **entry} for entry in found or []]
    if paths:
        out = [masked(entry, paths) for entry in out]
    return Answer(as_json({"configs": out} if out else {}), JSON)
