"""What is shared and what is skipped must never show: checked on the recorded meshes by taking each object away
in turn.

Where `affects` says that a change cannot touch a type (or, for endpoints, a host), generating anew must give the
same; where two proxies have equal views, they must be served the same. SHARING_CASES=1 runs over all meshes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mizzen.istiod import dump
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node, parse_node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.translate import generate
from mizzen.istiod.xds import affects, views
from mizzen.istiod.xds.namespaces import NamedNamespaces
from mizzen.istiod.xds.types import CDS, EDS, LDS, NDS, RDS, host_of, short_name

CASES = Path(__file__).parents[2] / "answers" / "xds"
CHOSEN = (
    "bookshop-baseline",
    "sidecar-egress",
    "se-resolutions",
    "vs-tcp-routes",
    "k8s-service-flavours",
    "gw-http-hosts",
)
TYPES = (CDS, LDS, RDS, EDS, NDS)


def cases() -> list[str]:
    every = sorted(path.parent.name for path in CASES.glob("*/proxies.yaml"))
    return every if os.environ.get("SHARING_CASES") else [case for case in every if case in CHOSEN]


def snapshot_of(case: str) -> Snapshot:
    mesh = CASES / case / "mesh.yaml"
    objects = dump.load_objects([CASES / case / "input.yaml"])
    return Snapshot.build(objects, load_mesh_config(mesh if mesh.exists() else None), Options())


def served(snap: Snapshot, node: Node, asked: dict[str, set[str]] | None = None) -> dict[str, dict[str, bytes]]:
    """All resources of a proxy by type and name. asked: names of routes and endpoints to ask for besides its own."""
    out: dict[str, dict[str, bytes]] = {}
    for url in (CDS, LDS, NDS):
        out[url] = _bytes(generate(snap, node, url))
    messages = dump.resources(snap, node)
    own = {
        RDS: {message.name for message in messages["routes"]},  # type: ignore[attr-defined]
        EDS: {message.cluster_name for message in messages["endpoints"]},  # type: ignore[attr-defined]
    }
    for url, names in own.items():
        wanted = names | (asked or {}).get(url, set())
        out[url] = _bytes(generate(snap, node, url, sorted(wanted)))
    return out


def _bytes(resources: Any) -> dict[str, bytes]:
    return {name: message.SerializeToString(deterministic=True) for name, message in resources}


@pytest.mark.parametrize("case", cases())
def test_what_a_change_cannot_touch_stays_the_same(case: str) -> None:
    before = snapshot_of(case)
    nodes = [n for n in dump.load_nodes(CASES / case / "proxies.yaml").values() if n.type in ("sidecar", "router")][:2]
    old = [served(before, node) for node in nodes]
    for kind in ("Service", "EndpointSlice", "Pod", "VirtualService", "DestinationRule", "ServiceEntry", "Sidecar",
                 "PeerAuthentication", "AuthorizationPolicy", "Gateway", "Telemetry", "WorkloadEntry", "Secret"):  # fmt: skip
        for key in list(before.objects.table(kind))[:6]:
            change = before.objects.removal(kind, key)
            after = before.updated([change])
            moves = affects.Moves.of([change])
            for node, known in zip(nodes, old, strict=True):
                if moves and moves.concern(node):
                    continue  # its view is computed anew
                new = served(after, node, {url: set(known[url]) for url in (RDS, EDS)})
                for url in TYPES:
                    touched = affects.names(url, [change], before, after)
                    if touched is None:
                        continue
                    for name, resource in known[url].items():
                        if url == EDS and host_of(name) in touched:
                            continue
                        same = new[url].get(name) == resource
                        assert same, f"{short_name(url)} {name} of {node.name} depends on {kind} {key}"
            # And the change the other way round: the object comes.
            for url in TYPES:
                there = affects.names(url, [change], before, after)
                back = affects.names(url, [after.objects.change_to(change.old)], after, before)
                assert (there is None) == (back is None), f"{short_name(url)} {kind} {key}: {there} but {back}"


@pytest.mark.parametrize("case", cases())
def test_proxies_of_plain_namespaces_are_served_alike(case: str) -> None:
    snap = snapshot_of(case)
    named = NamedNamespaces()
    named.update(snap.objects)
    assert not {"plain-a", "plain-b"} & named.names
    nodes = []
    for n, namespace in enumerate(("plain-a", "plain-b")):
        meta = {"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "1.32.0"}
        nodes.append(parse_node(f"sidecar~10.99.0.{n + 1}~x.{namespace}~{namespace}.svc.cluster.local", meta))
    one, two = (views.view(snap, node, None, named.names) for node in nodes)
    assert one.anywhere == two.anywhere and one.own != two.own
    left, right = (served(snap, node) for node in nodes)
    for url in views.ANYWHERE:
        assert left[url].keys() == right[url].keys()
        for name, resource in left[url].items():
            assert right[url][name] == resource, f"{short_name(url)} {name}"
