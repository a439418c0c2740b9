"""A log format as a list of steps, for the compiled proxy: native attribute reads in one loop.

Interpreted, a function made of an f-string is faster (codegen.py); `COMPILED` tells which this is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mizzen.proxy.http.info import StreamInfo, flags_text

COMPILED: Final = not __file__.endswith(".py")
TEXT: Final = 0
CALL: Final = 1
BYTES_RECEIVED: Final = 2
BYTES_SENT: Final = 3
DURATION: Final = 4
PROTOCOL: Final = 5
RESPONSE_CODE: Final = 6
RESPONSE_FLAGS: Final = 7
START_TIME: Final = 8
UPSTREAM_CLUSTER: Final = 9
UPSTREAM_HOST: Final = 10
DETAILS: Final = 11
METHOD: Final = 12
PATH: Final = 13
AUTHORITY: Final = 14
REQUEST: Final = 15
RESPONSE: Final = 16
REQUEST_OR_PATH: Final = 17
REQUEST_OR_AUTHORITY: Final = 18
PLAIN_STEPS: Final = {
    "BYTES_RECEIVED": BYTES_RECEIVED,
    "BYTES_SENT": BYTES_SENT,
    "DURATION": DURATION,
    "PROTOCOL": PROTOCOL,
    "RESPONSE_CODE": RESPONSE_CODE,
    "RESPONSE_FLAGS": RESPONSE_FLAGS,
    "START_TIME": START_TIME,
    "UPSTREAM_CLUSTER": UPSTREAM_CLUSTER,
    "UPSTREAM_HOST": UPSTREAM_HOST,
}
Value = Callable[[StreamInfo], str]
Step = tuple[int, str, Value | None]  # what, its text or header, the operator itself

_second, _text = -1, ""


def iso(wall: float) -> str:
    """ "2026-01-31T10:20:30.123Z"."""
    global _second, _text
    second = int(wall)
    if second != _second:
        _second, _text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    milliseconds = int((wall - second) * 1000)
    return f"{_text}.{str(milliseconds + 1000)[1:]}Z"


class Renderer:
    """One format."""

    __slots__ = ("missing", "steps")

    def __init__(self, steps: list[Step], missing: str) -> None:
        self.steps = steps
        self.missing = missing

    def render(self, info: StreamInfo) -> str:
        out: list[str] = []
        missing = self.missing
        request, response = info.request, info.response
        for what, text, call in self.steps:
            if what == TEXT:
                out.append(text)
            elif what == CALL:
                out.append(call(info) if call is not None else missing)
            elif what == BYTES_RECEIVED:
                out.append(str(info.bytes_received))
            elif what == BYTES_SENT:
                out.append(str(info.bytes_sent))
            elif what == DURATION:
                out.append(str(int((info.end - info.start) * 1000)) if info.end else "0")
            elif what == PROTOCOL:
                out.append(info.protocol or missing)
            elif what == RESPONSE_CODE:
                out.append(str(info.code))
            elif what == RESPONSE_FLAGS:
                out.append("-" if info.flag_order is None else flags_text(info))
            elif what == START_TIME:
                out.append(iso(info.start_wall))
            elif what == UPSTREAM_CLUSTER:
                out.append(info.upstream_cluster_name or missing)
            elif what == UPSTREAM_HOST:
                host = info.host
                out.append(missing if host is None else host.text)
            elif what == RESPONSE:
                if response is None or response.more is not None:
                    out.append(call(info) if call is not None else missing)
                else:
                    out.append(response.d.get(text, missing))
            elif request is None or (request.more is not None and what >= REQUEST):
                out.append(call(info) if call is not None else missing)
            elif what == METHOD:
                out.append(request.method or missing)
            elif what == PATH:
                out.append(request.path or missing)
            elif what == AUTHORITY:
                out.append(request.authority or missing)
            else:
                value = request.d.get(text)
                if value is not None:
                    out.append(value)
                elif what == REQUEST:
                    out.append(missing)
                elif what == REQUEST_OR_PATH:
                    out.append(request.path or missing)
                else:
                    out.append(request.authority or missing)
        return "".join(out)
