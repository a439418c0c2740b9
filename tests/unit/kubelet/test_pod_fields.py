"""docs/pod-fields.md is true: each field of a pod's spec has a reader, is refused, or has no effect for a reason."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import mizzen
from mizzen.runtime.kubelet.refusals import REFUSED
from tests.support.pod_fields import NO_EFFECT, Row, page, readers, rows

ROOT = Path(mizzen.__path__[0])
DOCS = Path(__file__).parents[3] / "docs"
ROWS = list(rows())


@cache
def words(module: str) -> frozenset[str]:
    """The words in the strings of a module."""
    tree = ast.parse((ROOT / f"{module}.py").read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return frozenset(word for text in texts for word in text.split())


def test_the_page_is_current() -> None:
    assert (DOCS / "pod-fields.md").read_text() == page(), "python -m tests.support.pod_fields > docs/pod-fields.md"


def test_every_field_has_one_state() -> None:
    for row in ROWS:
        assert bool(row.reader) + bool(row.why) + row.always == 1, row


def test_the_lists_name_real_fields() -> None:
    known = {row.field for row in ROWS}
    named = {*NO_EFFECT, *REFUSED, *(name for name in readers() if not name.endswith(".*"))}
    assert not named - known
    types = {name.partition(".")[0] for name in known}
    assert not {name.partition(".")[0] for name in readers()} - types


@pytest.mark.parametrize("row", [row for row in ROWS if row.reader], ids=lambda row: row.field)
def test_the_reader_names_the_field(row: Row) -> None:
    name = row.field.partition(".")[2]
    assert name in words(row.reader) or (name.endswith("Probe") and "Probe" in words(row.reader)), row
