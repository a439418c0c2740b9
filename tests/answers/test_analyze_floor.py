"""The messages of `mizzen analyze` against those of a real istioctl: the share that is right can only go up."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
LEAST = 100.0


@pytest.mark.answers
def test_analyze() -> None:
    judge = [sys.executable, str(ROOT / "compare.py"), "analyze", "--min", str(LEAST)]
    done = subprocess.run([*judge, "--", sys.executable, "-m", "mizzen"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
