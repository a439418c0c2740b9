"""The verdicts of `mizzen validate` against those of a real Istio: the share that is right can only go up."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
LEAST = 100.0


@pytest.mark.answers
def test_validate() -> None:
    judge = [sys.executable, str(ROOT / "compare.py"), "validate", "--min", str(LEAST)]
    done = subprocess.run([*judge, "--", sys.executable, "-m", "mizzen"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
