"""Plain YAML scalars as Go's YAML library resolves them, then as JSON has them.

Source: YAML 1.1 types, gopkg.in/yaml.v2 as sigs.k8s.io/yaml uses it. Differs from PyYAML: y and n are booleans, 0o17,
0b1 and 1_000 are integers, times of day and dates are strings, whole floats are integers.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

Scalar = str | int | float | bool | None

_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT: Final = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@lru_cache(maxsize=8192)
def plain(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789.-+":
        return text
    if _NOT_FINITE.fullmatch(text):
        return text  # JSON has no such number
    digits = text.replace("_", "")
    whole = _INT.fullmatch(digits)
    if whole is not None:
        return _integer(whole[1], whole[2])
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < 2**63 else value
    return text


def _integer(sign: str, digits: str) -> int | float:
    lowered = digits.lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(lowered[:2], 8 if lowered[0] == "0" else 10)
    value = int(lowered[2:] if lowered[1:2] in "xbo" and lowered[1:2] else lowered, base)
    value = -value if sign == "-" else value
    return value if -(2**63) <= value < 2**64 else float(value)


def scalar(text: str, tag: str, *, plain: bool) -> Scalar:
    """The value of a scalar. tag: the node's, which counts when written; plain: it had neither tag nor quotes."""
    if plain:
        return _plain(text)
    kind = tag.removeprefix("tag:yaml.org,2002:")
    if kind in ("int", "float", "bool", "null"):
        return _plain(text)
    return text


_plain = plain
