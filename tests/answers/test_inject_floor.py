"""The recorded answers of the real injector, as a floor: the figure can only go up."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "inject"))
import judge as inject_judge
import podshape  # noqa: F401  (judge's neighbour)

sys.path.pop(0)

from mizzen.api.errors import MizzenError  # noqa: E402
from mizzen.istiod.inject import Settings  # noqa: E402
from mizzen.istiod.inject.commands import inject_text  # noqa: E402

pytestmark = pytest.mark.answers
CASES_EQUAL, PERCENT = 82, 100.0


def run(case: inject_judge.Case) -> inject_judge.Run:
    try:
        text = inject_text(case.source.read_text(), "input.yaml", Settings(native_sidecars=True))
    except MizzenError as error:
        return inject_judge.Run("", f"Error: {error}", 1)
    return inject_judge.Run(text, "", 0)


def test_figure() -> None:
    right: Counter[bool] = Counter()
    differing = []
    cases = inject_judge.all_cases()
    for case in cases:
        expected, got, trouble = inject_judge.judge(case, run(case))
        answers = [expected.get(key) == got.get(key) for key in expected.keys() | got.keys()]
        right.update(answers)
        if not all(answers):
            differing.append(f"{case.name} {trouble}")
    assert len(cases) - len(differing) >= CASES_EQUAL, differing
    assert 100 * right[True] / right.total() >= PERCENT, differing


def test_the_command_prints_the_same(tmp_path: Path) -> None:
    case = inject_judge.all_cases(["pod-plain"])[0]
    command = [sys.executable, "-m", "mizzen", "kube-inject", "-f", str(case.source)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"ENABLE_NATIVE_SIDECARS": "true"})
    assert done.stdout == run(case).stdout
