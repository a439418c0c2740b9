"""How Go sees values: what is true, how they are printed, compared, and looked up.

JSON values stand for Go's: dicts for maps, `Struct` for structs, whose fields Go names with a capital letter. Not here:
the language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.istiod.inject.gotemplate.lexer import TemplateError


class Absent(str):
    """A struct's field that was not given: Go's zero value, whatever its type; its own fields are absent, too."""


ABSENT = Absent("")


class Struct(dict[str, Any]):
    """A JSON object that is a struct in Go: fields are found by Go's names (`FSGroup` for fsGroup, `IP` for ip), and what
    is not there is absent, not an error.
    """

    def field(self, name: str) -> Any:
        for form in (name, name[:1].lower() + name[1:]):
            if form in self:
                return wrapped(self[form])
        wanted = name.lower()
        for key, value in self.items():
            if key.lower() == wanted:
                return wrapped(value)
        return ABSENT


class Map(dict[str, Any]):
    """A JSON object that is a map in Go, and so is everything inside it: names are taken as written."""


def wrapped(value: Any) -> Any:
    """What is inside a struct is one, too, and lists of them are lists of structs."""
    if isinstance(value, Mapping) and not isinstance(value, Struct | Map):
        return Struct(value)
    if isinstance(value, list):
        return [wrapped(item) for item in value]
    return value


def truth(value: Any) -> bool:
    """Go's truth: zero values and empty collections are false."""
    return bool(value) and value != 0


def shown(value: Any) -> str:
    """A value as {{.}} prints it."""
    if value is None:
        return "<no value>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_inner, value)) + "]"
    return str(value)


def _inner(value: Any) -> str:
    return "<nil>" if value is None else shown(value)


def look_up(value: Any, name: str, line: int) -> Any:
    """One field of a value. A map's missing key and anything of nothing are nothing. Raises TemplateError."""
    if value is None or isinstance(value, Absent):
        return value
    if isinstance(value, Struct):
        return method(value, name) if name in METHODS or name.startswith("Get") else value.field(name)
    if isinstance(value, Mapping):
        return value.get(name)
    if name in METHODS:
        return method(value, name)
    raise TemplateError(f"can't evaluate field {name} in {type(value).__name__}", line)


METHODS = frozenset({"String", "AsDuration", "Seconds"})


def method(value: Any, name: str) -> Any:
    """Methods that generated messages have: getters, and the name of an enumeration's value."""
    if name.startswith("Get") and isinstance(value, Struct):
        return value.field(name[3:])
    return "" if value is None else value


def equal(one: Any, other: Any) -> bool:
    """Go's ==, of values of one basic kind."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    return bool(one == other)
