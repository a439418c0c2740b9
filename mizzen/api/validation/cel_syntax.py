"""Whether a text is an expression of the Common Expression Language (CEL).

Syntax only, as an admission webhook reads it: names and types are not looked up. Source: cel-spec, "Syntax".
Not here: evaluation.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
      (?P<space>(?:\s|//[^\n]*)+)
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|[0-9]+(?=[eE][+-]?[0-9])|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[uU]?)
    | (?P<string>[bB]?[rR]?[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^\\"\n\r])*"|'(?:\\.|[^\\'\n\r])*'))
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*|`[^`\n]+`)
    | (?P<sign>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
RESERVED = frozenset(
    [
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
        "var",
        "void",
        "while",
    ]
)
RELATIONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in"})


def wrong(text: str) -> str:
    """What keeps text from being an expression, or ""."""
    parser = _Parser(text)
    try:
        parser.expression()
        parser.expect("")
    except (SyntaxError, RecursionError) as error:
        return f"not a CEL expression: {error}"
    return ""


class _Parser:
    """Recursive descent over the tokens; each method reads what it is named after."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                self.tokens.append(("bad", text[at]))
                break
            if match.lastgroup != "space":
                self.tokens.append((match.lastgroup or "", match[0]))
            at = match.end()
        self.tokens.append(("end", ""))
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at][1]

    def kind(self) -> str:
        return self.tokens[self.at][0]

    def take(self, *signs: str) -> bool:
        if self.kind() in ("sign", "name") and self.peek() in signs:
            self.at += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if self.peek() != sign or (not sign and self.kind() != "end"):
            raise SyntaxError(f"{sign or 'the end'!r} is expected, not {self.peek() or 'the end'!r}")
        self.at += 1

    def expression(self) -> None:
        self.chain()
        if self.take("?"):
            self.chain()
            self.expect(":")
            self.expression()

    def chain(self) -> None:
        """Operands with binary operators between them; which binds closer does not change what is valid."""
        self.unary()
        while self.take("||", "&&", "+", "-", "*", "/", "%", *RELATIONS):
            self.unary()

    def unary(self) -> None:
        if self.take("!"):
            while self.take("!"):
                pass
        elif self.take("-"):
            while self.take("-"):
                pass
        self.member()

    def member(self) -> None:
        self.primary()
        while True:
            if self.take("."):
                self.take("?")
                self.name(selector=True)
                if self.take("("):
                    self.arguments(")")
            elif self.take("["):
                self.take("?")
                self.expression()
                self.expect("]")
            elif self.take("{"):
                self.entries(names=True)
            else:
                return

    def primary(self) -> None:
        kind = self.kind()
        if kind in ("number", "string"):
            self.at += 1
        elif self.take("("):
            self.expression()
            self.expect(")")
        elif self.take("["):
            self.arguments("]")
        elif self.take("{"):
            self.entries(names=False)
        else:
            self.take(".")
            self.name(selector=False)
            if self.take("("):
                self.arguments(")")

    def name(self, *, selector: bool) -> None:
        word = self.peek()
        if self.kind() != "name" or (not selector and (word in RESERVED or word == "in" or word.startswith("`"))):
            raise SyntaxError(f"unexpected {word or 'end'!r}")
        self.at += 1

    def arguments(self, end: str) -> None:
        while not self.take(end):
            if end == "]":
                self.take("?")
            self.expression()
            if not self.take(","):
                self.expect(end)
                return
            if end == ")" and self.peek() == end:
                raise SyntaxError("an argument is missing")

    def entries(self, *, names: bool) -> None:
        while not self.take("}"):
            self.take("?")
            if names:
                self.name(selector=True)
            else:
                self.expression()
            self.expect(":")
            self.expression()
            if not self.take(","):
                self.expect("}")
                return
