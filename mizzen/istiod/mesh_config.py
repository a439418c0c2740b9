"""The effective MeshConfig from a file or a text, with errors that a user can read.

Not here: the defaults and how they merge (mizzen.api.mesh_config).
"""

from __future__ import annotations

from pathlib import Path

from mizzen.api import mesh_config
from mizzen.api.errors import Invalid, UsageError
from mizzen.api.istio.mesh import MeshConfig


def load_mesh_config(path: Path | None = None) -> MeshConfig:
    """The effective configuration with what a file gives; raises UsageError when it cannot be read."""
    if path is None:
        return mesh_config.default()
    try:
        return parse_mesh_config(path.read_text(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error}") from error


def parse_mesh_config(text: str, where: str = "mesh config") -> MeshConfig:
    """The effective configuration with what a YAML text gives; raises UsageError naming the field that is wrong."""
    try:
        return mesh_config.read(text)
    except Invalid as error:
        raise UsageError(f"{where}: {error}") from error
