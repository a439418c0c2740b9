"""What /debug/<name> answers: one function a name, from the hub and the configuration to a JSON value.

Pure reading. The same answers go over HTTP (http.py) and over xDS (xds.py). Not here: who may ask.
Source: istiod's debug handlers; the field names are theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mizzen.api import kinds
from mizzen.istiod.config.store import ISTIO_GROUPS, ConfigStore
from mizzen.istiod.debug.config_dump import config_dump, plain_resources
from mizzen.istiod.registry.model import Endpoint, Service
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.status.blame import blames
from mizzen.istiod.xds.collection import ResourceCollection
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.types import CDS, ECDS, EDS, LDS, NDS, RDS, short_name

Query = Mapping[str, str]
SYNC_FIELDS = {"cluster": CDS, "listener": LDS, "route": RDS, "endpoint": EDS, "extensionconfig": ECDS}


class DebugError(Exception):
    """The question cannot be answered: an HTTP status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Debug:
    """What the endpoints read. generators: the names of sources of metrics like push_status are not kept here."""

    def __init__(self, hub: Hub, store: ConfigStore) -> None:
        self.hub, self.store = hub, store

    @property
    def snapshot(self) -> Snapshot:
        if self.hub.snapshot is None:
            raise DebugError(503, "the mesh has not been read yet")
        return self.hub.snapshot

    def connection(self, query: Query) -> Connection:
        """The first connection whose id contains ?proxyID."""
        wanted = query.get("proxyID")
        if not wanted:
            raise DebugError(400, "You must provide a proxyID in the query string")
        for connection in self.hub.connections.values():
            if wanted in connection.id:
                return connection
        raise DebugError(
            404, f"Proxy not connected to this Pilot instance. It may be connected to another instance: {wanted}"
        )


def answer(debug: Debug, name: str, query: Query) -> Any:
    """The JSON value of /debug/<name>. Raises DebugError."""
    endpoint = ENDPOINTS.get(name)
    if endpoint is None:
        raise DebugError(404, f"no debug endpoint {name}; /debug/list has the names")
    return endpoint(debug, query)


def is_proxy(connection: Connection) -> bool:
    """Whether the client counts as a proxy in sync reports."""
    return connection.is_proxy


def rfc3339(seconds: float | None) -> str:
    """Seconds since 1970 as text; "" for None."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds is not None else ""


def syncz(debug: Debug, query: Query) -> Any:
    out = []
    for connection in debug.hub.connections.values():
        if not is_proxy(connection) or query.get("namespace") not in (None, connection.raw.namespace):
            continue
        row: dict[str, Any] = {
            "cluster_id": connection.raw.cluster_id,
            "proxy": connection.raw.name,
            "proxy_type": connection.raw.type,
            "proxy_version": connection.raw.text("ISTIO_PROXY_VERSION"),
            "istio_version": connection.raw.text("ISTIO_VERSION"),
        }
        for field, url in SYNC_FIELDS.items():
            watch = connection.watches.get(url)
            row[f"{field}_sent"] = watch.nonce_sent if watch else ""
            row[f"{field}_acked"] = watch.nonce_acked if watch else ""
        row["resources"] = {
            url: {
                "sent": watch.nonce_sent,
                "acked": watch.nonce_acked,
                "sentTime": rfc3339(watch.last_sent),
                "lastError": watch.error or "",
            }
            for url, watch in connection.watches.items()
        }
        out.append(row)
    return out


def connections(debug: Debug, query: Query) -> Any:
    return _clients(debug, query, full=False)


def adsz(debug: Debug, query: Query) -> Any:
    if query.get("push") == "true":
        debug.hub.push_all()
        return {"pushed": len(debug.hub.connections)}
    return _clients(debug, query, full=True)


def _clients(debug: Debug, query: Query, *, full: bool) -> Any:
    clients = []
    for connection in debug.hub.connections.values():
        if query.get("proxyID", "") not in connection.id:
            continue
        row: dict[str, Any] = {
            "connectionId": connection.id,
            "connectedAt": rfc3339(connection.connected_at),
            "address": connection.peer,
        }
        if full:
            row["labels"] = connection.node.labels
            row["metadata"] = connection.raw.metadata
            row["locality"] = msgspec.to_builtins(connection.node.locality)
            row["watches"] = {url: sorted(watch.names) for url, watch in connection.watches.items()}
        clients.append(row)
    return {"totalClients": len(clients), "clients": clients}


def dump(debug: Debug, query: Query) -> Any:
    connection = debug.connection(query)
    if query.get("types"):
        return plain_resources(connection, query["types"].split(","))
    return config_dump(connection, include_eds="include_eds" in query)


def edsz(debug: Debug, query: Query) -> Any:
    return plain_resources(debug.connection(query), ["eds"])


def ecdsz(debug: Debug, query: Query) -> Any:
    return plain_resources(debug.connection(query), ["ecds"])


def ndsz(debug: Debug, query: Query) -> Any:
    connection = debug.connection(query)
    if NDS not in connection.watches:
        raise DebugError(404, "the proxy does not subscribe to the name table")
    return plain_resources(connection, ["nds"])


def registryz(debug: Debug, query: Query) -> Any:
    return [_service(debug.snapshot, svc) for svc in debug.snapshot.registry.services]


def _service(snap: Snapshot, svc: Service) -> dict[str, Any]:
    return {
        "Attributes": {
            "ServiceRegistry": svc.registry,
            "Name": svc.name,
            "Namespace": svc.namespace,
            "Labels": svc.labels,
            "LabelSelectors": svc.selector,
            "ExportTo": sorted(svc.export_to),
        },
        "ports": [{"name": p.name, "port": p.number, "protocol": str(p.protocol)} for p in svc.ports],
        "creationTime": rfc3339(svc.created),
        "hostname": svc.host,
        "clusterVIPs": {"Addresses": {snap.options.cluster_id: list(svc.addresses)}},
        "defaultAddress": svc.address,
        "autoAllocatedIPv4Address": next((a for a in svc.auto_addresses if ":" not in a), ""),
        "autoAllocatedIPv6Address": next((a for a in svc.auto_addresses if ":" in a), ""),
        "serviceAccounts": list(snap.service_accounts(svc)),
        "Resolution": str(svc.resolution),
        "MeshExternal": svc.mesh_external,
    }


def endpoint_shards(debug: Debug, query: Query) -> Any:
    snap = debug.snapshot
    out: dict[str, dict[str, Any]] = {}
    for svc in snap.registry.services:
        shard = f"{svc.registry}/{snap.options.cluster_id}"
        out.setdefault(svc.host, {})[svc.namespace] = {
            "Shards": {shard: [_endpoint(endpoint) for endpoint in snap.endpoints(svc)]},
            "ServiceAccounts": {account: {} for account in snap.service_accounts(svc)},
        }
    return out


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "Addresses": list(endpoint.addresses) or [endpoint.address],
        "EndpointPort": endpoint.port,
        "ServicePortName": endpoint.port_name,
        "Labels": endpoint.labels,
        "ServiceAccount": endpoint.service_account,
        "Network": endpoint.network,
        "Locality": {"Label": endpoint.locality, "ClusterID": endpoint.cluster_id},
        "LbWeight": endpoint.weight,
        "TLSMode": endpoint.tls_mode,
        "Namespace": endpoint.namespace,
        "WorkloadName": endpoint.workload,
        "HealthStatus": int(endpoint.health),
        "NodeName": endpoint.node_name,
    }


def instancesz(debug: Debug, query: Query) -> Any:
    return {
        connection.id: [
            {
                "Service": {"hostname": target.service.host},
                "Port": {
                    "ServicePort": {"name": target.port.name, "port": target.port.number},
                    "TargetPort": target.target_port,
                },
            }
            for target in debug.snapshot.targets(connection.node)
        ]
        for connection in debug.hub.connections.values()
    }


def configz(debug: Debug, query: Query) -> Any:
    return [
        kinds.encode(obj)
        for (kind, _), obj in debug.store.objects.items()
        if _group(obj) in ISTIO_GROUPS and query.get("kind", kind) == kind
    ]


def resourcesz(debug: Debug, query: Query) -> Any:
    return [{"Group": k.group, "Version": k.storage_version, "Kind": k.kind} for k in kinds.ISTIO_KINDS]


def rejectedz(debug: Debug, query: Query) -> Any:
    """Ours: the objects that are not in force as they were last given, and why."""
    return [
        {
            "kind": kind,
            "namespace": namespace,
            "name": name,
            "origin": rejected.origin,
            "errors": [{"path": error.path, "reason": error.reason} for error in rejected.errors],
            "lastGoodInForce": (kind, (namespace, name)) in debug.store.objects,
        }
        for (kind, (namespace, name)), rejected in debug.store.rejected.items()
    ]


def nackz(debug: Debug, query: Query) -> Any:
    """Ours: every refusal that stands, and the objects that are held to be its cause."""
    return [
        {
            "proxy": connection.raw.name,
            "connectionId": connection.id,
            "type": short_name(found.type_url),
            "error": found.error,
            "resources": list(found.resources),
            "objects": [{"kind": kind, "namespace": key[0], "name": key[1]} for kind, key in found.objects],
        }
        for connection, found in blames(debug.hub)
        if query.get("proxyID", "") in connection.id
    ]


def authorizationz(debug: Debug, query: Query) -> Any:
    table = debug.snapshot.objects.table("AuthorizationPolicy")
    policies: dict[str, list[Any]] = {}
    for (namespace, name), policy in table.items():
        spec = kinds.encode(policy).get("spec", {})
        policies.setdefault(namespace, []).append({"name": name, "namespace": namespace, "spec": spec})
    return {
        "authorization_policies": {"namespace_to_policies": policies, "root_namespace": debug.snapshot.root_namespace}
    }


def telemetryz(debug: Debug, query: Query) -> Any:
    table = debug.snapshot.objects.table("Telemetry")
    return {"telemetries": [kinds.encode(obj) for obj in table.values()]}


def push_status(debug: Debug, query: Query) -> Any:
    """Gauges of the last push. Services without endpoints are told; the conflicts are those that translation finds."""
    snap = debug.snapshot
    empty: dict[str, Any] = {
        f"outbound|{port.number}||{svc.host}": {}
        for svc in snap.registry.services
        if not snap.endpoints(svc) and svc.is_kubernetes
        for port in svc.ports
    }
    rejects = {
        connection.node.name: {"proxy": connection.node.name, "message": watch.error}
        for connection in debug.hub.connections.values()
        for watch in connection.watches.values()
        if watch.error is not None
    }
    return {"pilot_eds_no_instances": empty, "pilot_xds_rejects": rejects}


def mesh(debug: Debug, query: Query) -> Any:
    return kinds.encode(debug.snapshot.mesh)


def cachez(debug: Debug, query: Query) -> Any:
    if query.get("clear") == "true":
        debug.hub.push_all()
        return "Cache cleared\n"
    sizes = query.get("sizes") == "true"
    out: dict[str, Any] = {}
    for (url, _), resources in debug.hub.collections.items():
        names = out.setdefault(short_name(url), {} if sizes else [])
        for name, entry in resources.entries.items():
            if sizes:
                names[name] = names.get(name, 0) + len(entry.any)
            else:
                names.append(name)
    if sizes:
        out["total"] = sum(sum(names.values()) for names in out.values())
    return out


def collectionz(debug: Debug, query: Query) -> Any:
    """Ours: how many collections there are of a type, and how many proxies share each."""
    out: dict[str, list[dict[str, int]]] = {}
    for (url, _), resources in debug.hub.collections.items():
        out.setdefault(short_name(url), []).append(_collection(resources))
    return out


def _collection(resources: ResourceCollection) -> dict[str, int]:
    return {
        "watches": resources.users,
        "resources": len(resources.entries),
        "bytes": sum(len(entry.any) for entry in resources.entries.values()),
        "serial": resources.serial,
        "errors": resources.errors,
    }


def sidecarz(debug: Debug, query: Query) -> Any:
    """The egress scope of one proxy: what it sees, and the Sidecar resource that says so."""
    connection = debug.connection(query)
    scope = debug.snapshot.scope(connection.node)
    sidecar = debug.snapshot.sidecar_of(connection.node)
    return {
        "namespace": connection.node.namespace,
        "sidecar": f"{sidecar.metadata.namespace}/{sidecar.metadata.name}" if sidecar is not None else "",
        "services": [svc.host for svc in scope.services],
        "virtualServices": sorted(
            {f"{vs.metadata.namespace}/{vs.metadata.name}" for egress in scope.egress for vs in egress.virtual_services}
        ),
    }


def clusterz(debug: Debug, query: Query) -> Any:
    """The clusters that are read from; there is one, our own."""
    return [{"id": debug.snapshot.options.cluster_id, "secretName": "", "syncStatus": "synced"}]


def names(debug: Debug, query: Query) -> Any:
    return sorted(ENDPOINTS)


def _group(obj: Any) -> str:
    return str(getattr(obj, "api_version", "") or "").partition("/")[0]


ENDPOINTS: dict[str, Callable[[Debug, Query], Any]] = {
    "list": names,
    "syncz": syncz,
    "adsz": adsz,
    "connections": connections,
    "config_dump": dump,
    "edsz": edsz,
    "ecdsz": ecdsz,
    "ndsz": ndsz,
    "registryz": registryz,
    "endpointShardz": endpoint_shards,
    "endpointz": endpoint_shards,
    "instancesz": instancesz,
    "configz": configz,
    "resourcesz": resourcesz,
    "rejectedz": rejectedz,
    "nackz": nackz,
    "sidecarz": sidecarz,
    "clusterz": clusterz,
    "authorizationz": authorizationz,
    "telemetryz": telemetryz,
    "push_status": push_status,
    "mesh": mesh,
    "cachez": cachez,
    "collectionz": collectionz,
}
