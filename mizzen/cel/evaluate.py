"""Turns a CEL tree into a Python closure over variables.

`compiled(node)` gives a function of an environment (name → value); it raises EvaluationError where CEL has an error.
&&, || and the macros swallow errors as CEL does: an error on one side does not matter when the other side decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from .functions import FUNCTIONS, METHODS, to_string
from .parser import Node
from .values import NOTHING, EvaluationError, Optional, Quantity, Uint

Environment = Mapping[str, Any]
Run = Callable[[Environment], Any]
MACROS = (
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "transformList",
    "transformMap",
    "sortBy",
    "optMap",
    "optFlatMap",
)
NAMESPACES = ("optional", "sets", "math", "base64", "strings", "lists", "ip", "cel", "jsonpatch")


def compiled(node: Node) -> Run:
    return _MAKERS[node.kind](node)


# What `type(x)` is compared with; a variable of the same name goes first.
TYPES = frozenset(("int", "uint", "double", "string", "bool", "bytes", "list", "map", "type"))


def _literal(node: Node) -> Run:
    value = node.value
    return lambda env: value


def _ident(node: Node) -> Run:
    name = node.value

    def run(env: Environment) -> Any:
        try:
            value = env[name]
        except KeyError:
            if name in TYPES:
                return name
            raise EvaluationError(f"no such attribute(s): {name}") from None
        return value() if isinstance(value, Lazy) else value

    return run


class Lazy:
    """A variable that is computed when it is first needed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._done, self._value = make, False, None

    def __call__(self) -> Any:
        if not self._done:
            self._value, self._done = self._make(), True
        return self._value


def _field(target: Any, name: str) -> Any:
    if isinstance(target, Optional):
        return (
            Optional(True, target.value[name])
            if target.there and isinstance(target.value, dict) and name in target.value
            else NOTHING
        )
    if isinstance(target, dict):
        if name in target:
            return target[name]
        raise EvaluationError(f"no such key: {name}")
    if hasattr(target, "cel_field"):
        return target.cel_field(name)
    raise EvaluationError("no such overload")


def _select(node: Node) -> Run:
    target, name = compiled(node.args[0]), node.value
    return lambda env: _field(target(env), name)


def _optional_select(node: Node) -> Run:
    target, name = compiled(node.args[0]), node.value

    def run(env: Environment) -> Any:
        value = target(env)
        if isinstance(value, Optional):
            value = value.value if value.there else {}
        return Optional(True, value[name]) if isinstance(value, dict) and name in value else NOTHING

    return run


def _indexed(value: Any, key: Any) -> Any:
    if isinstance(value, Optional):
        return _optional_indexed(value, key)
    if isinstance(value, list):
        if isinstance(key, float) and key.is_integer():
            key = int(key)
        if not isinstance(key, int) or isinstance(key, bool):
            raise EvaluationError("unsupported index type")
        if not 0 <= key < len(value):
            raise EvaluationError(f"index out of bounds: {key}")
        return value[key]
    if isinstance(value, dict):
        if key in value:
            return value[key]
        raise EvaluationError(f"no such key: {key}")
    raise EvaluationError("no such overload")


def _index(node: Node) -> Run:
    target, key = compiled(node.args[0]), compiled(node.args[1])
    return lambda env: _indexed(target(env), key(env))


def _optional_indexed(value: Any, key: Any) -> Optional:
    if isinstance(value, Optional):
        if not value.there:
            return NOTHING
        value = value.value
    try:
        return Optional(True, _indexed(value, key))
    except EvaluationError:
        return NOTHING


def _optional_index(node: Node) -> Run:
    target, key = compiled(node.args[0]), compiled(node.args[1])
    return lambda env: _optional_indexed(target(env), key(env))


def _list(node: Node) -> Run:
    parts = [(compiled(one), optional) for one, optional in node.args]

    def run(env: Environment) -> Any:
        out = []
        for one, optional in parts:
            value = one(env)
            if not optional:
                out.append(value)
            elif value.there:
                out.append(value.value)
        return out

    return run


def _map(node: Node) -> Run:
    parts = [(compiled(key), compiled(value), optional) for key, value, optional in node.args]

    def run(env: Environment) -> Any:
        out = {}
        for key, one, optional in parts:
            value = one(env)
            if not optional:
                out[key(env)] = value
            elif value.there:
                out[key(env)] = value.value
        return out

    return run


def _struct(node: Node) -> Run:
    parts = [(key, compiled(value), optional) for key, value, optional in node.args]
    name = node.value

    def run(env: Environment) -> Any:
        out: dict[str, Any] = {}
        for key, one, optional in parts:
            value = one(env)
            if not optional:
                out[key] = value
            elif value.there:
                out[key] = value.value
        return {**out, "__struct__": name} if name == "JSONPatch" else out

    return run


def truth(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvaluationError("no such overload")


def _and(left: Run, right: Run, stop: bool) -> Run:
    """&& (stop=False) and || (stop=True)."""

    def run(env: Environment) -> Any:
        try:
            if truth(left(env)) is stop:
                return stop
        except EvaluationError:
            if truth(right(env)) is stop:
                return stop
            raise
        return truth(right(env))

    return run


def _ternary(node: Node) -> Run:
    test, then, other = (compiled(one) for one in node.args)
    return lambda env: then(env) if truth(test(env)) else other(env)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    if type(one) is not type(other) and not (isinstance(one, int) and isinstance(other, int)):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def _ordering(name: str, one: Any, other: Any) -> bool:
    numbers = (
        isinstance(one, (int, float))
        and isinstance(other, (int, float))
        and not isinstance(one, bool)
        and not isinstance(other, bool)
    )
    same = type(one) is type(other) and isinstance(one, (str, bytes, bool, datetime, timedelta))
    if not numbers and not same:
        raise EvaluationError("no such overload")
    return bool({"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[name])


def _contained(one: Any, other: Any) -> bool:
    if isinstance(other, dict):
        return one in other
    if isinstance(other, list):
        return any(equal(one, item) for item in other)
    raise EvaluationError("no such overload")


_LOW, _HIGH = -(2**63), 2**63


def _arithmetic(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, bool) or isinstance(other, bool):
        raise EvaluationError("no such overload")
    if name == "+" and (isinstance(one, (str, list, bytes, timedelta)) or isinstance(other, timedelta)):
        if type(one) is not type(other) and not isinstance(one, (datetime, timedelta)):
            raise EvaluationError("no such overload")
        return one + other
    if name == "-" and isinstance(one, (datetime, timedelta)):
        return one - other
    if (
        not isinstance(one, (int, float))
        or not isinstance(other, (int, float))
        or isinstance(one, float) != isinstance(other, float)
    ):
        raise EvaluationError("no such overload")
    if name in "/%" and other == 0 and not isinstance(one, float):
        raise EvaluationError("division by zero" if name == "/" else "modulus by zero")
    return _computed(name, one, other)


def _computed(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, float):
        if name == "/":
            return one / other if other else float("inf")
        return one + other if name == "+" else one - other if name == "-" else one * other
    if name in "/%":
        quotient = abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)
        result = quotient if name == "/" else one - quotient * other
    else:
        result = (
            int(one) + int(other) if name == "+" else int(one) - int(other) if name == "-" else int(one) * int(other)
        )
    if isinstance(one, Uint):
        if result < 0:
            raise EvaluationError("unsigned integer overflow")
        return Uint(result)
    if not _LOW <= result < _HIGH:
        raise EvaluationError("integer overflow")
    return result


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "==": equal,
    "!=": lambda one, other: not equal(one, other),
    "in": _contained,
    **{name: partial(_ordering, name) for name in ("<", "<=", ">", ">=")},
    **{name: partial(_arithmetic, name) for name in ("+", "-", "*", "/", "%")},
}


def _has(node: Node) -> Run:
    inner = node.args[0]
    if inner.kind not in ("select",):
        raise ValueError("invalid argument to has() macro")
    target, name = compiled(inner.args[0]), inner.value

    def run(env: Environment) -> bool:
        value = target(env)
        if isinstance(value, Optional):
            value = value.value if value.there else {}
        if hasattr(value, "cel_has"):
            return bool(value.cel_has(name))
        return isinstance(value, dict) and name in value

    return run


def _call(node: Node) -> Run:
    name, args = node.value, node.args
    if name in ("&&", "||"):
        return _and(compiled(args[0]), compiled(args[1]), name == "||")
    if name == "_?_:_":
        return _ternary(node)
    if name == "has":
        return _has(node)
    runs = [compiled(one) for one in args]
    if name in _BINARY and len(runs) == 2:
        operator, left, right = _BINARY[name], runs[0], runs[1]
        return lambda env: operator(left(env), right(env))
    if name == "!_":
        return lambda env: not truth(runs[0](env))
    if name == "-_":
        return lambda env: _arithmetic("-", 0.0 if isinstance(runs[0](env), float) else 0, runs[0](env))
    return _applied(FUNCTIONS.get(name), name, runs)


def _applied(function: Callable[..., Any] | None, name: str, runs: list[Run]) -> Run:
    if function is None:
        raise ValueError(f"undeclared reference to '{name}' (in container '')")

    def run(env: Environment) -> Any:
        values = [one(env) for one in runs]
        try:
            return function(*values)
        except EvaluationError:
            raise
        except (TypeError, AttributeError, KeyError, IndexError, ValueError):
            raise EvaluationError("no such overload") from None

    return run


def _method(node: Node) -> Run:
    name, target, args = node.value, node.args[0], node.args[1:]
    if target.kind == "ident" and target.value in NAMESPACES and f"{target.value}.{name}" in FUNCTIONS:
        return _applied(FUNCTIONS[f"{target.value}.{name}"], name, [compiled(one) for one in args])
    if name in MACROS and args and args[0].kind == "ident":
        return _macro(name, compiled(target), args)
    runs = [compiled(one) for one in (target, *args)]

    def own(value: Any, *rest: Any) -> Any:
        if hasattr(value, "cel_call"):
            return value.cel_call(name, *rest)
        function = METHODS.get(name)
        if function is None:
            raise EvaluationError(f"no such overload: {name}")
        return function(value, *rest)

    return _applied(own, name, runs)


def _items(value: Any, two: bool) -> list[tuple[Any, Any]]:
    if isinstance(value, list):
        return list(enumerate(value)) if two else [(one, None) for one in value]
    if isinstance(value, dict):
        return list(value.items()) if two else [(one, None) for one in value]
    raise EvaluationError("no such overload")


def _macro(name: str, target: Run, args: tuple[Node, ...]) -> Run:
    if name in ("optMap", "optFlatMap"):
        return _optional_macro(name, target, args)
    two = (len(args) > 2 and args[1].kind == "ident" and name != "map") or name.startswith("transform")
    first, second = args[0].value, args[1].value if two else ""
    bodies = [compiled(one) for one in args[2 if two else 1 :]]
    body = bodies[-1]
    condition = bodies[0] if len(bodies) > 1 else None

    def bound(env: Environment, one: Any, other: Any) -> dict[str, Any]:
        inner = dict(env)
        inner[first] = one
        if two:
            inner[second] = other
        return inner

    def run(env: Environment) -> Any:
        pairs = _items(target(env), two)
        scopes = (bound(env, one, other) for one, other in pairs)
        if name == "all":
            return _quantified(scopes, body, False)
        if name == "exists":
            return _quantified(scopes, body, True)
        if name in ("exists_one", "existsOne"):
            return sum(1 for scope in scopes if truth(body(scope))) == 1
        if name == "filter":
            return [one for one, other in pairs if truth(body(bound(env, one, other)))]
        if name == "transformMap":
            return {
                one: body(scope)
                for (one, _), scope in zip(pairs, scopes, strict=True)
                if condition is None or truth(condition(scope))
            }
        if name == "sortBy":
            return [one for one, _ in sorted(pairs, key=lambda pair: body(bound(env, pair[0], None)))]
        return [body(scope) for scope in scopes if condition is None or truth(condition(scope))]

    return run


def _quantified(scopes: Any, body: Run, stop: bool) -> bool:
    failed: EvaluationError | None = None
    for scope in scopes:
        try:
            if truth(body(scope)) is stop:
                return stop
        except EvaluationError as error:
            failed = error
    if failed is not None:
        raise failed
    return not stop


def _optional_macro(name: str, target: Run, args: tuple[Node, ...]) -> Run:
    variable, body = args[0].value, compiled(args[1])

    def run(env: Environment) -> Any:
        value = target(env)
        if not value.there:
            return NOTHING
        result = body({**env, variable: value.value})
        return result if name == "optFlatMap" else Optional(True, result)

    return run


_MAKERS: dict[str, Callable[[Node], Run]] = {
    "literal": _literal, "ident": _ident, "select": _select, "optselect": _optional_select, "index": _index, "optindex": _optional_index,
    "list": _list, "map": _map, "struct": _struct, "call": _call, "method": _method,
}  # fmt: skip
__all__ = ["Lazy", "Quantity", "compiled", "equal", "to_string", "truth"]
