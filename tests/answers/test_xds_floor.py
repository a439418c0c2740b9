"""What `mizzen xds dump` answers beside what a real Istio did: the figures may only go up."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.answers import compare

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "mizzen"]
LEAST_PERCENT = 99.5
UNEQUAL = frozenset({"gateway-api", "se-workload-entries"})
"""Cases in which some answer differs; docs/compatibility.md says why."""


@pytest.mark.answers
def test_xds_answers() -> None:
    cases = sorted(path.parent for path in HERE.glob("xds/*/expected"))
    with ThreadPoolExecutor(2) as pool:
        tallies = dict(
            zip([c.name for c in cases], pool.map(lambda c: compare.xds_case(c, COMMAND), cases), strict=True)
        )
    unequal = {name: tallies[name].notes[:3] for name in tallies.keys() - UNEQUAL if tallies[name].wrong or tallies[name].notes}
    assert not unequal
    right = sum(tally.right for tally in tallies.values())
    total = right + sum(tally.wrong for tally in tallies.values())
    assert 100.0 * right / total >= LEAST_PERCENT


@pytest.mark.answers
@pytest.mark.parametrize("case", sorted(path.parent.name for path in HERE.glob("mesh-variations/*/expected")))
def test_meshes_under_other_settings(case: str) -> None:
    """Meshes of the cases above under other settings of the mesh, which the same Istio was asked about; all equal."""
    tally = compare.xds_case(HERE / "mesh-variations" / case, COMMAND)
    assert not tally.wrong and not tally.notes and tally.right
