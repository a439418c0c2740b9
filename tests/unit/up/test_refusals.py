"""Options of `mizzen up` that ask for what there is not are refused before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("option", [("--runtime", "containerd"), ("--nodes", "2")])
def test_refused_by_name(tmp_path: Path, option: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "mizzen", "up", "--home", str(tmp_path / "home"), *option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"mizzen: {' '.join(option)}: not supported")
    assert not (tmp_path / "home").exists()
