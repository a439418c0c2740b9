"""Thresholds: how many outcomes in a row change a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.runtime.kubelet.probe import ProbeState


@pytest.mark.parametrize(
    ("spec", "initial", "outcomes", "verdicts"),
    [
        ({}, False, "+", "+"),
        ({}, False, "--+", "--+"),
        ({}, True, "--", "++"),
        ({}, True, "---", "++-"),
        ({}, True, "--+--", "+++++"),
        ({}, True, "---+", "++-+"),
        ({"failureThreshold": 1}, True, "-+-", "-+-"),
        ({"successThreshold": 2}, False, "+-++", "---+"),
        ({"successThreshold": 2, "failureThreshold": 2}, False, "++-+--", "-++++-"),
    ],
)
def test_verdicts(spec: dict[str, Any], initial: bool, outcomes: str, verdicts: str) -> None:
    state, found = ProbeState(spec, initial), ""
    for outcome in outcomes:
        state.record(outcome == "+")
        found += "+" if state.passing else "-"
    assert found == verdicts


def test_a_reached_threshold_is_told_each_time() -> None:
    state = ProbeState({"failureThreshold": 2}, True)
    assert [state.record(False) for _ in range(3)] == [False, True, True]
