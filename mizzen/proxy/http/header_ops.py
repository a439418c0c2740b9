"""Headers that configuration adds, overwrites and removes: one flat tuple of operations, levels already in order.

Not here: reading them from protos (config/header_ops.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from mizzen.proxy.codec.headers import Headers
from mizzen.proxy.http.info import StreamInfo

APPEND: Final = 0
ADD_IF_ABSENT: Final = 1
OVERWRITE: Final = 2
OVERWRITE_IF_EXISTS: Final = 3
REMOVE: Final = 4


class Op(NamedTuple):
    """One operation; `value` is fixed, or made by `make` from the stream."""

    action: int
    name: str
    value: str
    make: Callable[[StreamInfo], str] | None
    keep_empty: bool


Ops = tuple[Op, ...]


def apply(ops: Ops, headers: Headers, info: StreamInfo) -> None:
    """Carry the operations out, one after the other."""
    d = headers.d
    for action, name, value, make, keep_empty in ops:
        if action == REMOVE:
            if name in d:
                if headers.more is None:
                    del d[name]
                else:
                    headers.remove(name)
            continue
        if make is not None:
            value = make(info)
            if not value and not keep_empty:
                continue
        if action == APPEND:
            if name in d or name[0] == ":" or name == "host":
                headers.add(name, value)
            else:
                d[name] = value
        elif action == ADD_IF_ABSENT:
            if headers.get(name) is None:
                headers.set(name, value)
        elif action == OVERWRITE or headers.get(name) is not None:
            headers.set(name, value)
