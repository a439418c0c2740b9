"""Time for the data path: the Date header's text, remembered for its second; the deadline that never comes."""

from __future__ import annotations

import time
from typing import Final
from wsgiref.handlers import format_date_time

NEVER: Final = float("inf")
"""A point in time.monotonic() by which something must have happened: at no time."""
_second, _text = -1, ""


def date() -> str:
    """The present time as an HTTP date."""
    global _second, _text
    second = int(time.time())
    if second != _second:
        _second, _text = second, format_date_time(second)
    return _text
