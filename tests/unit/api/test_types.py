"""Durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.api.types import Duration


@pytest.mark.parametrize(
    ("text", "nanos", "canonical"),
    [
        ("1s", 10**9, "1s"),
        ("1h15m", 4500 * 10**9, "4500s"),
        (".5s", 5 * 10**8, "0.5s"),
        ("+2s", 2 * 10**9, "2s"),
        ("-1.5s", -15 * 10**8, "-1.5s"),
        ("2000us", 2 * 10**6, "0.002s"),
        ("0", 0, "0s"),
        ("1.5h", 5400 * 10**9, "5400s"),
    ],
)
def test_parse(text: str, nanos: int, canonical: str) -> None:
    assert Duration.parse(text).nanos == nanos
    assert str(Duration.parse(text)) == canonical


@pytest.mark.parametrize("text", ["", "5", "1d", "s", ".s", "1s ", "1 s", "1s1", "--1s", "9999999999h", "1S"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Duration.parse(text)


@given(st.integers(-(10**18), 10**18))
def test_round_trip(nanos: int) -> None:
    assert Duration.parse(str(Duration(nanos))) == Duration(nanos)


def test_is_a_value() -> None:
    assert Duration.of(0.1) == Duration.parse("100ms")
    assert Duration(1) < Duration(2)
    assert len({Duration(1), Duration(1)}) == 1
    with pytest.raises(AttributeError):
        Duration(1).nanos = 2  # type: ignore[misc]
