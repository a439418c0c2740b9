"""Sets of fields of an object, as `fieldsV1` writes them, and the algebra on them.

A set is a nested dict: {"f:spec": {"f:replicas": {}, "f:containers": {'k:{"name":"a"}': {".": {}, …}}}}. "." in a node says
that the node itself belongs to the set; an empty dict is a node that belongs to it and has nothing below. Pure.
Source: structured-merge-diff's fieldpath (KEP-555).
"""

from __future__ import annotations

import json
from typing import Any

Set = dict[str, Any]


def union(one: Set, other: Set) -> Set:
    out = dict(one)
    for key, below in other.items():
        if key not in out:
            out[key] = below
        elif key != ".":
            mine = out[key]
            merged = union(_opened(mine), _opened(below))
            out[key] = _closed(merged)
    return out


def _opened(node: Set) -> Set:
    return node if node else {".": {}}


def _closed(node: Set) -> Set:
    return {} if list(node) == ["."] else node


def difference(one: Set, other: Set) -> Set:
    """Members of `one` that are not members of `other`."""
    out: Set = {}
    for key, below in one.items():
        if key not in other:
            out[key] = below
        elif key != ".":
            left = difference(_opened(below), _opened(other[key]))
            if left:
                out[key] = _closed(left)
    return out


def intersection(one: Set, other: Set) -> Set:
    out: Set = {}
    for key, below in one.items():
        if key == "." and "." in other:
            out[key] = {}
        elif key != "." and key in other:
            both = intersection(_opened(below), _opened(other[key]))
            if both:
                out[key] = _closed(both)
    return out


def without_subtrees(one: Set, other: Set) -> Set:
    """`one` without the members of `other` and everything below them."""
    out: Set = {}
    for key, below in one.items():
        if key not in other:
            out[key] = below
        elif key != ".":
            theirs = other[key]
            if not theirs or "." in theirs:
                continue
            left = without_subtrees(_opened(below), theirs)
            if left:
                out[key] = _closed(left)
    return out


def paths(one: Set, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every member, as the keys that lead to it."""
    found: list[tuple[str, ...]] = []
    for key, below in one.items():
        if key == ".":
            found.append(prefix)
        elif not below:
            found.append((*prefix, key))
        else:
            found += paths(below, (*prefix, key))
    return found


def path_text(path: tuple[str, ...]) -> str:
    """A path for people: .spec.containers[name="a"].image"""
    out = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            out += f".{rest}"
        elif kind == "k":
            keys = json.loads(rest)
            out += "[" + ",".join(f"{name}={json.dumps(keys[name])}" for name in sorted(keys)) + "]"
        elif kind == "v":
            out += f"[={rest}]"
        else:
            out += f"[{rest}]"
    return out


def sorted_set(one: Set) -> Set:
    """The set with its keys in the order in which they are written."""
    return {key: sorted_set(one[key]) for key in sorted(one)}
