"""Time for the data path: the Date header's text, remembered for its second."""

from __future__ import annotations

import time
from wsgiref.handlers import format_date_time

_second, _text = -1, ""


def date() -> str:
    """The present time as an HTTP date."""
    global _second, _text
    second = int(time.time())
    if second != _second:
        _second, _text = second, format_date_time(second)
    return _text
