"""Printer columns: the small JSON paths of definitions, and cells made by them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..schema.scalars import age

Object = dict[str, Any]
_STEP = re.compile(r"\.([^.\[\]]+(?:\\.[^.\[\]]+)*)|\[([^\]]*)\]")


def path_values(tree: Any, path: str) -> Iterator[Any]:
    """The values at a JSON path: `.a.b`, `[0]`, `[*]`, `['key']`, `[?(@.x=="y")]`."""
    nodes = [tree]
    for found in re.finditer(r"\.((?:\\.|[^.\[\]])+)|\[((?:[^\[\]]|\[[^\]]*\])*)\]", path):
        nodes = [value for node in nodes for value in _step(node, found[1], found[2])]
    yield from nodes


def _step(node: Any, name: str | None, inside: str | None) -> Iterator[Any]:
    if name is not None:
        key = re.sub(r"\\(.)", r"\1", name)
        if isinstance(node, dict) and key in node:
            yield node[key]
        return
    inside = (inside or "").strip()
    if inside == "*":
        yield from node if isinstance(node, list) else node.values() if isinstance(node, dict) else ()
    elif inside.startswith("?("):
        test = re.match(r"""\?\(@((?:\.[\w\\.-]+)+)\s*==\s*["']?(.*?)["']?\)$""", inside)
        if test and isinstance(node, list):
            for one in node:
                if any(str(value) == test[2] for value in path_values(one, test[1])):
                    yield one
    elif inside.strip("'\"") != inside:
        key = inside.strip("'\"")
        if isinstance(node, dict) and key in node:
            yield node[key]
    elif isinstance(node, list) and re.fullmatch(r"-?\d+", inside) and -len(node) <= int(inside) < len(node):
        yield node[int(inside)]


def column(tree: Object, definition: Object) -> Any:
    """The cell of a printer column; None when there is nothing."""
    values = [one for one in path_values(tree, definition["jsonPath"]) if one is not None]
    if not values:
        return None
    kind = definition["type"]
    if kind == "string":
        return _text(values[0])  # a path that finds several shows the first
    value = values[0]
    if kind == "date":
        try:
            return age(value)
        except (ValueError, TypeError, AttributeError):
            return "<invalid>"
    if kind == "integer":
        return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if kind == "number":
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value, separators=(",", ":"))
