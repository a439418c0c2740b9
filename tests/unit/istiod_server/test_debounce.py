"""Debounce: the first change at once, a storm when it pauses or has lasted long enough."""

from __future__ import annotations

import pytest

from mizzen.istiod.xds.debounce import Debounce


def play(times: list[float], quiet_s: float = 0.1, max_s: float = 1.0) -> list[tuple[float, int]]:
    """(when, how many changes) of each act, for changes at these times; acting takes no time."""
    debounce, acts, waiting = Debounce(quiet_s, max_s), [], 0
    for now in [*times, float("inf")]:
        while (due := debounce.due()) is not None and due < now:
            acts.append((round(due, 3), waiting))
            debounce.acted(due)
            waiting = 0
        if now != float("inf"):
            debounce.changed(now)
            waiting += 1
    return acts


@pytest.mark.parametrize(
    ("times", "acts"),
    [
        ([5.0], [(5.0, 1)]),
        ([5.0, 6.0, 7.0], [(5.0, 1), (6.0, 1), (7.0, 1)]),
        ([5.0, 5.01, 5.02], [(5.0, 1), (5.12, 2)]),
        ([5.0, 5.05, 5.14], [(5.0, 1), (5.24, 2)]),
        ([5.0, 5.05, 5.3], [(5.0, 1), (5.15, 1), (5.3, 1)]),
    ],
    ids=["one", "apart", "storm", "a storm goes on", "a storm that ended"],
)
def test_when(times: list[float], acts: list[tuple[float, int]]) -> None:
    assert play(times) == acts


def test_a_storm_without_a_pause_is_cut() -> None:
    acts = play([1 + n * 0.05 for n in range(60)])
    assert acts[0] == (1.0, 1)
    assert acts[1][0] == 2.05, "one second after its first change"
    assert sum(count for _, count in acts) == 60


def test_nothing_is_due_without_changes() -> None:
    debounce = Debounce()
    assert debounce.due() is None and not debounce.pending


def test_a_storm_of_endpoints_waits_for_a_moment_only() -> None:
    debounce = Debounce(0.1, 10.0, 0.3)
    debounce.changed(1.0, endpoints=True)
    debounce.acted(1.0)
    for n in range(20):
        debounce.changed(1.01 + n * 0.01, endpoints=True)
    assert debounce.due() == pytest.approx(1.30)
    for n in range(10):
        debounce.changed(1.22 + n * 0.01, endpoints=True)
    assert debounce.due() == pytest.approx(1.31), "no later for more of them"
    debounce.changed(1.32)
    assert debounce.due() == pytest.approx(1.42), "other changes wait for a pause"
    debounce.acted(1.42)
    debounce.changed(1.45, endpoints=True)
    for n in range(40):
        debounce.changed(1.46 + n * 0.01, endpoints=True)
    assert debounce.due() == pytest.approx(1.75), "endpoints alone again"
