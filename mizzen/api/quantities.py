"""Kubernetes resource quantities: "100m", "1.5Gi", "2e3", "12".

Source: apimachinery's resource.Quantity grammar: a signed decimal and a suffix that is binary (Ki…Ei), decimal (n u m "" k M G T P E)
or a decimal exponent (e3, E-2).
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

from mizzen.api.errors import Invalid

_FORM = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d+)?")
_SCALES = {name: Decimal(1024) ** (power + 1) for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_SCALES |= {name: Decimal(1000) ** power for name, power in
            {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}.items()}  # fmt: skip


@lru_cache(maxsize=4096)
def parse_quantity(text: str | int | float) -> Decimal:
    """The number meant by a quantity. Raises Invalid for anything else."""
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise Invalid("", f"quantities must match the regular expression '{_FORM.pattern}': {text!r}")
    suffix = match[2] or ""
    if suffix not in _SCALES:
        return Decimal(match[1]) * Decimal(10) ** int(suffix[1:])
    return Decimal(match[1]) * _SCALES[suffix]


def milli(text: str | int | float) -> int:
    """A quantity in thousandths, rounded up: CPU."""
    return int((parse_quantity(text) * 1000).to_integral_value(ROUND_UP))


def whole(text: str | int | float) -> int:
    """A quantity in whole units, rounded up: bytes, pods, cards."""
    return int(parse_quantity(text).to_integral_value(ROUND_UP))
