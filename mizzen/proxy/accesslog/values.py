"""What operators make of single values: times, addresses, durations, structures as text.

Source: Envoy's access log documentation, "Format strings".
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from mizzen.proxy.http.info import StreamInfo
from mizzen.proxy.net.addresses import Address

Getter = Callable[[StreamInfo], Any]  # text, or for some operators a number or structure; None when there is nothing


HOSTNAME: Final = socket.gethostname()


_second, _second_text = -1, ""


def iso_milliseconds(wall: float) -> str:
    """ "2026-01-31T10:20:30.123Z"."""
    global _second, _second_text
    second = int(wall)
    if second != _second:
        _second, _second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_second_text}.{int((wall - second) * 1000):03d}Z"


def format_time(wall: float, pattern: str) -> str:
    """A time by Envoy's pattern: strftime's, with %f, %1f … %9f, %s, %E3S and the like for parts of a second."""
    second = int(wall)
    nanos = int((wall - second) * 1e9)
    out = pattern
    for digits in range(1, 10):
        part = f"{nanos:09d}"[:digits]
        out = out.replace(f"%{digits}f", part).replace(
            f"%E{digits}S", time.strftime("%S", time.gmtime(second)) + "." + part
        )
    out = out.replace("%f", f"{nanos:09d}").replace("%s", str(second))
    out = out.replace("%E*S", time.strftime("%S", time.gmtime(second)) + f".{nanos:09d}").replace("%Ez", "+00:00")
    return datetime.fromtimestamp(second, UTC).strftime(out)


def host_only(address: Address | None) -> str | None:
    return None if address is None else address[0]


def port_only(address: Address | None) -> int | None:
    return None if address is None or address[1] < 0 else address[1]


def milliseconds(since: float, until: float) -> int | None:
    return int((until - since) * 1000) if since and until else None


def structure(value: Any) -> Any:
    """A value of metadata as JSON shows it: whole numbers without a fraction, members in order of their names."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: structure(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [structure(item) for item in value]
    return value


def as_text(value: Any) -> str | None:
    """A structured value as a text format shows it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(structure(value))
