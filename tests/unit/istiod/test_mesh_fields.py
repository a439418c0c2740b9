"""docs/mesh-config.md is true: every field is listed, what is honoured changes something, what has no effect changes nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mizzen.api import mesh_config
from mizzen.api.istio.mesh import MeshConfig
from mizzen.istiod import dump
from mizzen.istiod.inject.config import Settings
from mizzen.istiod.inject.kube_inject import inject_object
from mizzen.istiod.objects import Objects
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options
from mizzen.istiod.status.ingresses import addresses
from tests.support.mesh_fields import FIELDS, INJECTED, READ, SERVED, UNUSED, fields, page
from tests.support.xds_corpus import ROOT, nodes

DOCS = Path(__file__).parents[3] / "docs"
MESHES = (
    "authz-conditions",
    "authz-http",
    "bookshop-baseline",
    "dr-client-tls",
    "gateway-api",
    "ingress-objects",
    "mesh-settings",
)
"""Recorded meshes that between them show every field."""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "shop", "annotations": {"prometheus.io/scrape": "true"}},
    "spec": {"containers": [{"name": "a", "image": "i"}]},
}


def of_state(*states: str) -> list[str]:
    return [name for name, field in FIELDS.items() if field.state in states]


@cache
def objects(case: str) -> tuple[Any, ...]:
    return tuple(dump.load_objects([ROOT / case / "input.yaml"]))


def meshes(name: str, case: str | None = None) -> tuple[MeshConfig, MeshConfig]:
    """Without the field's value, and with it."""
    file = ROOT / (case or "") / "mesh.yaml"
    given = mesh_config.read(file.read_text()) if case and file.exists() else mesh_config.default()
    field = FIELDS[name]
    base = mesh_config.read(json.dumps(field.beside), given) if field.beside else given
    return base, mesh_config.read(json.dumps({name: field.value}), base)


def served(case: str, mesh: MeshConfig) -> list[bytes]:
    snap = Snapshot.build(objects(case), mesh, Options())
    return [
        message.SerializeToString(deterministic=True)
        for node in nodes(case).values()
        for messages in dump.resources(snap, node).values()
        for message in messages
    ]


def is_served(name: str) -> bool:
    return any(served(case, before) != served(case, after) for case in MESHES for before, after in [meshes(name, case)])


def is_injected(name: str) -> bool:
    before, after = (inject_object(POD, Settings(mesh=mesh)) for mesh in meshes(name))
    return before != after


def test_every_field_is_listed() -> None:
    assert set(fields()) == set(FIELDS)


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "mesh-config.md").read_text() == page(), "python -m tests.support.mesh_fields > docs/mesh-config.md"


@pytest.mark.parametrize("name", of_state(SERVED))
def test_what_is_honoured_changes_what_is_served(name: str) -> None:
    assert is_served(name)


@pytest.mark.parametrize("name", of_state(INJECTED))
def test_what_is_honoured_changes_what_is_injected(name: str) -> None:
    assert is_injected(name)


@pytest.mark.parametrize("name", of_state(UNUSED, READ))
def test_what_has_no_effect_changes_nothing(name: str) -> None:
    assert not is_served(name)
    assert not is_injected(name)


def test_what_another_part_reads_is_read() -> None:
    """discoverySelectors: in a cluster, tests/cluster/test_revisions.py. configSources: istiod_server/test_config_sources.py.
    serviceSettings: snapshot/test_cluster_local.py.
    """
    assert of_state(READ) == ["ingressService", "discoverySelectors", "serviceSettings", "configSources"]
    balancer = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"type": "LoadBalancer"}, "status": balancer}
    service["metadata"] = {"name": "other", "namespace": "istio-system"}
    found = Objects.of([dump.kinds.decode(service)])
    before, after = meshes("ingressService")
    assert addresses(found, before, "istio-system") != addresses(found, after, "istio-system")


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(Exception, match="noSuchField"):
        mesh_config.read("noSuchField: 1\n")
