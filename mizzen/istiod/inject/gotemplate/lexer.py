"""A template's text cut into tokens: text, and the words of each action.

Takes a text, gives Tokens with their lines; trim markers are applied and comments dropped here. Not here: what the
tokens say together (parser.py).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple

from mizzen.api.errors import MizzenError

OPEN, CLOSE = "{{", "}}"
SPACE = " \t\r\n"
Kind = Literal["text", "open", "close", "word", "field", "variable", "string", "number", "char", "punctuation"]


class TemplateError(MizzenError):
    """A template that is none, or that cannot be evaluated; with the line."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line


class Token(NamedTuple):
    """One token. text: as written; for a string its value. spaced: whether white space stood before it."""

    kind: Kind
    text: str
    line: int
    spaced: bool = False


WORDS = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<char>'(?:[^'\\\n]|\\.)+')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?))
      | (?P<variable>\$[A-Za-z0-9_]*)
      | (?P<field>\.[A-Za-z_][A-Za-z0-9_]*)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<punctuation>:=|[=|(),.])""",
    re.VERBOSE,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a template. Raises TemplateError."""
    at, line, trim = 0, 1, False
    while True:
        start = text.find(OPEN, at)
        piece = text[at:] if start < 0 else text[at:start]
        following = line + piece.count("\n")
        shown = piece.lstrip(SPACE) if trim else piece
        trim = False
        if start >= 0 and text.startswith(OPEN + "-", start) and text[start + 3 : start + 4] in SPACE:
            shown = shown.rstrip(SPACE)
        if shown:
            yield Token("text", shown, line)
        if start < 0:
            return
        line = following
        inner = start + (3 if text.startswith(OPEN + "-", start) and text[start + 3 : start + 4] in SPACE else 2)
        end, trim = yield from _action(text, inner, line)
        line += text[start:end].count("\n")
        at = end


def _action(text: str, at: int, line: int) -> Generator[Token, None, tuple[int, bool]]:
    """The tokens of one action; gives where it ends and whether what follows is trimmed."""
    comment = re.compile(r"\s*/\*.*?\*/\s*?(\s-)?}}", re.DOTALL).match(text, at)
    if comment is not None:
        return comment.end(), comment[1] is not None
    yield Token("open", OPEN, line)
    spaced = False
    while True:
        if text.startswith(CLOSE, at):
            yield Token("close", CLOSE, line)
            return at + 2, False
        if text.startswith("-" + CLOSE, at) and spaced:
            yield Token("close", CLOSE, line)
            return at + 3, True
        found = WORDS.match(text, at)
        if found is None:
            rest = text[at : at + 10]
            raise TemplateError(f"unexpected {rest!r} in an action" if rest else "an action has no end", line)
        kind = str(found.lastgroup)
        if kind == "space":
            line += found[0].count("\n")
        elif kind == "string":
            yield Token("string", unquoted(found[0], line), line, spaced)
        elif kind == "char":
            yield Token("char", unquoted(found[0], line), line, spaced)
        else:
            yield Token(kind, found[0], line, spaced)  # type: ignore[arg-type]
        spaced = kind == "space"
        at = found.end()


def unquoted(text: str, line: int = 0) -> str:
    """The value of a Go string literal."""
    if text[0] == "`":
        return text[1:-1]

    def value(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU":
            return chr(int(code[1:], 16))
        if code in ESCAPES:
            return ESCAPES[code]
        if code.isdigit():
            return chr(int(code, 8))
        raise TemplateError(f"unknown escape \\{code}", line)

    return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", value, text[1:-1])
