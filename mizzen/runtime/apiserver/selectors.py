"""Label and field selectors: text in, predicates out.

`parse_labels` reads a query's labelSelector, `from_object` a LabelSelector of an object. Refusals have apimachinery's words.
Source: apimachinery's labels and fields packages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from .errors import bad_request, invalid
from .names import label_key_problem, label_value_problem

Labels = Mapping[str, str]
_EMPTY: Labels = {}
_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")


class Requirement(NamedTuple):
    """One term. operator: in, notin, =, !=, exists, !, gt, lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        have = labels.get(self.key)
        match self.operator:
            case "exists":
                return have is not None
            case "!":
                return have is None
            case "=" | "in":
                return have in self.values if have is not None else False
            case "!=" | "notin":
                return have is None or have not in self.values
            case _:
                return _compared(have, self)


def _compared(have: str | None, one: Requirement) -> bool:
    if have is None:
        return False
    try:
        return int(have) > int(one.values[0]) if one.operator == "gt" else int(have) < int(one.values[0])
    except ValueError:
        return False


class LabelSelector(NamedTuple):
    requirements: tuple[Requirement, ...]

    def matches(self, labels: Labels | None) -> bool:
        given = labels or _EMPTY
        return all(one.matches(given) for one in self.requirements)

    @property
    def everything(self) -> bool:
        return not self.requirements


EVERYTHING = LabelSelector(())


class _Reader:
    """Reads the words of a selector's text."""

    def __init__(self, text: str) -> None:
        self.words = [one.group(1) for one in _TOKEN.finditer(text)]
        self.place = 0

    def peek(self) -> str:
        return self.words[self.place] if self.place < len(self.words) else ""

    def take(self) -> str:
        word = self.peek()
        self.place += 1
        return word

    def all(self) -> list[Requirement]:
        found: list[Requirement] = []
        if not self.words:
            return found
        while True:
            found.append(self._requirement())
            word = self.take()
            if word == "":
                return found
            if word != ",":
                raise bad_request(f"found '{word}', expected: ',' or 'end of string'")
            if not _is_name(self.peek()) and self.peek() != "!":
                raise bad_request(f"found '{self.peek()}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        word = self.take()
        negated = word == "!"
        if negated:
            word = self.take()
        if not _is_name(word):
            raise bad_request(f"found '{word}', expected: !, identifier, or 'end of string'")
        _checked_key(word)
        if negated:
            return Requirement(word, "!")
        following = self.peek()
        if following in ("", ","):
            return Requirement(word, "exists")
        self.take()
        if following in ("in", "notin"):
            return Requirement(word, following, self._values(word))
        if following in ("=", "==", "!=", "<", ">"):
            return self._compare(word, following)
        raise bad_request(f"unable to parse requirement: found '{following}', expected: in, notin, =, ==, !=, gt, lt")

    def _compare(self, key: str, sign: str) -> Requirement:
        value = ""
        if _is_name(self.peek()):
            value = self.take()
        if sign in "<>":
            if not re.fullmatch(r"[+-]?\d+", value):
                problem = invalid("values[0]", value, "for 'Gt', 'Lt' operators, the value must be an integer")
                raise bad_request(f"unable to parse requirement: {problem}")
            return Requirement(key, "gt" if sign == ">" else "lt", (value,))
        _checked_value(value, key)
        return Requirement(key, "!=" if sign == "!=" else "=", (value,))

    def _values(self, key: str) -> tuple[str, ...]:
        if self.peek() != "(":
            raise bad_request(f"unable to parse requirement: found '{self.peek()}' expected: '('")
        self.take()
        values: list[str] = []
        current = ""
        while True:
            word = self.take()
            if word == ")":
                values.append(current)
                break
            if word == ",":
                values.append(current)
                current = ""
            elif _is_name(word) and not current:
                current = word
            else:
                raise bad_request(f"unable to parse requirement: found '{word}', expected: ',' or ')'")
        for value in values:
            _checked_value(value, key)
        return tuple(dict.fromkeys(values))


def _is_name(word: str) -> bool:
    return bool(word) and word not in ("=", "==", "!=", "!", "(", ")", ",", "<", ">")


def _checked_key(key: str) -> None:
    problem = label_key_problem(key)
    if problem:
        raise bad_request(f"unable to parse requirement: {invalid('key', key, problem)}")


def _checked_value(value: str, key: str) -> None:
    problem = label_value_problem(value)
    if problem:
        raise bad_request(f"unable to parse requirement: {invalid(f'values[0][{key}]', value, problem)}")


@lru_cache(maxsize=512)
def parse_labels(text: str) -> LabelSelector:
    """Raises StatusError 400 for what is not a selector."""
    return LabelSelector(tuple(_Reader(text).all()))


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector | None:
    """The selector of a LabelSelector object; None (which selects nothing) for None. It is taken to be valid."""
    if selector is None:
        return None
    found = [Requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        operator = _OPERATORS.get(one.get("operator", ""), "in")
        found.append(Requirement(one.get("key", ""), operator, tuple(one.get("values") or ())))
    return LabelSelector(tuple(found))


class FieldTerm(NamedTuple):
    field: str
    equal: bool
    value: str


def parse_fields(text: str) -> tuple[FieldTerm, ...]:
    """Terms of a fieldSelector: `a=b,c!=d`, with backslash escapes. Raises StatusError 400."""
    found = []
    for part in re.split(r"(?<!\\),", text):
        if not part:
            continue
        match = re.match(r"^(.*?)(!=|==|=)(.*)$", part)
        if not match:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        value = re.sub(r"\\(.)", r"\1", match[3])
        found.append(FieldTerm(match[1], match[2] != "!=", value))
    return tuple(found)


Matcher = Callable[[Mapping[str, str]], bool]
