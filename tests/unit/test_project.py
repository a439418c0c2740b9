"""The project's own rules: format, lint, imports that go one way, strict types. What `make check` runs, as tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

CHECKS = {
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "imports": ["lint-imports", "--no-cache"],
    "types": ["mypy"],
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("command", list(CHECKS.values()), ids=list(CHECKS))
def test_check(command: list[str]) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_every_command_of_the_list_can_be_loaded() -> None:
    from mizzen.cli.main import COMMANDS, load

    for entry in COMMANDS:
        assert load(entry).name == entry.name


def test_no_file_is_crowded() -> None:
    """A file of more than 500 lines has more than one purpose."""
    sizes = {path: path.read_bytes().count(b"\n") for path in (ROOT / "mizzen").rglob("*.py")}
    assert {str(path): size for path, size in sizes.items() if size > 500} == {}
