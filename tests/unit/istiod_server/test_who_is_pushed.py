"""A change reaches only the proxies that see it: messages are counted, by proxy."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

from mizzen.api import kinds
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import parse_node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate import generate
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Request
from mizzen.istiod.xds.types import CDS, EDS, LDS, RDS


def obj(version: str, kind: str, namespace: str, name: str, spec: dict[str, Any], **meta: Any) -> Any:
    metadata = {"name": name, "namespace": namespace, **meta}
    return kinds.decode({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})


def service(namespace: str, name: str, **annotations: str) -> Any:
    spec = {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return obj("v1", "Service", namespace, name, spec, annotations=annotations)


def endpoints(namespace: str, name: str, *ips: str) -> Any:
    return kinds.decode(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ips],
        }
    )


def route(namespace: str, host: str, header: str, export: str) -> Any:
    http = [{"headers": {"request": {"set": {header: "1"}}}, "route": [{"destination": {"host": host}}]}]
    spec = {"hosts": [host], "http": http, "exportTo": [export]}
    return obj("networking.istio.io/v1", "VirtualService", namespace, "r", spec)


HIDDEN = {"networking.istio.io/exportTo": "."}
SIDECAR = {"egress": [{"hosts": ["./*"]}]}
WORLD = [
    *(service("shop", name) for name in ("a", "b")),
    *(endpoints("shop", name, "10.1.0.9") for name in ("a", "b")),
    service("far", "hidden", **HIDDEN),
    endpoints("far", "hidden", "10.1.0.8"),
    obj("networking.istio.io/v1", "Sidecar", "near", "default", SIDECAR),
    service("near", "n"),
    endpoints("near", "n", "10.1.0.7"),
]


def connect(hub: Hub, namespace: str, n: int) -> Connection:
    node_id = f"sidecar~10.9.0.{n}~p.{namespace}~{namespace}.svc.cluster.local"
    connection = hub.connect(parse_node(node_id, {"NAMESPACE": namespace}), None, "x", True)
    connection.request(Request(type_url=CDS))
    found: list[str] = []
    while (raw := connection.next_message()) is not None:
        for resource in discovery_pb2.DeltaDiscoveryResponse.FromString(raw).resources:
            found.append(cluster_pb2.Cluster.FromString(resource.resource.value).name)
    connection.request(Request(type_url=EDS, subscribe=tuple(n for n in found if n.startswith("outbound|"))))
    connection.request(Request(type_url=LDS))
    connection.request(Request(type_url=RDS, subscribe=("80",)))
    drain(connection)
    return connection


def drain(connection: Connection) -> list[str]:
    """The short type of each message."""
    out = []
    while (raw := connection.next_message()) is not None:
        out.append(discovery_pb2.DeltaDiscoveryResponse.FromString(raw).type_url.rpartition(".")[2])
    return out


ASSIGNMENT, ROUTES = ["ClusterLoadAssignment"], ["RouteConfiguration"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (endpoints("shop", "a", "10.1.0.9", "10.1.0.10"), {"shop": ASSIGNMENT, "far": ASSIGNMENT}),
        (endpoints("far", "hidden", "10.1.0.11"), {"far": ASSIGNMENT}),
        (endpoints("near", "n", "10.1.0.12"), {"shop": ASSIGNMENT, "near": ASSIGNMENT, "far": ASSIGNMENT}),
        (endpoints("shop", "a", "10.1.0.9"), {}),
        (route("shop", "a", "x-new", "."), {"shop": ROUTES}),
        (route("shop", "a", "x-new", "*"), {"shop": ROUTES, "far": ROUTES}),
    ],
    ids=["endpoints", "not exported", "of the scoped namespace", "the same", "a private route", "a public route"],
)
def test_who_is_pushed(changed: Any, expected: dict[str, list[str]]) -> None:
    hub = Hub(generate)
    before = Snapshot.build(WORLD, load_mesh_config())
    hub.publish(before, [])
    proxies = {namespace: connect(hub, namespace, n) for n, namespace in enumerate(("shop", "near", "far"), 1)}
    assert not any(map(drain, proxies.values()))
    change = before.objects.change_to(changed)
    hub.publish(before.updated([change]), [change])
    assert {name: got for name, connection in proxies.items() if (got := drain(connection))} == expected
