"""Istio's own extension messages, where the package mizzen.wire has them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from google.protobuf import descriptor_pool


def import_wire(name: str) -> bool:
    """Import the modules of mizzen.wire until one knows the type; False when none does."""
    spec = find_spec("mizzen.wire")
    if spec is None or not spec.submodule_search_locations:
        return False
    pool = descriptor_pool.Default()
    for folder in spec.submodule_search_locations:
        for path in sorted(Path(folder).glob("*.py")):
            if path.stem.startswith("_") or path.stem == "cri":
                continue
            import_module(f"mizzen.wire.{path.stem}")
            try:
                pool.FindMessageTypeByName(name)
                return True
            except KeyError:
                continue
    return False
