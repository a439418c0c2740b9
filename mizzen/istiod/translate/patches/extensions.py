"""EXTENSION_CONFIG patches: configs that EnvoyFilters add to what ECDS serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.patches.select import patches_for


def patched_extensions(snap: Snapshot, node: Node, names: Iterable[str]) -> list[tuple[str, Any]]:
    """Added configs with these names."""
    wanted = set(names)
    added = [patch.value for patch in patches_for(snap, node).get("EXTENSION_CONFIG", ()) if patch.adds]
    return [(value.name, value) for value in added if value.name in wanted]
