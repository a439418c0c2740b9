"""What the recorded meshes' proxies are served, built once per case: for tests that hand it to other readers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from mizzen.istiod import dump
from mizzen.istiod.mesh_config import load_mesh_config
from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.snapshot.snapshot import Options

ROOT = Path(__file__).parents[1] / "answers" / "xds"
CASES = sorted(path.parent.name for path in ROOT.glob("*/expected"))


@cache
def snapshot(case: str) -> Snapshot:
    """The snapshot of a case's objects, short names resolved as in a real mesh."""
    folder = ROOT / case
    mesh = folder / "mesh.yaml"
    config = load_mesh_config(mesh if mesh.exists() else None)
    return Snapshot.build(dump.load_objects([folder / "input.yaml"]), config, Options())


def nodes(case: str, extensions: frozenset[str] | None = None) -> dict[str, Node]:
    """The proxies of a case. extensions: what they say that they can run, None = nothing is said."""
    found = dump.load_nodes(ROOT / case / "proxies.yaml")
    return {name: msgspec.structs.replace(node, extensions=extensions) for name, node in found.items()}


def served(case: str, extensions: frozenset[str] | None = None) -> dict[str, dict[str, list[Any]]]:
    """Every resource of every proxy of a case, by proxy and section."""
    snap = snapshot(case)
    return {name: dump.resources(snap, node) for name, node in nodes(case, extensions).items()}
