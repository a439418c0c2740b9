"""Which services stay in their cluster, and that proxies of other clusters get none of their endpoints."""

from __future__ import annotations

import msgspec
import pytest

from mizzen.api import mesh_config
from mizzen.istiod import dump
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.cluster_local import ClusterLocalHosts
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.translate.endpoints import load_assignment
from tests.support.xds_corpus import ROOT, nodes

API_SERVER, DNS = "kubernetes.default.svc.cluster.local", "dns.kube-system.svc.cluster.local"
ISTIOD, SHOP, CART = "istiod.istio-system.svc.cluster.local", "a.shop.svc.cluster.local", "cart.shop.svc.cluster.local"
LOCAL_SHOP = "serviceSettings: [{settings: {clusterLocal: true}, hosts: ['*.shop.svc.cluster.local']}]"
OPEN_CART = LOCAL_SHOP[:-1] + f", {{settings: {{clusterLocal: false}}, hosts: [{CART}]}}]"
OPEN_DNS = f"serviceSettings: [{{settings: {{clusterLocal: false}}, hosts: [{DNS}]}}]"
OPEN_ALL = "serviceSettings: [{settings: {clusterLocal: false}, hosts: ['*']}]"


@pytest.mark.parametrize(
    ("mesh", "local", "shared"),
    [
        ("", {API_SERVER, DNS, ISTIOD}, {SHOP, CART}),
        (LOCAL_SHOP, {API_SERVER, DNS, ISTIOD, SHOP, CART}, set()),
        (OPEN_CART, {API_SERVER, SHOP}, {CART}),
        (OPEN_DNS, {API_SERVER, ISTIOD}, {DNS, SHOP}),
        ("defaultConfig: {discoveryAddress: 'control.ops.svc:15012'}", {"control.ops.svc.cluster.local"}, {ISTIOD}),
    ],
)
def test_the_most_specific_setting_counts(mesh: str, local: set[str], shared: set[str]) -> None:
    hosts = ClusterLocalHosts(mesh_config.read(mesh), "cluster.local")
    assert {host for host in local | shared if host in hosts} == local


@pytest.mark.parametrize(
    ("mesh", "cluster_id", "found"), [("", "other", True), ("local", "other", False), ("local", "Kubernetes", True)]
)
def test_endpoints_stay_in_their_cluster(mesh: str, cluster_id: str, found: bool) -> None:
    text = "serviceSettings: [{settings: {clusterLocal: true}, hosts: ['*.svc.cluster.local']}]" if mesh else ""
    snap = Snapshot.build(
        dump.load_objects([ROOT / "bookshop-baseline" / "input.yaml"]), mesh_config.read(text), Options()
    )
    node = next(iter(nodes("bookshop-baseline").values()))
    node = msgspec.structs.replace(node, metadata={**node.metadata, "CLUSTER_ID": cluster_id})
    services = [svc for svc in snap.registry.services if svc.host.endswith(".svc.cluster.local")]
    names = [f"outbound|{port.number}||{svc.host}" for svc in services for port in svc.ports]
    assert any(load_assignment(snap, node, name).endpoints for name in names) is found
