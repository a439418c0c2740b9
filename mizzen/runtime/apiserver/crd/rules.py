"""CEL rules of schemas (x-kubernetes-validations): compiled once per schema, evaluated for objects and their changes.

Takes a schema, gives a tree of `Ruled` nodes; `Ruled.check` gives problems. Source: apiextensions' CEL validation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mizzen.cel import CompileError, EvaluationError, Program, compile_expression
from mizzen.cel.values import NOTHING, Optional, duration, timestamp

from ..errors import OMIT, Problem, invalid, show

Schema = dict[str, Any]


class Rule(NamedTuple):
    program: Program
    message: str
    message_program: Program | None
    reason: str
    field_path: str
    transition: bool
    optional_old: bool


class Ruled:
    """The rules at one place of a schema and below it."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rules: list[Rule] = []
        self.fields: dict[str, Ruled] = {}
        self.values: Ruled | None = None
        self.items: Ruled | None = None

    @property
    def empty(self) -> bool:
        return not (self.rules or self.fields or self.values or self.items)

    def check(self, value: Any, old: Any, path: str, has_old: bool) -> list[Problem]:
        """Problems of a value; `old` is what was there before (has_old says whether anything was)."""
        problems: list[Problem] = []
        if value is None:
            return problems
        if self.rules:
            shown, before = typed(value, self.schema), typed(old, self.schema) if has_old else None
            for rule in self.rules:
                found = self._one(rule, shown, before, value, path, has_old)
                if found:
                    problems.append(found)
        if isinstance(value, dict):
            problems += self._object(value, old, path, has_old)
        elif isinstance(value, list) and self.items:
            problems += self._list(value, old, path, has_old)
        return problems

    def _object(self, value: dict[str, Any], old: Any, path: str, has_old: bool) -> list[Problem]:
        problems: list[Problem] = []
        before = old if has_old and isinstance(old, dict) else {}
        for key, one in value.items():
            inner = self.fields.get(key) or (self.values if key not in (self.schema.get("properties") or {}) else None)
            if inner:
                problems += inner.check(one, before.get(key), f"{path}.{key}" if path else key, key in before)
        return problems

    def _list(self, value: list[Any], old: Any, path: str, has_old: bool) -> list[Problem]:
        """Items of keyed lists are compared with their former selves; those of others have no past."""
        assert self.items
        keys = self.schema.get("x-kubernetes-list-map-keys") or ()
        former: dict[tuple[Any, ...], Any] = {}
        if keys and isinstance(old, list) and has_old:
            former = {tuple(one.get(key) for key in keys): one for one in old if isinstance(one, dict)}
        problems: list[Problem] = []
        for place, item in enumerate(value):
            mark = tuple(item.get(key) for key in keys) if keys and isinstance(item, dict) else None
            there = mark is not None and mark in former
            problems += self.items.check(
                item, former.get(mark) if there and mark is not None else None, f"{path}[{place}]", there
            )
        return problems

    def _one(self, rule: Rule, shown: Any, before: Any, value: Any, path: str, has_old: bool) -> Problem | None:
        variables: dict[str, Any] = {"self": shown}
        if rule.optional_old:
            variables["oldSelf"] = Optional(True, before) if has_old else NOTHING
        elif rule.transition:
            if not has_old:
                return None
            variables["oldSelf"] = before
        try:
            passed = rule.program.run(variables)
        except EvaluationError as error:
            kind = "object" if isinstance(value, dict) else "array" if isinstance(value, list) else None
            text = f"{error} evaluating rule: {rule.message or rule.program.text}"
            return invalid(path, kind or value, text)
        if passed is True:
            return None
        return _problem(rule, variables, value, f"{path}{rule.field_path}")


def _problem(rule: Rule, variables: dict[str, Any], value: Any, path: str) -> Problem:
    text = rule.message or f"failed rule: {rule.program.text}"
    if rule.message_program:
        try:
            made = rule.message_program.run(variables)
            if isinstance(made, str) and made.strip() and "\n" not in made:
                text = made
        except EvaluationError:
            pass
    shown = OMIT if isinstance(value, (dict, list)) or rule.field_path else value
    head = {
        "FieldValueForbidden": "Forbidden: " + text, "FieldValueRequired": "Required value: " + text,
        "FieldValueDuplicate": "Duplicate value" if shown is OMIT else f"Duplicate value: {show(value)}",
    }.get(rule.reason)  # fmt: skip
    if head is None:
        head = f"Invalid value: {text}" if shown is OMIT else f"Invalid value: {show(value)}: {text}"
    return Problem(path, rule.reason, head)


def typed(value: Any, schema: Schema | None) -> Any:
    """A value as CEL sees it: numbers as doubles, times and durations as such, names escaped where CEL needs it."""
    schema = schema or {}
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        values = extra if isinstance(extra, dict) else None
        return {
            escaped(key) if key in properties else key: typed(one, properties.get(key) or values)
            for key, one in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items")
        return [typed(one, items if isinstance(items, dict) else None) for one in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and schema.get("format") in ("date-time", "duration"):
        try:
            return timestamp(value) if schema["format"] == "date-time" else duration(value)
        except EvaluationError:
            return value
    return value


_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
    ]
)


def escaped(name: str) -> str:
    """A property's name as CEL rules write it."""
    if name in _RESERVED:
        return f"__{name}__"
    return (
        name.replace("__", "__underscores__").replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")
    )


def ruled(schema: Schema | None) -> Ruled:
    """The rules of a schema. Raises CompileError for a rule that does not compile (definitions are checked before)."""
    schema = schema or {}
    node = Ruled(schema)
    for one in schema.get("x-kubernetes-validations") or ():
        program = compile_expression(one["rule"])
        message = one.get("messageExpression")
        path = one.get("fieldPath") or ""
        node.rules.append(
            Rule(
                program, one.get("message") or "", compile_expression(message) if message else None, one.get("reason") or "FieldValueInvalid",
                path, "oldSelf" in program.names, bool(one.get("optionalOldSelf")),
            )
        )  # fmt: skip
    for key, inner in (schema.get("properties") or {}).items():
        below = ruled(inner)
        if not below.empty:
            node.fields[key] = below
    extra, items = schema.get("additionalProperties"), schema.get("items")
    if isinstance(extra, dict):
        node.values = _some(ruled(extra))
    if isinstance(items, dict):
        node.items = _some(ruled(items))
    return node


def _some(node: Ruled) -> Ruled | None:
    return None if node.empty else node


def try_ruled(schema: Schema | None) -> Ruled:
    try:
        return ruled(schema)
    except CompileError:
        return Ruled({})
