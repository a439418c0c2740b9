"""The bounded cache: what is asked for again survives, what is not goes."""

from __future__ import annotations

from mizzen.istiod.generations import Generations


def test_what_is_used_survives() -> None:
    cache: Generations[int] = Generations(2)
    for number in range(10):
        cache.put(number, number)
        assert cache.get(0) == 0
    assert cache.get(1) is None
    assert cache.get(9) == 9


def test_it_is_bounded() -> None:
    cache: Generations[int] = Generations(3)
    for number in range(100):
        cache.put(number, number)
    assert sum(cache.get(number) is not None for number in range(100)) <= 6


def test_clear() -> None:
    cache: Generations[str] = Generations(1)
    assert cache.put("a", "b") == "b"
    cache.clear()
    assert cache.get("a") is None
