"""HeaderValueOptions and names to remove → header operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mizzen.proxy.accesslog.format import header_format, is_fixed
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.http.header_ops import APPEND, OVERWRITE, REMOVE, Op, Ops


def add_ops(options: Iterable[Any]) -> list[Op]:
    """Operations of a list of envoy.config.core.v3.HeaderValueOption."""
    out = []
    for option in options:
        name = option.header.key.lower()
        if not name:
            raise ConfigError("HeaderValueOption: header.key is required")
        if name.startswith(":") or name == "host":
            raise ConfigError(":-prefixed or host headers may not be modified")
        action = int(option.append_action)
        if option.HasField("append"):
            action = APPEND if option.append.value else OVERWRITE
        text = option.header.value or option.header.raw_value.decode("latin-1")
        if not text and not option.keep_empty_value:
            continue
        fixed = is_fixed(text)
        out.append(
            Op(action, name, text if fixed else "", None if fixed else header_format(text), option.keep_empty_value)
        )
    return out


def remove_ops(names: Iterable[str]) -> list[Op]:
    out = []
    for name in names:
        if name.startswith(":") or name.lower() == "host":
            raise ConfigError(":-prefixed or host headers may not be removed")
        out.append(Op(REMOVE, name.lower(), "", None, False))
    return out


def level(add: Iterable[Any], remove: Iterable[str]) -> Ops:
    """The operations of one level: removals first."""
    return (*remove_ops(remove), *add_ops(add))


def in_order(levels: Sequence[Ops], most_specific_wins: bool) -> Ops:
    """Levels, the most specific first, as one tuple: the last to be carried out wins."""
    ordered = reversed(levels) if most_specific_wins else levels
    return tuple(op for ops in ordered for op in ops)
