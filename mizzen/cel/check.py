"""Compiles CEL: parses, checks names and the result's type as far as that is plain, and gives a `Program`.

The types known are those of literals, operators and functions; everything that depends on variables is "dyn".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .evaluate import MACROS, NAMESPACES, Run, compiled
from .functions import FUNCTIONS, METHODS
from .parser import Node, Parser, SyntaxProblem

BOOL_METHODS = frozenset(
    [
        "startsWith",
        "endsWith",
        "contains",
        "matches",
        "isSorted",
        "isGreaterThan",
        "isLessThan",
        "isInteger",
        "hasValue",
        "containsIP",
        "containsCIDR",
        "all",
        "exists",
        "exists_one",
        "existsOne",
        "isUnspecified",
        "isLoopback",
        "isGlobalUnicast",
        "allowed",
    ]
)
INT_METHODS = frozenset(
    [
        "size",
        "indexOf",
        "lastIndexOf",
        "family",
        "prefixLength",
        "asInteger",
        "compareTo",
        "sign",
        "getFullYear",
        "getMonth",
        "getHours",
        "getSeconds",
    ]
)
STRING_METHODS = frozenset(
    [
        "lowerAscii",
        "upperAscii",
        "replace",
        "substring",
        "trim",
        "join",
        "format",
        "charAt",
        "getScheme",
        "getHost",
        "getHostname",
        "getPort",
        "find",
    ]
)
RESULTS = {
    "size": "int", "int": "int", "uint": "uint", "double": "double", "string": "string", "bool": "bool", "bytes": "bytes", "has": "bool",
    "isQuantity": "bool", "isURL": "bool", "isIP": "bool", "isCIDR": "bool", "isSemver": "bool", "matches": "bool", "duration": "duration",
    "timestamp": "timestamp", "quantity": "quantity",
}  # fmt: skip


class CompileError(ValueError):
    """An expression that does not compile; the message is shaped like cel-go's."""


class Program:
    """A compiled expression. `result` is its type ("dyn" when not known); call `run(variables)`."""

    __slots__ = ("names", "result", "run", "text")

    def __init__(self, text: str, run: Run, result: str, names: frozenset[str]) -> None:
        self.text, self.run, self.result, self.names = text, run, result, names


def _shown(text: str, place: int, problem: str) -> str:
    line = text.count("\n", 0, place)
    start = text.rfind("\n", 0, place) + 1
    row = text.split("\n")[line]
    return f"compilation failed: ERROR: <input>:{line + 1}:{place - start + 1}: {problem}\n | {row}\n | {'.' * (place - start)}^"


def compile_expression(
    text: str, variables: Collection[str] = ("self", "oldSelf"), types: Mapping[str, str] | None = None
) -> Program:
    """Compiles with these variables declared; `types` tells some of their types. Raises CompileError."""
    try:
        node = Parser(text).parse()
    except SyntaxProblem as error:
        raise CompileError(_shown(text, error.place, error.text)) from None
    names: set[str] = set()
    checker = _Checker(text, variables, types or {}, names)
    result = checker.type(node, frozenset())
    try:
        run = compiled(node)
    except (ValueError, KeyError) as error:
        raise CompileError(_shown(text, node.place, str(error))) from None
    return Program(text, run, result, frozenset(names))


class _Checker:
    def __init__(self, text: str, variables: Collection[str], types: Mapping[str, str], names: set[str]) -> None:
        self._text, self._variables, self._types, self._names = text, variables, types, names

    def _fail(self, node: Node, problem: str) -> CompileError:
        return CompileError(_shown(self._text, node.place, problem))

    def type(self, node: Node, bound: frozenset[str]) -> str:
        match node.kind:
            case "literal":
                from .values import type_name

                return type_name(node.value)
            case "ident":
                return self._ident(node, bound)
            case "select" | "optselect":
                self.type(node.args[0], bound)
                return "optional" if node.kind == "optselect" else "dyn"
            case "index" | "optindex":
                for one in node.args:
                    self.type(one, bound)
                return "dyn"
            case "list":
                for one, _ in node.args:
                    self.type(one, bound)
                return "list"
            case "map":
                for key, value, _ in node.args:
                    self.type(key, bound), self.type(value, bound)
                return "map"
            case "struct":
                for _, value, _ in node.args:
                    self.type(value, bound)
                return str(node.value)
            case "method":
                return self._method(node, bound)
        return self._call(node, bound)

    def _ident(self, node: Node, bound: frozenset[str]) -> str:
        name = node.value
        if name in bound:
            return "dyn"
        if name in self._variables:
            self._names.add(name)
            return self._types.get(name, "dyn")
        if name in ("int", "uint", "double", "string", "bool", "bytes", "list", "map", "type"):
            return "type"
        raise self._fail(node, f"undeclared reference to '{name}' (in container '')")

    def _call(self, node: Node, bound: frozenset[str]) -> str:
        kinds = [self.type(one, bound) for one in node.args]
        name = node.value
        if name in ("&&", "||", "!_"):
            for one, kind in zip(node.args, kinds, strict=True):
                if kind not in ("bool", "dyn"):
                    raise self._fail(
                        node,
                        f"found no matching overload for '{name if name == '!_' else f'_{name}_'}' applied to '({', '.join(kinds)})'",
                    )
                del one
            return "bool"
        if name in ("==", "!=", "<", "<=", ">", ">=", "in"):
            if name != "in" and "dyn" not in kinds and kinds[0] != kinds[1] and "null_type" not in kinds:
                raise self._fail(node, f"found no matching overload for '_{name}_' applied to '({', '.join(kinds)})'")
            return "bool"
        if name in "+-*/%":
            if "dyn" not in kinds and kinds[0] != kinds[1]:
                raise self._fail(node, f"found no matching overload for '_{name}_' applied to '({', '.join(kinds)})'")
            return kinds[0] if kinds[0] != "dyn" else kinds[-1]
        if name == "_?_:_":
            return kinds[1] if kinds[1] == kinds[2] else "dyn"
        if name == "-_":
            return kinds[0]
        if name not in FUNCTIONS and name != "has":
            raise self._fail(node, f"undeclared reference to '{name}' (in container '')")
        return RESULTS.get(name, "dyn")

    def _method(self, node: Node, bound: frozenset[str]) -> str:
        name, target, args = node.value, node.args[0], node.args[1:]
        if target.kind == "ident" and target.value in NAMESPACES and target.value not in self._variables:
            for one in args:
                self.type(one, bound)
            return "bool" if target.value == "sets" else "optional" if target.value == "optional" else "dyn"
        kind = self.type(target, bound)
        if name in MACROS and args and args[0].kind == "ident":
            inner = bound | {args[0].value}
            rest = args[1:]
            if len(args) > 2 and args[1].kind == "ident" and name != "map":
                inner, rest = inner | {args[1].value}, args[2:]
            for one in rest:
                self.type(one, inner)
            return "bool" if name in BOOL_METHODS else "list" if name in ("map", "filter") else "dyn"
        for one in args:
            self.type(one, bound)
        if name not in METHODS and not self._special(name):
            raise self._fail(node, f"undeclared reference to '{name}' (in container '')")
        if kind in ("int", "bool", "double") and name in BOOL_METHODS | INT_METHODS | STRING_METHODS:
            raise self._fail(node, f"found no matching overload for '{name}' applied to '{kind}.()'")
        return (
            "bool"
            if name in BOOL_METHODS
            else "int"
            if name in INT_METHODS
            else "string"
            if name in STRING_METHODS
            else "dyn"
        )

    def _special(self, name: str) -> bool:
        """Methods of variables that admission brings: the authorizer and named formats."""
        return name in ("group", "resource", "subresource", "namespace", "name", "check", "allowed", "reason", "path", "serviceAccount",
                        "fieldSelector", "labelSelector", "errored", "error", "validate", "dns1123Label", "named", "value")  # fmt: skip


def declared(*names: str) -> tuple[str, ...]:
    return names


Any_ = Any
