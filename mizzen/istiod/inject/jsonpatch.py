"""RFC 6902: the operations that turn one JSON value into another.

Objects are compared by field; a list that differs is compared item by item when it only grew or kept its length, else
replaced. Not here: applying patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def difference(old: Any, new: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Operations in an order in which they can be applied."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - new.keys():
            yield {"op": "remove", "path": f"{path}/{escaped(key)}"}
        for key, value in new.items():
            if key in old:
                yield from difference(old[key], value, f"{path}/{escaped(key)}")
            else:
                yield {"op": "add", "path": f"{path}/{escaped(key)}", "value": value}
    elif isinstance(old, list) and isinstance(new, list) and old and new[: len(old)] == old:
        for item in new[len(old) :]:
            yield {"op": "add", "path": f"{path}/-", "value": item}
    elif old != new or type(old) is not type(new):
        yield {"op": "replace", "path": path, "value": new}


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
