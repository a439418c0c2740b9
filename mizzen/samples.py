"""Where the samples are: beside the package in a checkout, inside it when it was installed from a wheel."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def folder() -> Path:
    """The folder `samples`: `apps` (the servers that the image mizzen/samples runs) and the manifests."""
    checkout = _HERE.parent / "samples"
    return checkout if checkout.is_dir() else _HERE / "samples_data"
