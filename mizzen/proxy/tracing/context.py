"""The context of a trace in headers: B3 (several headers or one) and W3C Trace Context. Pure.

Source: openzipkin/b3-propagation; W3C Trace Context level 1 (traceparent, tracestate).
"""

from __future__ import annotations

import os
from typing import NamedTuple

from mizzen.proxy.codec.headers import RequestHeaders

HEX = frozenset("0123456789abcdef")


class Context(NamedTuple):
    """trace: 16 or 32 hexadecimal digits; span, parent: 16, parent may be ""; state: tracestate, as it came."""

    trace: str
    span: str
    parent: str = ""
    sampled: bool = True
    state: str = ""


def new_id(digits: int = 16) -> str:
    """A random id that is not zero."""
    while not (found := os.urandom(digits // 2)).strip(b"\0"):
        pass
    return found.hex()


def _is_id(text: str, *lengths: int) -> bool:
    return len(text) in lengths and HEX.issuperset(text) and text.strip("0") != ""


def from_w3c(headers: RequestHeaders) -> Context | None:
    """What traceparent says; None when there is none that is valid."""
    text = headers.d.get("traceparent")
    if text is None:
        return None
    parts = text.split("-")
    if len(text) != 55 or len(parts) != 4 or len(parts[0]) != 2 or len(parts[3]) != 2:
        return None
    version, trace, span, flags = parts
    if not HEX.issuperset(version) or not HEX.issuperset(flags) or not _is_id(trace, 32) or not _is_id(span, 16):
        return None
    return Context(trace, span, "", bool(int(flags, 16) & 1), headers.joined("tracestate") or "")


def to_w3c(headers: RequestHeaders, context: Context) -> None:
    flags = "01" if context.sampled else "00"
    headers.set("traceparent", f"00-{context.trace.rjust(32, '0')}-{context.span}-{flags}")
    if context.state:
        headers.set("tracestate", context.state)


def b3_sampled(headers: RequestHeaders) -> bool | None:
    """What B3's headers say of sampling; None when nothing."""
    single = headers.d.get("b3")
    if single is not None:
        return _single_sampled(single)
    if headers.d.get("x-b3-flags") == "1":
        return True
    text = headers.d.get("x-b3-sampled")
    return None if text is None else text in ("1", "true")


def _single_sampled(text: str) -> bool | None:
    if len(text) == 1:
        return {"0": False, "1": True, "d": True}.get(text)
    parts = text.split("-")
    return {"0": False, "1": True, "d": True}.get(parts[2]) if len(parts) > 2 else None


class BadContext(ValueError):
    """Headers that are there and mean nothing."""


def from_b3(headers: RequestHeaders) -> Context | None:
    """The ids in B3's headers; None when there are none. Raises BadContext."""
    single = headers.d.get("b3")
    if single is not None:
        return _from_single(single)
    trace, span = headers.d.get("x-b3-traceid"), headers.d.get("x-b3-spanid")
    if not trace or not span:
        return None
    parent = headers.d.get("x-b3-parentspanid") or ""
    if not _is_id(trace, 16, 32) or not _is_id(span, 16) or (parent and not _is_id(parent, 16)):
        raise BadContext("B3 headers")
    return Context(trace, span, parent)


def _from_single(text: str) -> Context | None:
    if len(text) == 1:
        return None
    parts = text.split("-")
    parent = parts[3] if len(parts) > 3 else ""
    if (
        len(parts) < 2
        or not _is_id(parts[0], 16, 32)
        or not _is_id(parts[1], 16)
        or (parent and not _is_id(parent, 16))
    ):
        raise BadContext("b3")
    return Context(parts[0], parts[1], parent)


def to_b3(headers: RequestHeaders, context: Context) -> None:
    headers.set("x-b3-traceid", context.trace)
    headers.set("x-b3-spanid", context.span)
    if context.parent:
        headers.set("x-b3-parentspanid", context.parent)
    headers.set("x-b3-sampled", "1" if context.sampled else "0")
