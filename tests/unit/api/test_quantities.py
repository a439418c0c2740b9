from decimal import Decimal

import pytest

from mizzen.api.errors import Invalid
from mizzen.api.quantities import milli, parse_quantity, whole


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("100m", "0.1"),
        ("1.5Gi", 1.5 * 2**30),
        ("2e3", 2000),
        ("1E", 10**18),
        ("1E2", 100),
        (".5", "0.5"),
        ("-2k", -2000),
    ],
)
def test_reading(text, value):
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1Kii", "--1", "1.2.3"])
def test_unreadable(text):
    with pytest.raises(Invalid):
        parse_quantity(text)


def test_rounding_is_up():
    assert milli("1u") == 1
    assert whole("1500m") == 2
