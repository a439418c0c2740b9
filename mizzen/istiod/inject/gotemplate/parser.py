"""Tokens put together: a template as a tree of nodes.

Takes a text, gives the main list of nodes and the named templates. Not here: evaluating (evaluate.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mizzen.istiod.inject.gotemplate.lexer import TemplateError, Token, tokens


class Literal(msgspec.Struct, frozen=True):
    """A constant: string, number, boolean or nil."""

    value: Any
    line: int


class Path(msgspec.Struct, frozen=True):
    """A chain of fields of the dot, a variable, a function or a parenthesised pipeline. base: "." for the dot, "$x" for a
    variable, an identifier for a function, or a Pipeline.
    """

    base: Any
    fields: tuple[str, ...]
    line: int


Operand = Literal | Path


class Command(msgspec.Struct, frozen=True):
    """An operand, or a function or method with its arguments."""

    operands: tuple[Operand, ...]
    line: int


class Pipeline(msgspec.Struct, frozen=True):
    """Commands, each with the result of the one before as its last argument. variables: what gets the result; declares:
    whether they are new.
    """

    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False
    line: int = 0


class Text(msgspec.Struct, frozen=True):
    text: str


class Action(msgspec.Struct, frozen=True):
    pipeline: Pipeline


class Branch(msgspec.Struct, frozen=True):
    """if, with or range."""

    kind: str
    pipeline: Pipeline
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]
    line: int


class Call(msgspec.Struct, frozen=True):
    """{{template "name" pipeline}}"""

    name: str
    pipeline: Pipeline | None
    line: int


class Jump(msgspec.Struct, frozen=True):
    """break or continue."""

    kind: str


Nodes = tuple[Any, ...]
END, ELSE = "end", "else"
DIGITS = {"x": 16, "X": 16, "b": 2, "B": 2, "o": 8, "O": 8}


def parse(text: str) -> tuple[Nodes, dict[str, Nodes]]:
    """The template and those that it defines. Raises TemplateError."""
    parser = _Parser(list(tokens(text)))
    nodes, ended = parser.nodes(())
    if ended:
        raise TemplateError(f"unexpected {{{{{ended}}}}}", parser.line)
    return nodes, parser.defined


class _Parser:
    """A recursive descent over the tokens."""

    def __init__(self, found: Sequence[Token]) -> None:
        self._tokens, self._at = found, 0
        self.defined: dict[str, Nodes] = {}

    @property
    def line(self) -> int:
        return self._tokens[min(self._at, len(self._tokens) - 1)].line if self._tokens else 0

    def nodes(self, until: tuple[str, ...]) -> tuple[Nodes, str]:
        """Nodes up to an action that begins with one of these words, which is consumed but for what follows the word."""
        out: list[Any] = []
        while self._at < len(self._tokens):
            token = self._next()
            if token.kind == "text":
                out.append(Text(token.text))
                continue
            word = self._peek().text if self._peek().kind == "word" else ""
            if word in (END, ELSE):
                self._next()
                if word not in until:
                    raise TemplateError(f"unexpected {{{{{word}}}}}", token.line)
                return tuple(out), word
            node = self._action(word)
            if node is not None:
                out.append(node)
        if until:
            raise TemplateError("unexpected end: an {{end}} is missing", self.line)
        return tuple(out), ""

    def _action(self, word: str) -> Any:
        line = self.line
        if word in ("if", "with", "range"):
            self._next()
            return self._branch(word, line)
        if word in ("break", "continue"):
            self._next()
            self._close()
            return Jump(word)
        if word in ("define", "block"):
            return self._definition(word, line)
        if word == "template":
            self._next()
            name = self._expect("string").text
            pipeline = None if self._peek().kind == "close" else self._pipeline()
            self._close()
            return Call(name, pipeline, line)
        pipeline = self._pipeline()
        self._close()
        return Action(pipeline)

    def _definition(self, word: str, line: int) -> Any:
        self._next()
        name = self._expect("string").text
        pipeline = self._pipeline() if word == "block" else None
        self._close()
        body, _ = self.nodes((END,))
        self._close()
        self.defined[name] = body
        return Call(name, pipeline, line) if word == "block" else None

    def _branch(self, kind: str, line: int) -> Branch:
        pipeline = self._pipeline(ranging=kind == "range")
        self._close()
        body, ended = self.nodes((END, ELSE))
        otherwise: Nodes = ()
        if ended == ELSE:
            following = self._peek()
            if following.kind == "word" and following.text in ("if", "with"):
                self._next()
                return Branch(kind, pipeline, body, (self._branch(following.text, following.line),), line)
            self._close()
            otherwise, _ = self.nodes((END,))
        self._close()
        return Branch(kind, pipeline, body, otherwise, line)

    def _pipeline(self, *, ranging: bool = False) -> Pipeline:
        line, declares = self.line, False
        variables: tuple[str, ...] = ()
        names = self._declared(ranging)
        if names is not None:
            variables, declares = names
        commands = [self._command()]
        while self._peek().text == "|" and self._peek().kind == "punctuation":
            self._next()
            commands.append(self._command())
        return Pipeline(tuple(commands), variables, declares, line)

    def _declared(self, ranging: bool) -> tuple[tuple[str, ...], bool] | None:
        """`$x :=`, `$x =`, or in a range `$i, $x :=`; None when the pipeline begins otherwise."""
        at, names = self._at, []
        while self._peek().kind == "variable":
            names.append(self._next().text)
            token = self._peek()
            if token.kind == "punctuation" and token.text in (":=", "="):
                self._next()
                return tuple(names), token.text == ":="
            if not (ranging and token.kind == "punctuation" and token.text == ","):
                break
            self._next()
        self._at = at
        return None

    def _command(self) -> Command:
        line, operands = self.line, [self._operand()]
        while self._peek().spaced and self._peek().kind != "close" and self._peek().text not in ("|", ")"):
            operands.append(self._operand())
        return Command(tuple(operands), line)

    def _operand(self) -> Operand:
        token = self._next()
        if token.kind == "string":
            return self._chained(Literal(token.text, token.line), token)
        if token.kind == "number":
            return Literal(_number(token), token.line)
        if token.kind == "char":
            return Literal(ord(token.text), token.line)
        if token.kind == "word" and token.text in ("true", "false", "nil"):
            return Literal({"true": True, "false": False, "nil": None}[token.text], token.line)
        if token.kind in ("word", "variable"):
            return self._chained(token.text, token)
        if token.kind == "field":
            return self._chained(".", token, (token.text[1:],))
        if token.text == ".":
            return Path(".", (), token.line)
        if token.text == "(":
            inner = self._pipeline()
            if self._next().text != ")":
                raise TemplateError("a parenthesis is not closed", token.line)
            return self._chained(inner, token)
        raise TemplateError(f"unexpected {token.text!r}", token.line)

    def _chained(self, base: Any, token: Token, fields: tuple[str, ...] = ()) -> Operand:
        """Fields that follow without a space."""
        while self._peek().kind == "field" and not self._peek().spaced:
            fields = (*fields, self._next().text[1:])
        if isinstance(base, Literal):
            if fields:
                raise TemplateError("a constant has no fields", token.line)
            return base
        return Path(base, fields, token.line)

    def _peek(self) -> Token:
        if self._at >= len(self._tokens):
            raise TemplateError("unexpected end", self.line)
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, kind: str) -> Token:
        token = self._next()
        if token.kind != kind:
            raise TemplateError(f"unexpected {token.text!r}, a {kind} is expected", token.line)
        return token

    def _close(self) -> None:
        self._expect("close")


def _number(token: Token) -> int | float:
    text = token.text.replace("_", "")
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    if len(digits) > 1 and digits[0] == "0" and digits[1] in DIGITS:
        return sign * int(digits[2:], DIGITS[digits[1]])
    try:
        return sign * int(digits)
    except ValueError:
        return sign * float(digits)
