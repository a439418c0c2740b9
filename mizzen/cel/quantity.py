"""Quantities of Kubernetes' API ("100m", "1Gi") as numbers. Not here: how they are written back (the API server's)."""

from __future__ import annotations

import re
from fractions import Fraction

QUANTITY = re.compile(r"^([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?\Z")
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def quantity(text: str | int | float) -> Fraction:
    """The amount that a quantity means. Raises ValueError with Kubernetes' words."""
    found = QUANTITY.match(str(text))
    if not found:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    value = Fraction(found[2]) * _unit(found[3] or "")
    return -value if found[1] == "-" else value


def _unit(suffix: str) -> Fraction:
    if suffix in BINARY:
        return Fraction(1024 ** BINARY[suffix])
    if suffix in DECIMAL:
        return Fraction(10) ** DECIMAL[suffix]
    return Fraction(10) ** int(suffix[1:])
