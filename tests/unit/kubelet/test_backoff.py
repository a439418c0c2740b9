"""Restart back-off on a clock of numbers."""

from __future__ import annotations

import pytest

from mizzen.runtime.kubelet.backoff import Backoff, words


def test_it_doubles_up_to_five_minutes() -> None:
    backoff = Backoff()
    assert backoff.delay_s == 0
    assert [backoff.ended(0, 0) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_long_running_is_forgiven() -> None:
    backoff = Backoff()
    for _ in range(4):
        backoff.ended(0, 1)
    assert backoff.ended(1000, 1000 + 599) == 1599 + 80
    assert backoff.ended(2000, 2000 + 600) == 2600
    assert backoff.ended(3000, 3001) == 3011


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (59, "59s"), (60, "1m0s"), (80, "1m20s"), (300, "5m0s")])
def test_words(seconds: float, text: str) -> None:
    assert words(seconds) == text
