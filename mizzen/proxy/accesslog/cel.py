"""envoy.access_loggers.extension_filters.cel: a log is written when the expression is true.

An expression that has no value (a header that is not there) is not true.
Source: envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mizzen.cel import EvaluationError
from mizzen.cel.evaluate import MACROS, compiled
from mizzen.cel.parser import Node, Parser, SyntaxProblem
from mizzen.proxy.accesslog.attributes import Environment
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.http.info import StreamInfo


def nodes(node: Any) -> Iterator[Node]:
    """A tree's nodes, which stand among other things in their arguments."""
    if isinstance(node, Node):
        yield node
        node = node.args
    if isinstance(node, tuple):
        for each in node:
            yield from nodes(each)


def expression_filter(message: Any) -> Callable[[StreamInfo], bool]:
    """The predicate of an ExpressionFilter. Raises ConfigError."""
    text: str = message.expression
    try:
        node = Parser(text).parse()
        if any(each.kind == "method" and each.value in MACROS for each in nodes(node)):
            raise ConfigError("failed to create an expression: Comprehension support is disabled")
        if any(each.kind == "call" and each.value == "string" for each in nodes(node)):
            raise ConfigError("failed to create an expression: No overload found in reference resolve step for string")
        run = compiled(node)
    except (SyntaxProblem, ValueError, KeyError) as error:
        raise ConfigError(f"Not able to parse filter expression: {text}: {error}") from error

    def true(info: StreamInfo) -> bool:
        try:
            return run(Environment(info)) is True
        except EvaluationError:
            return False

    return true
