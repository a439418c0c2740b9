"""What is known of the built-in kinds' Go types: fields, what is left out when empty, merge keys, list kinds.

Takes kinds.json (made by scripts/kube-facts), gives frozen `Struct`s by name (`core/v1.PodSpec`) and by (apiVersion, kind).
Not here: decoding (decode.py), defaults (defaults/), descriptions of fields (openapi/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple


class Type(NamedTuple):
    """One Go type: `name` is a scalar word (string, int32, time …), "list", "map" or "struct"; `of` the element's type."""

    name: str
    of: Type | None = None
    struct: str = ""


class Field(NamedTuple):
    """One JSON field. `always`: written even when absent; `pointer`: a zero value is kept when given."""

    name: str
    type: Type
    pointer: bool
    omit: bool
    strategies: frozenset[str]  # patchStrategy words: merge, replace, retainKeys
    merge_key: str
    relation: str  # server-side apply: associative, atomic, or "" for granular
    keys: tuple[str, ...]
    default: Any
    numbers: tuple[int, ...]  # of the protobuf field, through embedded messages; () when it does not travel


class Struct(NamedTuple):
    name: str
    atomic: bool
    fields: Mapping[str, Field]


@cache
def _raw() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("kinds.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def parse_type(text: str) -> Type:
    if text.startswith("[]"):
        return Type("list", parse_type(text[2:]))
    if text.startswith("{}"):
        return Type("map", parse_type(text[2:]))
    if text.startswith("#"):
        return Type("struct", None, text[1:])
    return Type(text)


def _field(name: str, raw: dict[str, Any]) -> Field:
    type_ = parse_type(raw["t"])
    flags = raw.get("f", "")
    strategy, _, key = raw.get("m", "").partition(":")
    # Go's omitempty has no effect on structs (time included): those are left out only as pointers or by omitzero.
    plain = type_.name in ("struct", "time", "microtime", "intstr", "quantity", "duration")
    omit = "z" in flags or ("o" in flags and (not plain or "p" in flags))
    words = frozenset(word for word in strategy.split(",") if word)
    return Field(
        name,
        type_,
        "p" in flags,
        omit,
        words,
        key,
        raw.get("l", ""),
        tuple(raw.get("k", ())),
        raw.get("d"),
        tuple(raw.get("n", ())),
    )


@cache
def struct(name: str) -> Struct:
    """The struct of that name, e.g. "core/v1.PodSpec". Raises KeyError."""
    raw = _raw()["types"][name]
    order = raw["order"] or []  # a struct without fields has none
    for word in ("metadata", "apiVersion", "kind"):  # the order our stored bytes rely on
        if word in order:
            order = [word, *(other for other in order if other != word)]
    return Struct(name, raw.get("atomic", False), {one: _field(one, raw["fields"][one]) for one in order})


def struct_of(api_version: str, kind: str) -> Struct | None:
    """The struct of a top-level kind, or None when it is not built in."""
    name = _raw()["kinds"].get(f"{api_version} {kind}")
    return struct(name) if name else None


def kinds() -> list[tuple[str, str]]:
    """(apiVersion, kind) of everything known."""
    found = [tuple(key.split(" ", 1)) for key in _raw()["kinds"]]
    return [(one[0], one[1]) for one in found]
