"""The functions that Go's template language itself has. Source: text/template, "Functions"."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from mizzen.istiod.inject.gotemplate.values import equal, shown, truth


def index(value: Any, *keys: Any) -> Any:
    """value[key][key]…; a map's missing key is nothing."""
    for key in keys:
        if value is None:
            return None
        if isinstance(value, Mapping):
            value = value.get(key)
        else:
            if not 0 <= key < len(value):
                raise IndexError(f"index out of range: {key}")
            value = value[key]
    return value


def cut(value: Any, *bounds: int) -> Any:
    """value[a:b]."""
    return value[bounds[0] if bounds else 0 : bounds[1] if len(bounds) > 1 else None]


def eq(one: Any, *others: Any) -> bool:
    """Whether the first equals any of the others."""
    return any(equal(one, other) for other in others)


def logical_and(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def logical_or(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


VERB = re.compile(r"%([-+# 0]*)(\d+|\*)?(?:\.(\d+))?([a-zA-Z%])")


def printf(form: str, *values: Any) -> str:
    """fmt.Sprintf of the verbs that templates use: v, s, d, q, t, f, x, %%."""
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match[1], match[2], match[3], match[4]
        if verb == "%":
            return "%"
        if not rest:
            return f"%!{verb}(MISSING)"
        text = _formatted(verb, rest.pop(0), precision)
        size = int(width) if width else 0
        if "0" in flags and "-" not in flags and verb in "dfx":
            return text.zfill(size)
        return text.ljust(size) if "-" in flags else text.rjust(size)

    return VERB.sub(one, form)


def _formatted(verb: str, value: Any, precision: str | None) -> str:
    if verb == "q":
        return json.dumps(shown(value), ensure_ascii=False)
    if verb == "f":
        return f"{float(value):.{precision or 6}f}"
    if verb == "x":
        return f"{value:x}" if isinstance(value, int) else str(value).encode().hex()
    if verb == "d":
        return str(int(value))
    text = "<nil>" if value is None else shown(value)
    return text[: int(precision)] if precision and verb == "s" else text


def printed(*values: Any) -> str:
    """fmt.Sprint: a space between operands when neither is a string."""
    out = ""
    for n, value in enumerate(values):
        if n and not isinstance(value, str) and not isinstance(values[n - 1], str):
            out += " "
        out += shown(value)
    return out


BUILTINS: dict[str, Callable[..., Any]] = {
    "and": logical_and,
    "or": logical_or,
    "not": lambda value: not truth(value),
    "eq": eq,
    "ne": lambda one, other: not equal(one, other),
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
    "len": lambda value: len(value) if value is not None else 0,
    "index": index,
    "slice": cut,
    "print": printed,
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": printf,
    "html": lambda *values: html.escape(printed(*values)),
    "js": lambda *values: json.dumps(printed(*values))[1:-1],
    "urlquery": lambda *values: quote_plus(printed(*values)),
    "call": lambda function, *arguments: function(*arguments),
}
