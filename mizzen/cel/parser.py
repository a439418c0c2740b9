"""Reads CEL text into a tree of `Node`s. Source: the CEL language definition; macros are kept as calls.

Raises SyntaxProblem with the place of what was not expected.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class SyntaxProblem(ValueError):
    """Text that is not CEL; `place` is the offset of the first letter that does not fit."""

    def __init__(self, place: int, text: str) -> None:
        super().__init__(text)
        self.place, self.text = place, text


class Node(NamedTuple):
    """kind: literal (value), ident (name), select (target, field), optselect, index, optindex, call (name, target, args), list, map, struct."""

    kind: str
    place: int
    value: Any = None
    args: tuple[Any, ...] = ()


_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
    |(?P<int>0x[0-9a-fA-F]+|\d+)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<ident>[_a-zA-Z][_a-zA-Z0-9]*|`[^`]+`)
    |(?P<op>==|!=|<=|>=|&&|\|\||\[\?|\.\?|[-+*/%<>!?:.,()\[\]{}])""",
    re.X | re.S,
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_RELATIONS = ("==", "!=", "<=", ">=", "<", ">")


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if not match:
            raise SyntaxProblem(place, f"token recognition error at: '{text[place]}'")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup or "", match.group(), place))
        place = match.end()
    found.append(_Token("end", "<EOF>", place))
    return found


def _unquoted(text: str) -> str | bytes:
    prefix = re.match(r"[rRbB]*", text).group().lower()  # type: ignore[union-attr]
    body = text[len(prefix) :]
    size = 3 if body[:3] in ('"""', "'''") else 1
    body = body[size:-size]
    if "r" not in prefix:
        body = re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", _escape, body, flags=re.S)
    return body.encode("latin-1" if "\\x" in text else "utf-8", "replace") if "b" in prefix else body


def _escape(found: re.Match[str]) -> str:
    word = found[1]
    if word[0] in "xuU":
        return chr(int(word[1:], 16))
    if len(word) == 3 and word.isdigit():
        return chr(int(word, 8))
    return _ESCAPES.get(word, word)


class Parser:
    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._at = 0

    def parse(self) -> Node:
        node = self._ternary()
        if self._peek.kind != "end":
            self._unexpected()
        return node

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        token = self._peek
        return token.kind == "op" and token.text in texts

    def _expect(self, text: str) -> _Token:
        if not self._is(text):
            self._unexpected()
        return self._take()

    def _unexpected(self) -> None:
        token = self._peek
        raise SyntaxProblem(token.place, f"Syntax error: mismatched input '{token.text}'")

    def _ternary(self) -> Node:
        node = self._or()
        if self._is("?"):
            place = self._take().place
            then = self._or()
            self._expect(":")
            return Node("call", place, "_?_:_", (node, then, self._ternary()))
        return node

    def _or(self) -> Node:
        node = self._and()
        while self._is("||"):
            place = self._take().place
            node = Node("call", place, "||", (node, self._and()))
        return node

    def _and(self) -> Node:
        node = self._relation()
        while self._is("&&"):
            place = self._take().place
            node = Node("call", place, "&&", (node, self._relation()))
        return node

    def _relation(self) -> Node:
        node = self._sum()
        while self._is(*_RELATIONS) or (self._peek.kind == "ident" and self._peek.text == "in"):
            token = self._take()
            node = Node("call", token.place, token.text, (node, self._sum()))
        return node

    def _sum(self) -> Node:
        node = self._product()
        while self._is("+", "-"):
            token = self._take()
            node = Node("call", token.place, token.text, (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._unary()
        while self._is("*", "/", "%"):
            token = self._take()
            node = Node("call", token.place, token.text, (node, self._unary()))
        return node

    def _unary(self) -> Node:
        if self._is("!", "-"):
            token = self._take()
            node = self._unary()
            if token.text == "-" and node.kind == "literal" and type(node.value) in (int, float):
                return node._replace(value=-node.value)
            return Node("call", token.place, "!_" if token.text == "!" else "-_", (node,))
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        while True:
            if self._is("."):
                node = self._selected(node)
            elif self._is(".?"):
                place = self._take().place
                node = Node("optselect", place, self._name(), (node,))
            elif self._is("["):
                place = self._take().place
                if self._is("?"):
                    self._take()
                    node = Node("optindex", place, None, (node, self._ternary()))
                else:
                    node = Node("index", place, None, (node, self._ternary()))
                self._expect("]")
            elif self._is("[?"):
                place = self._take().place
                node = Node("optindex", place, None, (node, self._ternary()))
                self._expect("]")
            else:
                return node

    def _name(self) -> str:
        token = self._take()
        if token.kind != "ident":
            self._at -= 1
            self._unexpected()
        return token.text.strip("`")

    def _selected(self, node: Node) -> Node:
        self._expect(".")
        place = self._peek.place
        name = self._name()
        if self._is("("):
            return Node("call", place, name, (*self._arguments(),))._replace(args=(node, *self._last), kind="method")
        return Node("select", place, name, (node,))

    _last: tuple[Node, ...] = ()

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        found: list[Node] = []
        while not self._is(")"):
            found.append(self._ternary())
            if not self._is(")"):
                self._expect(",")
        self._take()
        self._last = tuple(found)
        return self._last

    def _primary(self) -> Node:
        token = self._peek
        if self._is("."):
            self._take()
            return self._primary()
        if self._is("("):
            self._take()
            node = self._ternary()
            self._expect(")")
            return node
        if self._is("["):
            return self._list()
        if self._is("{"):
            return self._map()
        if token.kind == "ident":
            return self._identifier()
        return self._literal()

    def _literal(self) -> Node:
        token = self._take()
        match token.kind:
            case "int":
                return Node("literal", token.place, int(token.text, 0) if "x" in token.text else int(token.text))
            case "uint":
                from .values import Uint

                text = token.text[:-1]
                return Node("literal", token.place, Uint(int(text, 0) if "x" in text else int(text)))
            case "float":
                return Node("literal", token.place, float(token.text))
            case "string":
                return Node("literal", token.place, _unquoted(token.text))
        self._at -= 1
        self._unexpected()
        raise AssertionError

    def _identifier(self) -> Node:
        token = self._take()
        words = {"true": True, "false": False, "null": None}
        if token.text in words:
            return Node("literal", token.place, words[token.text])
        if self._is("("):
            return Node("call", token.place, token.text, self._arguments())
        if self._is("{"):
            return self._struct(token.text, token.place)
        return self._dotted_struct(token)

    def _dotted_struct(self, token: _Token) -> Node:
        """`Object.spec{…}` is a struct's name, not a selection."""
        start, name = self._at, token.text
        while self._is(".") and self._tokens[self._at + 1].kind == "ident":
            name += f".{self._tokens[self._at + 1].text}"
            self._at += 2
            if (
                self._is("{")
                and name.split(".")[-1][:1].isalpha()
                and name.split(".")[0] in ("Object", "JSONPatch", "google")
            ):
                return self._struct(name, token.place)
        self._at = start
        return Node("ident", token.place, token.text)

    def _struct(self, name: str, place: int) -> Node:
        self._expect("{")
        fields: list[tuple[str, Node, bool]] = []
        while not self._is("}"):
            optional = self._is("?")
            if optional:
                self._take()
            key = self._name()
            self._expect(":")
            fields.append((key, self._ternary(), optional))
            if not self._is("}"):
                self._expect(",")
        self._take()
        return Node("struct", place, name, tuple(fields))

    def _list(self) -> Node:
        place = self._take().place
        found: list[tuple[Node, bool]] = []
        while not self._is("]"):
            optional = self._is("?")
            if optional:
                self._take()
            found.append((self._ternary(), optional))
            if not self._is("]"):
                self._expect(",")
        self._take()
        return Node("list", place, None, tuple(found))

    def _map(self) -> Node:
        place = self._take().place
        found: list[tuple[Node, Node, bool]] = []
        while not self._is("}"):
            optional = self._is("?")
            if optional:
                self._take()
            key = self._ternary()
            self._expect(":")
            found.append((key, self._ternary(), optional))
            if not self._is("}"):
                self._expect(",")
        self._take()
        return Node("map", place, None, tuple(found))
