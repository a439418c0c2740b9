"""JSON patch and JSON merge patch.

Takes a tree (changed in place or replaced) and a patch, gives the new tree. Source: RFC 6902, RFC 7396, with the leniency of the
library that Kubernetes uses: "replace" of a missing member of an object adds it.
"""

from __future__ import annotations

import copy
from typing import Any


class PatchFailed(ValueError):
    """The patch does not fit the object: a missing path, a failed test, an unknown operation."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396. The target may be changed and shared with the answer."""
    if not isinstance(patch, dict):
        return patch
    out = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), value)
    return out


def _steps(pointer: str) -> list[str]:
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise PatchFailed(f"bad pointer {pointer!r}")
    return [one.replace("~1", "/").replace("~0", "~") for one in pointer[1:].split("/")]


def _index(items: list[Any], step: str, *, adding: bool = False) -> int:
    if adding and step == "-":
        return len(items)
    try:
        place = int(step)
    except ValueError:
        raise PatchFailed(f"bad index {step!r}") from None
    if place < 0:
        place += len(items)
    if not 0 <= place < len(items) + (1 if adding else 0):
        raise PatchFailed(f"index {step} is out of range")
    return place


def _at(tree: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(tree, dict):
            if step not in tree:
                raise PatchFailed(f"missing {step!r}")
            tree = tree[step]
        elif isinstance(tree, list):
            tree = tree[_index(tree, step)]
        else:
            raise PatchFailed(f"nothing at {step!r}")
    return tree


def _add(tree: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent, last = _at(tree, steps[:-1]), steps[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, last, adding=True), value)
    else:
        raise PatchFailed("not a container")
    return tree


def _remove(tree: Any, steps: list[str]) -> Any:
    parent, last = _at(tree, steps[:-1]), steps[-1]
    if isinstance(parent, dict):
        if last not in parent:
            raise PatchFailed(f"missing {last!r}")
        del parent[last]
    elif isinstance(parent, list):
        del parent[_index(parent, last)]
    else:
        raise PatchFailed("not a container")
    return tree


def _replace(tree: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    parent, last = _at(tree, steps[:-1]), steps[-1]
    if isinstance(parent, list):
        parent[_index(parent, last)] = value
        return tree
    return _add(tree, steps, value)


def json_patch(tree: Any, operations: list[dict[str, Any]]) -> Any:
    """RFC 6902. The tree is changed in place and given back. Raises PatchFailed."""
    for one in operations:
        operation = one.get("op")
        if not isinstance(one.get("path"), str):
            raise PatchFailed("an operation without a path")
        path = _steps(one["path"])
        if operation in ("add", "replace", "test") and "value" not in one:
            raise PatchFailed(f"{operation} without a value")
        if operation == "add":
            tree = _add(tree, path, copy.deepcopy(one["value"]))
        elif operation == "replace":
            tree = _replace(tree, path, copy.deepcopy(one["value"]))
        elif operation == "remove":
            tree = _remove(tree, path)
        elif operation in ("copy", "move"):
            source = _steps(str(one.get("from", "")))
            value = copy.deepcopy(_at(tree, source))
            if operation == "move":
                tree = _remove(tree, source)
            tree = _add(tree, path, value)
        elif operation == "test":
            _test(tree, path, one["value"])
        else:
            raise PatchFailed(f"unexpected kind {operation!r}")
    return tree


def _test(tree: Any, path: list[str], wanted: Any) -> None:
    try:
        found = _at(tree, path)
    except PatchFailed:
        found = None
        if wanted is not None:
            raise
    if found != wanted:
        raise PatchFailed("testing path failed")
