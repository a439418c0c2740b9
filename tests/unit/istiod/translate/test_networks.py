"""Endpoints of other networks are reached through those networks' gateways."""

from __future__ import annotations

from typing import Any

from mizzen.api import kinds
from mizzen.istiod import dump
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.endpoints import load_assignment


def obj(kind: str, name: str, spec: Any, version: str = "networking.istio.io/v1", **more: Any) -> Any:
    meta = {"name": name, "namespace": "shop"} | more.pop("metadata", {})
    return kinds.decode({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec, **more})


def gateway(name: str, network: str, ip: str) -> Any:
    meta = {"labels": {"topology.istio.io/network": network}}
    status = {"loadBalancer": {"ingress": [{"ip": ip}]}}
    return obj("Service", name, {"ports": [{"port": 15443}]}, "v1", metadata=meta, status=status)


def endpoint(ip: str, network: str, account: str = "vm", weight: int = 1) -> dict[str, Any]:
    return {"address": ip, "network": network, "serviceAccount": account, "weight": weight}


HERE = [endpoint("192.0.2.1", "here"), endpoint("192.0.2.2", "there", weight=3), endpoint("192.0.2.3", "there", "")]


def addresses(*objects: Any, network: str = "here", **metadata: Any) -> dict[str, int]:
    """Address:port → weight, as a proxy of a network sees them."""
    spec = {
        "hosts": ["a.test"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "endpoints": HERE,
    }
    snap = Snapshot.build([obj("ServiceEntry", "a", spec), *objects], load_mesh_config())
    entry = {"namespace": "shop", "pod": "p", "ip": "10.0.0.1", "metadata": {"NETWORK": network, **metadata}}
    found = load_assignment(snap, snap.place(dump.node_of(entry)), "outbound|80||a.test")
    out = {}
    for group in found.endpoints:
        for lb in group.lb_endpoints:
            socket = lb.endpoint.address.socket_address
            out[f"{socket.address}:{socket.port_value}"] = lb.load_balancing_weight.value
    return out


def test_no_gateways_no_change() -> None:
    assert addresses() == {"192.0.2.1:80": 1, "192.0.2.2:80": 3, "192.0.2.3:80": 1}


def test_through_one_gateway() -> None:
    found = addresses(gateway("g", "there", "203.0.113.1"))
    assert found == {"192.0.2.1:80": 1, "203.0.113.1:15443": 3}


def test_weight_is_split_evenly() -> None:
    found = addresses(gateway("g", "there", "203.0.113.1"), gateway("h", "there", "203.0.113.2"))
    assert found == {"192.0.2.1:80": 2, "203.0.113.1:15443": 3, "203.0.113.2:15443": 3}


def test_from_the_other_side() -> None:
    found = addresses(gateway("g", "there", "203.0.113.1"), network="there")
    assert found == {"192.0.2.1:80": 1, "192.0.2.2:80": 3, "192.0.2.3:80": 1}


def test_view() -> None:
    assert addresses(REQUESTED_NETWORK_VIEW="here") == {"192.0.2.1:80": 1}
