"""A whole log format as one function: its source is an f-string with the common operators written out.

Logs are rendered for every request, and calling an operator costs several times what its work does. `sources` is filled by
format.operator. Rejected: rendering by a list of getters (three times the time of the default format).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mizzen.proxy.accesslog import render
from mizzen.proxy.accesslog.values import Getter, as_text, iso_milliseconds
from mizzen.proxy.http.info import StreamInfo, flags_text

TextFormat = Callable[[StreamInfo], str]
sources: dict[Getter, str] = {}  # getter → expression over `info`, `request`, `q`, `p`; `call` is the getter itself
WRITTEN = {
    "BYTES_RECEIVED": "info.bytes_received",
    "BYTES_SENT": "info.bytes_sent",
    "DURATION": "int(((info.end or info.start) - info.start) * 1000)",
    "PROTOCOL": "(info.protocol or missing)",
    "RESPONSE_CODE": "info.code",
    "RESPONSE_FLAGS": "('-' if info.flag_order is None else flags_text(info))",
    "START_TIME": "iso(info.start_wall)",
    "UPSTREAM_CLUSTER": "(info.upstream_cluster_name or missing)",
    "UPSTREAM_HOST": "(missing if info.host is None else info.host.text)",
}
PLAIN_NAME = re.compile(r"[a-z0-9_-]+")
PSEUDO = {":method": "method", ":path": "path", ":authority": "authority"}


def header_source(part: str, argument: str) -> str | None:
    """An expression for %REQ(argument)% or %RESP(argument)%; None for one that is rare."""
    first, _, second = argument.lower().partition("?")
    if first not in PSEUDO and not PLAIN_NAME.fullmatch(first):
        return None  # it would not be text alone in what is written
    if part == "response":
        return (
            None if second or first.startswith(":") else f"(p.get({first!r}, missing) if p is not None else call(info))"
        )
    if first in PSEUDO and not second:
        return f"((request.{PSEUDO[first]} or missing) if request is not None else missing)"
    if first.startswith(":") or first == "host":
        return None
    if second:
        if second not in PSEUDO:
            return None
        other = f"request.{PSEUDO[second]} or missing"
        return f"((q[{first!r}] if {first!r} in q else {other}) if q is not None else call(info))"
    return f"(q.get({first!r}, missing) if q is not None else call(info))"


steps: dict[Getter, tuple[int, str]] = {}  # getter → how the compiled renderer does it
PSEUDO_STEPS = {":method": render.METHOD, ":path": render.PATH, ":authority": render.AUTHORITY}
OR_STEPS = {":path": render.REQUEST_OR_PATH, ":authority": render.REQUEST_OR_AUTHORITY}


def step_of(name: str, argument: str | None) -> tuple[int, str] | None:
    """An operator as a step of the compiled renderer; None for one that is called."""
    if argument is None:
        return (render.PLAIN_STEPS[name], "") if name in render.PLAIN_STEPS else None
    first, _, second = argument.lower().partition("?")
    if name in ("RESP", "RESPONSE_HEADER"):
        return None if second or first.startswith(":") else (render.RESPONSE, first)
    if name not in ("REQ", "REQUEST_HEADER"):
        return None
    if first in PSEUDO_STEPS and not second:
        return PSEUDO_STEPS[first], ""
    if first.startswith(":") or first == "host":
        return None
    if second:
        return (OR_STEPS[second], first) if second in OR_STEPS else None
    return render.REQUEST, first


def register(name: str, argument: str | None, getter: Getter) -> None:
    """Remember how an operator is written out, where it can be."""
    step = step_of(name, argument)
    if step is not None:
        steps[getter] = step
    if argument is None:
        source = WRITTEN.get(name)
    elif name in ("REQ", "REQUEST_HEADER"):
        source = header_source("request", argument)
    elif name in ("RESP", "RESPONSE_HEADER"):
        source = header_source("response", argument)
    else:
        source = None
    if source is not None:
        sources[getter] = source


def as_value(getter: Getter, missing: str) -> TextFormat:
    def value(info: StreamInfo) -> str:
        found = getter(info)
        if found.__class__ is str:
            return found
        return missing if found is None else as_text(found) or ""

    return value


def generated(parts: list[str | Getter], missing: str) -> TextFormat:
    """The function of a format's pieces."""
    if render.COMPILED:
        return rendered(parts, missing)
    scope: dict[str, Any] = {"missing": missing, "iso": iso_milliseconds, "flags_text": flags_text}
    out: list[str] = []
    for i, part in enumerate(parts):
        if isinstance(part, str):
            scope[f"t{i}"] = part
            out.append(f"{{t{i}}}")
            continue
        scope[f"v{i}"] = as_value(part, missing)
        source = sources.get(part)
        out.append("{" + (f"v{i}(info)" if source is None else source.replace("call(", f"v{i}(")) + "}")
    lines = [
        "def render(info):",
        "    request, response = info.request, info.response",
        "    q = None if request is None or request.more is not None else request.d",
        "    p = None if response is None or response.more is not None else response.d",
        "    return f" + '"' * 3 + "".join(out) + '"' * 3,
    ]
    exec(compile("\n".join(lines), "<access log format>", "exec"), scope)
    made: TextFormat = scope["render"]
    return made


def rendered(parts: list[str | Getter], missing: str) -> TextFormat:
    """The same by the compiled renderer."""
    made: list[render.Step] = []
    for part in parts:
        if isinstance(part, str):
            made.append((render.TEXT, part, None))
            continue
        what, text = steps.get(part, (render.CALL, ""))
        made.append((what, text, as_value(part, missing)))
    return render.Renderer(made, missing).render
