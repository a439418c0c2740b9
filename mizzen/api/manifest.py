"""Manifests: YAML or JSON text with Kubernetes objects, read as Kubernetes reads it.

Takes a path or text, gives one Document for each object, in order; List kinds are taken apart. Each document knows the
line of any of its fields. A document that cannot be read does not keep the others from being read: what is wrong is in
its `problems`. Scalars are those of YAML 1.1 as Go's library has them (`n`, `on` are booleans, `0120` is 80, dates
are strings). Not here: what the objects mean (kinds.py, validation/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mizzen.api.errors import Invalid, UsageError
from mizzen.api.yaml_scalars import scalar

PLAIN = "!plain"
MAX_DEPTH = 100


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Composes nodes only; plain scalars without a tag are told from quoted ones by the tag PLAIN."""

    yaml_implicit_resolvers: dict[Any, Any] = {None: [(PLAIN, re.compile(""))]}


class Problem(NamedTuple):
    """Something that could not be read: where (path and line) and why."""

    path: str
    reason: str
    line: int


class Document:
    """One object of a manifest.

    object: the JSON object. file: as it was named. line: the line, from 1, where it starts. problems: what could not be
    read in it; an object with problems is invalid, whatever its content.
    """

    __slots__ = ("_node", "_offset", "file", "line", "object", "problems")

    def __init__(
        self, obj: dict[str, Any], file: str, line: int, node: Any = None, problems: tuple[Problem, ...] = ()
    ) -> None:
        self.object, self.file, self.line, self.problems = obj, file, line, problems
        self._node = node
        self._offset = 0 if node is None else line - (node.start_mark.line + 1)

    def line_of(self, path: str) -> int:
        """The line of the field at path, or of the nearest one above it that is there.

        path: "spec.http[0].match[0].headers[x-tide].regex", as errors have it.
        """
        node, line = self._node, self.line
        for name in parts(path):
            step = _step(node, name)
            if step is None:
                break
            node, line = step[0], step[1] + self._offset
        return line

    def is_scalar(self, path: str) -> bool:
        """Whether there is a field with a scalar value at path."""
        node = self._node
        for name in parts(path):
            step = _step(node, name)
            if step is None:
                return False
            node = step[0]
        return isinstance(node, yaml.ScalarNode)


def parts(path: str) -> Iterator[str]:
    """The names and indices of a path: "a.b[0][x.y]" → a, b, 0, x.y."""
    for bracketed, name in re.findall(r"\[([^\]]*(?:\][^\].\[][^\]]*)*)\]|([^.\[\]]+)", path):
        yield bracketed or name


def load(source: str | Path) -> list[Document]:
    """The objects of a file, or of text when source has a line break.

    Raises UsageError when the file cannot be read. Invalid text does not raise: see Document.problems.
    """
    if isinstance(source, str) and ("\n" in source or source.lstrip().startswith("{")):
        return loads(source)
    try:
        text = Path(source).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{source}: {getattr(error, 'strerror', None) or error}") from error
    return loads(text, str(source))


def loads(text: str, file: str = "") -> list[Document]:
    """The objects of a text. file: the name that the documents carry."""
    try:
        nodes = [(node, 0) for node in yaml.compose_all(text, _Loader)]
    except (yaml.YAMLError, RecursionError):
        return [document for piece, first in _pieces(text) for document in _piece(piece, first, file)]
    return [document for node, offset in nodes if node is not None for document in _documents(node, offset, file)]


def _pieces(text: str) -> Iterator[tuple[str, int]]:
    """The text of each document with the number of lines before it, by the markers alone."""
    lines, start = text.splitlines(keepends=True), 0
    for at, line in enumerate(lines):
        if at and re.match(r"---(\s|$)", line):
            yield "".join(lines[start:at]), start
            start = at
    yield "".join(lines[start:]), start


def _piece(text: str, first: int, file: str) -> list[Document]:
    try:
        nodes = list(yaml.compose_all(text, _Loader))
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = first + (mark.line if mark else 0) + 1
        reason = getattr(error, "problem", None) or str(error)
        return [Document(_guess(text), file, line, problems=(Problem("", f"not YAML: {reason}", line),))]
    return [document for node in nodes if node is not None for document in _documents(node, first, file)]


def _guess(text: str) -> dict[str, Any]:
    """Kind and name of a text that is not YAML, as far as they can be seen."""
    found = {key: match[1] for key in ("apiVersion", "kind") if (match := re.search(rf"(?m)^{key}: *(\S+)", text))}
    names = {key: match[1] for key in ("name", "namespace") if (match := re.search(rf"(?m)^  {key}: *(\S+)", text))}
    return {**found, "metadata": names}


def _documents(node: yaml.Node, offset: int, file: str) -> Iterator[Document]:
    builder = _Builder(offset)
    value = builder.build(node, "", 0)
    line = node.start_mark.line + 1 + offset
    if value is None:
        return
    if not isinstance(value, dict):
        yield Document({}, file, line, problems=(Problem("", "an object is expected", line),))
        return
    if str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        for key, items in node.value:
            if key.value == "items":
                for item in items.value:
                    yield from _documents(item, offset, file)
        return
    yield Document(value, file, line, node, tuple(builder.problems))


class _Builder:
    """Makes JSON values of YAML nodes and notes keys that stand twice."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self.problems.append(Problem(path, "nested too deeply", node.start_mark.line + 1 + self.offset))
            return None
        if isinstance(node, yaml.ScalarNode):
            return scalar(node.value, node.tag, plain=node.tag == PLAIN)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        return self.mapping(node, path, depth) if isinstance(node, yaml.MappingNode) else None

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_text(key_node)
            if key_node.tag == PLAIN and key == "<<":
                for merged in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    self.merge(result, self.build(merged, path, depth + 1), path, key_node)
                continue
            here = f"{path}.{key}" if path else key
            if key in result:
                self.twice(here, key_node)
            result[key] = self.build(value_node, here if path else key, depth + 1)
        return result

    def merge(self, result: dict[str, Any], merged: Any, path: str, key_node: yaml.Node) -> None:
        for key, value in merged.items() if isinstance(merged, dict) else ():
            if key in result:
                self.twice(f"{path}.{key}" if path else key, key_node)
            result.setdefault(key, value)

    def twice(self, path: str, node: yaml.Node) -> None:
        self.problems.append(
            Problem(path, "the key stands twice in one mapping", node.start_mark.line + 1 + self.offset)
        )


def key_text(node: yaml.Node) -> str:
    """A mapping's key as the string that JSON has for it."""
    if not isinstance(node, yaml.ScalarNode):
        return ""
    if node.tag != PLAIN or node.value == "<<":
        return str(node.value)
    value = scalar(node.value, node.tag, plain=True)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _step(node: Any, name: str) -> tuple[yaml.Node, int] | None:
    """The node below node by a key or index, and its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == name:
                return value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and name.isdigit() and int(name) < len(node.value):
        item = node.value[int(name)]
        return item, item.start_mark.line + 1
    return None


def invalid(document: Document) -> list[Invalid]:
    """The problems of a document as errors."""
    return [Invalid(problem.path, problem.reason) for problem in document.problems]
