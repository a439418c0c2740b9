"""A NACK is blamed on the objects that made what was refused."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.api.manifest import load
from mizzen.istiod.config.store import decode
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node
from mizzen.istiod.objects import Change, key_of, kind_of
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.status import blame as blaming
from mizzen.istiod.status.blame import causes, changed_between, named, publication
from mizzen.istiod.status.origins import Origins, origins
from mizzen.istiod.translate import generate
from mizzen.istiod.xds.encode import pack
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Request
from mizzen.istiod.xds.types import CDS, LDS, RDS

MESH_CONFIG = load_mesh_config(None)
MESH = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.1, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web-rule, namespace: shop}
spec: {host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web-routes, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: odd-clusters, namespace: shop}
spec:
  configPatches:
  - {applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND}, patch: {operation: MERGE, value: {alt_stat_name: odd}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-get, namespace: shop}
spec: {action: ALLOW, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""


def objects() -> list[Any]:
    return [decode(document.object) for document in load(MESH)]


def node() -> Node:
    return Node(
        id="sidecar~10.1.0.1~web-1.shop~shop.svc.cluster.local",
        type="sidecar",
        ips=("10.1.0.1",),
        name="web-1.shop",
        namespace="shop",
        dns_domain="shop.svc.cluster.local",
        labels={"app": "web"},
    )


@pytest.fixture
def snap() -> Snapshot:
    return Snapshot.build(objects(), MESH_CONFIG)


def of(snap: Snapshot, type_url: str, name: str, *asked: str) -> Origins:
    made = dict(generate(snap, node(), type_url, asked or None))
    return origins(snap, node(), type_url, name, pack(type_url, made[name]))


def test_a_cluster_is_made_by_its_service_its_rule_and_patches(snap: Snapshot) -> None:
    found = of(snap, CDS, "outbound|80||web.shop.svc.cluster.local")
    assert set(found.sure) == {
        ("Service", ("shop", "web")),
        ("DestinationRule", ("shop", "web-rule")),
        ("EnvoyFilter", ("shop", "odd-clusters")),
    }


def test_routes_are_made_by_virtual_services(snap: Snapshot) -> None:
    assert ("VirtualService", ("shop", "web-routes")) in of(snap, RDS, "80", "80").sure


def test_a_listener_is_made_by_authorization_policies(snap: Snapshot) -> None:
    found = of(snap, LDS, "virtualInbound")
    assert ("AuthorizationPolicy", ("shop", "only-get")) in found.sure
    assert not any(kind == "EnvoyFilter" for kind, _ in found.every), "its patches are to clusters"


def test_names_in_an_error() -> None:
    names = ["outbound|80||a.b", "outbound|80||a.b.c", "virtualInbound"]
    text = "Error adding/updating cluster(s) outbound|80||a.b.c: no such filter, outbound|8080||a.b: x"
    assert named(text, names) == ["outbound|80||a.b.c"]
    assert named("Error adding/updating listener(s) virtualInbound: bad", names) == ["virtualInbound"]
    assert named("Proto constraint validation failed", names) == []


def test_what_changed_last_is_to_blame() -> None:
    old, new, filter_ = ("Service", ("a", "b")), ("VirtualService", ("a", "b")), ("EnvoyFilter", ("a", "f"))
    found = [Origins((old, new), (filter_,))]
    assert causes(found, {new}) == (new,)
    assert causes(found, {filter_}) == (filter_,)
    assert causes(found, {("Pod", ("a", "b"))}) == (old, new)
    assert causes([Origins((), (filter_,))], ()) == (filter_,)


def test_publications_are_told_by_nonces() -> None:
    nonce = "2026-08-22T15:00:18Z/12" + "00000000-0000-0000-0000-000000000000"
    assert (publication(nonce), publication("")) == (12, 0)
    history = [(n, frozenset({("Pod", ("a", str(n)))})) for n in range(1, 5)]
    assert changed_between(history, 2, 3) == {("Pod", ("a", "3"))}
    assert changed_between(history, 0, 3) == frozenset(), "what never was accepted has no recent change"


def test_a_refused_patch_is_blamed_and_forgiven() -> None:
    """From a publication that a proxy accepts over one that it refuses to one that it accepts again."""
    every = objects()
    filter_ = next(obj for obj in every if kind_of(obj) == "EnvoyFilter")
    change = Change("EnvoyFilter", key_of("EnvoyFilter", filter_), filter_, None)
    hub = Hub(generate)
    hub.publish(Snapshot.build([o for o in every if o is not filter_], MESH_CONFIG), [])
    connection = hub.connect(node(), None, "test", delta=True)
    connection.request(Request(type_url=CDS))
    assert connection.next_message() is not None
    watch = connection.watches[CDS]
    connection.request(Request(type_url=CDS, nonce=watch.nonce_sent))
    assert watch.status == "SYNCED"
    hub.publish(Snapshot.build(every, MESH_CONFIG), [change])
    assert connection.next_message() is not None
    error = "Error adding/updating cluster(s) outbound|80||web.shop.svc.cluster.local: no"
    connection.request(Request(type_url=CDS, nonce=watch.nonce_sent, error=error, error_code=13))
    blaming.note(hub, connection, watch)
    (found,) = [one for _, one in blaming.blames(hub)]
    assert found.resources == ("outbound|80||web.shop.svc.cluster.local",)
    assert found.objects == (("EnvoyFilter", ("shop", "odd-clusters")),)
    gone = Change("EnvoyFilter", change.key, None, filter_)
    hub.publish(Snapshot.build([o for o in every if o is not filter_], MESH_CONFIG), [gone])
    assert connection.next_message() is not None
    connection.request(Request(type_url=CDS, nonce=watch.nonce_sent))
    assert not list(blaming.blames(hub))
