"""Manifests are read as Kubernetes reads them."""

import pytest

from mizzen.api.manifest import load, loads
from mizzen.api.yaml_scalars import plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n", False),
        ("on", True),
        ("Y", True),
        ("yes", True),
        ("nO", "nO"),
        ("~", None),
        ("", None),
        ("0120", 80),
        ("0x1F90", 8080),
        ("0b101", 5),
        ("0o17", 15),
        ("8_081", 8081),
        ("80.0", 80),
        ("2e1", 20),
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("089", 89),
        ("2024-01-01", "2024-01-01"),
        ("12:30:45", "12:30:45"),
        ("1.2.3.4", "1.2.3.4"),
        ("10s", "10s"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("-", "-"),
        (".", "."),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


TEXT = """\
# a comment
apiVersion: v1
kind: A
metadata:
  name: one
spec:
  hosts:
  - a
  - b
  headers: {"x.y": {exact: "1"}}
---
---
kind: List
items:
- kind: B
  n: 1
- kind: C
  d: 1
  d: 2
"""


def test_documents_and_lines() -> None:
    one, b, c = load(TEXT)
    assert [d.object["kind"] for d in (one, b, c)] == ["A", "B", "C"]
    assert [d.line for d in (one, b, c)] == [2, 15, 17]
    assert one.line_of("spec.hosts[1]") == 9
    assert one.line_of("spec.headers[x.y].exact") == 10
    assert one.line_of("spec.absent.thing") == 6
    assert one.line_of("") == 2
    assert b.line_of("n") == 16
    assert b.object == {"kind": "B", "false": 1}
    assert [(p.path, p.line) for p in c.problems] == [("d", 19)]


def test_one_unreadable_document_leaves_the_others() -> None:
    first, bad, last = loads("a: 1\n---\nkind: X\nmetadata:\n  name: n\nspec: [\n---\nb: 2\n", "f")
    assert first.object == {"a": 1}
    assert last.object == {"b": 2}
    assert last.line == 8
    assert bad.object["kind"] == "X"
    assert bad.problems
    assert not first.problems


def test_merge_keys() -> None:
    (document,) = loads("a: &a {x: 1, z: 2}\nb:\n  <<: *a\n  z: 3\n")
    assert document.object["b"] == {"x": 1, "z": 3}
    assert [p.path for p in document.problems] == ["b.z"]


def test_alias_bombs_and_cycles_end() -> None:
    (document,) = loads("a: &a [*a]\n")
    assert document.problems
