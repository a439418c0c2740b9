"""A template evaluated: a tree and data in, text out.

Not here: the functions (builtins.py, functions.py), reading a template (parser.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from mizzen.istiod.inject.gotemplate import parser as p
from mizzen.istiod.inject.gotemplate.builtins import BUILTINS
from mizzen.istiod.inject.gotemplate.lexer import TemplateError
from mizzen.istiod.inject.gotemplate.values import Absent, look_up, shown, truth

Functions = Mapping[str, Callable[..., Any]]
MAX_DEPTH = 100
NOTHING: Any = object()


class _Break(Exception):
    """{{break}}"""


class _Continue(Exception):
    """{{continue}}"""


@lru_cache(maxsize=100)
def _parsed(text: str) -> tuple[p.Nodes, dict[str, p.Nodes]]:
    return p.parse(text)


def render(text: str, data: Any, functions: Functions) -> str:
    """The text that a template gives. Raises TemplateError."""
    nodes, defined = _parsed(text)
    evaluation = _Evaluation({**BUILTINS, **functions}, defined)
    return "".join(evaluation.nodes(nodes, data, [{"$": data}]))


class _Evaluation:
    """One rendering. Scopes are a list of dictionaries, the innermost last."""

    def __init__(self, functions: Functions, defined: Mapping[str, p.Nodes]) -> None:
        self._functions, self._defined, self._depth = functions, defined, 0

    def nodes(self, nodes: p.Nodes, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, p.Text):
                yield node.text
            elif isinstance(node, p.Action):
                value = self.pipeline(node.pipeline, dot, scopes)
                if not node.pipeline.variables:
                    yield shown(value)
            elif isinstance(node, p.Branch):
                yield from self._branch(node, dot, scopes)
            elif isinstance(node, p.Call):
                yield from self._call(node, dot, scopes)
            else:
                raise _Break if node.kind == "break" else _Continue

    def _call(self, node: p.Call, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        body = self._defined.get(node.name)
        if body is None:
            raise TemplateError(f"template {node.name!r} is not defined", node.line)
        value = self.pipeline(node.pipeline, dot, scopes) if node.pipeline is not None else None
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError("templates call each other without end", node.line)
        yield from self.nodes(body, value, [{"$": value}])
        self._depth -= 1

    def _branch(self, node: p.Branch, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        inner = [*scopes, {}]
        if node.kind == "range":
            yield from self._range(node, dot, inner)
            return
        value = self.pipeline(node.pipeline, dot, inner)
        if truth(value):
            yield from self.nodes(node.body, value if node.kind == "with" else dot, inner)
        else:
            yield from self.nodes(node.otherwise, dot, inner)

    def _range(self, node: p.Branch, dot: Any, scopes: list[dict[str, Any]]) -> Iterator[str]:
        plain = p.Pipeline(node.pipeline.commands, (), False, node.pipeline.line)
        items = list(_items(self.pipeline(plain, dot, scopes), node.line))
        if not items:
            yield from self.nodes(node.otherwise, dot, scopes)
            return
        names = node.pipeline.variables
        for key, value in items:
            inner = [*scopes, {}]
            pair = (value,) if len(names) == 1 else (key, value)
            for name, one in zip(names, pair, strict=False):
                if node.pipeline.declares:
                    inner[-1][name] = one
                else:
                    _assign(scopes, name, one, node.line)
            try:
                yield from self.nodes(node.body, value, inner)
            except _Break:
                return
            except _Continue:
                continue

    def pipeline(self, pipeline: p.Pipeline, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        """The value of a pipeline; its variables get it."""
        value: Any = NOTHING
        for command in pipeline.commands:
            value = self._command(command, value, dot, scopes)
        for name in pipeline.variables:
            if pipeline.declares:
                scopes[-1][name] = value
            else:
                _assign(scopes, name, value, pipeline.line)
        return value

    def _command(self, command: p.Command, last: Any, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        first, *rest = command.operands
        if isinstance(first, p.Path) and first.base in self._functions and not str(first.base).startswith(("$", ".")):
            if first.fields:
                value = self._function(first.base, [], command.line)
                return self._fields(value, first.fields, first.line)
            if first.base in ("and", "or"):
                return self._short(first.base, rest, last, dot, scopes)
            arguments = [self._operand(one, dot, scopes) for one in rest]
            return self._function(first.base, arguments if last is NOTHING else [*arguments, last], command.line)
        value = self._operand(first, dot, scopes)
        arguments = [self._operand(one, dot, scopes) for one in rest] + ([] if last is NOTHING else [last])
        if arguments and not callable(value):
            # Methods of messages take no arguments, but for a map's or struct's own callables there are none here.
            raise TemplateError("can't give argument to non-function", command.line)
        return value(*arguments) if callable(value) else value

    def _short(self, name: str, operands: list[Any], last: Any, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        """and, or: later operands are only looked at when they matter."""
        value: Any = None
        for one in operands:
            value = self._operand(one, dot, scopes)
            if truth(value) == (name == "or"):
                return value
        return value if last is NOTHING else last

    def _function(self, name: str, arguments: list[Any], line: int) -> Any:
        try:
            return self._functions[name](*arguments)
        except TemplateError as error:
            raise TemplateError(f"{name}: {error}", 0 if error.line else line) from error
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError) as error:
            raise TemplateError(f"{name}: {error}", line) from error

    def _operand(self, operand: p.Operand, dot: Any, scopes: list[dict[str, Any]]) -> Any:
        if isinstance(operand, p.Literal):
            return operand.value
        base = operand.base
        if isinstance(base, p.Pipeline):
            value = self.pipeline(base, dot, scopes)
        elif base == ".":
            value = dot
        elif base.startswith("$"):
            value = _variable(scopes, base, operand.line)
        elif base in self._functions:
            value = self._function(base, [], operand.line)
        else:
            raise TemplateError(f'function "{base}" not defined', operand.line)
        return self._fields(value, operand.fields, operand.line)

    def _fields(self, value: Any, fields: tuple[str, ...], line: int) -> Any:
        for name in fields:
            value = look_up(value, name, line)
        return value


def _items(value: Any, line: int) -> Iterator[tuple[Any, Any]]:
    """What a range goes over: lists in order, maps by sorted keys, numbers from 0."""
    if value is None or isinstance(value, Absent):
        return
    if isinstance(value, Mapping):
        yield from ((key, value[key]) for key in sorted(value))
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((n, n) for n in range(value))
    else:
        raise TemplateError(f"range can't iterate over {shown(value)}", line)


def _variable(scopes: list[dict[str, Any]], name: str, line: int) -> Any:
    for scope in reversed(scopes):
        if name in scope:
            return scope[name]
    raise TemplateError(f"undefined variable {name}", line)


def _assign(scopes: list[dict[str, Any]], name: str, value: Any, line: int) -> None:
    for scope in reversed(scopes):
        if name in scope:
            scope[name] = value
            return
    raise TemplateError(f"undefined variable {name}", line)
