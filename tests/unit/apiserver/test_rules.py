"""The API server's pure parts as tables: strategic merge, server-side apply, selectors, CEL, names, quantities."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.cel import CompileError, EvaluationError, compile_expression
from mizzen.runtime.apiserver import names
from mizzen.runtime.apiserver.errors import StatusError
from mizzen.runtime.apiserver.patching import managed
from mizzen.runtime.apiserver.patching.jsonpatch import PatchFailed, json_patch, merge_patch
from mizzen.runtime.apiserver.patching.shapes import struct_shape
from mizzen.runtime.apiserver.patching.strategic import BadDirective, strategic_merge
from mizzen.runtime.apiserver.schema.facts import struct
from mizzen.runtime.apiserver.schema.scalars import canonical_quantity
from mizzen.runtime.apiserver.selectors import parse_fields, parse_labels

A, B = {"name": "a", "image": "1"}, {"name": "b", "image": "2"}


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        (
            {"containers": [A, B]},
            {"containers": [{"name": "b", "image": "3"}]},
            {"containers": [A, {"name": "b", "image": "3"}]},
        ),
        ({"containers": [A, B]}, {"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [B]}),
        ({"containers": [A, B]}, {"containers": [{"$patch": "replace"}, B]}, {"containers": [B]}),
        (
            {"containers": [A, B]},
            {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]},
            {"containers": [B, A]},
        ),
        ({"nodeName": "n", "hostname": "h"}, {"nodeName": None}, {"hostname": "h"}),
        (
            {"nodeSelector": {"a": "1", "b": "2"}},
            {"nodeSelector": {"a": None, "c": "3"}},
            {"nodeSelector": {"b": "2", "c": "3"}},
        ),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "delete"}}, {}),
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
    ],
)
def test_strategic_merge(old: Any, patch: Any, new: Any) -> None:
    assert strategic_merge(old, patch, struct("core/v1.PodSpec")) == new


def test_primitive_lists_and_unknown_directives() -> None:
    meta = struct("meta/v1.ObjectMeta")
    old = {"finalizers": ["a", "b"]}
    assert strategic_merge(dict(old), {"finalizers": ["c"]}, meta) == {"finalizers": ["a", "b", "c"]}
    assert strategic_merge(dict(old), {"$deleteFromPrimitiveList/finalizers": ["a"]}, meta) == {"finalizers": ["b"]}
    with pytest.raises(BadDirective):
        strategic_merge({}, {"$patch": "explode"}, meta)


@pytest.mark.parametrize(
    ("old", "operations", "new"),
    [
        ({"a": [1, 2]}, [{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2]}),
        ({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 2, 9]}),
        (
            {"a/b": 1, "m~n": 2},
            [{"op": "remove", "path": "/a~1b"}, {"op": "replace", "path": "/m~0n", "value": 3}],
            {"m~n": 3},
        ),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        (
            {"a": [1]},
            [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}],
            {"a": [1], "b": [1, 2]},
        ),
        ({"a": 1}, [{"op": "test", "path": "/a", "value": 2}], None),
        ({"a": [1]}, [{"op": "add", "path": "/a/5", "value": 2}], None),
        ({}, [{"op": "add", "path": "/a/b", "value": 2}], None),
    ],
)
def test_json_patch(old: Any, operations: Any, new: Any) -> None:
    if new is None:
        with pytest.raises(PatchFailed):
            json_patch(old, operations)
    else:
        assert json_patch(old, operations) == new


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": None, "d": {"e": None}}}, {"a": {"d": {}}}),
        ({"a": [1]}, {"a": [2]}, {"a": [2]}),
        ({"a": 1}, "x", "x"),
        ([1], {"a": 1}, {"a": 1}),
    ],
)
def test_merge_patch_as_in_rfc_7386(old: Any, patch: Any, new: Any) -> None:
    assert merge_patch(old, patch) == new


def _apply(live: Any, config: Any, who: str, given: Any = None, force: bool = False) -> managed.Applied:
    manager = managed.Manager(who, "Apply", "v1")
    return managed.applied(live, config, struct_shape("core/v1.Pod"), manager, "t", given, force=force, empty={})


def test_apply_merges_by_key_and_removes_what_its_owner_drops() -> None:
    one = _apply({}, {"spec": {"containers": [A, B]}}, "one")
    two = _apply(one.object, {"spec": {"containers": [{"name": "c", "image": "3"}]}}, "two", one.entries)
    assert [item["name"] for item in two.object["spec"]["containers"]] == ["a", "b", "c"]
    less = _apply(two.object, {"spec": {"containers": [A]}}, "one", two.entries)
    assert [item["name"] for item in less.object["spec"]["containers"]] == ["a", "c"]
    shared = _apply(less.object, {"spec": {"containers": [A]}}, "two", less.entries)
    assert [item["name"] for item in shared.object["spec"]["containers"]] == ["a"]
    with pytest.raises(managed.Conflicts) as conflict:
        _apply(shared.object, {"spec": {"containers": [{**A, "image": "9"}]}}, "three", shared.entries)
    assert {one.manager.name for one in conflict.value.found} == {"one", "two"}
    taken = _apply(shared.object, {"spec": {"containers": [{**A, "image": "9"}]}}, "three", shared.entries, True)
    assert taken.object["spec"]["containers"][0]["image"] == "9"


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a=1,b!=2", {"a": "1"}, True),
        ("a==1", {"a": "2"}, False),
        ("a in (1,2)", {"a": "2"}, True),
        ("a notin (1,2)", {}, True),
        ("a>5", {"a": "6"}, True),
        ("a<5", {"a": "x"}, False),
        ("a=", {"a": ""}, True),
        ("example.com/a in (,x)", {"example.com/a": ""}, True),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_labels(text).matches(labels) is matches


@pytest.mark.parametrize("text", ["=a", "a in 1", "a in (1", "a,,b", "a b", "a>x", "-a", "a=_", "a,"])
def test_what_is_no_label_selector(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_labels(text)
    assert refused.value.body()["code"] == 400


def test_field_selectors() -> None:
    assert [tuple(term) for term in parse_fields(r"a.b=x\,y,c!=d")] == [("a.b", True, "x,y"), ("c", False, "d")]
    with pytest.raises(StatusError):
        parse_fields("a")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("self.a > 1 && self.b == 'x'", True),
        ("has(self.a) && !has(self.none)", True),
        ("self.l.all(i, i > 0)", True),
        ("self.l.exists_one(i, i == 2)", True),
        ("self.l.map(i, i * 2)", [2, 4, 6]),
        ("self.l.filter(i, i != 2).size()", 2),
        ("self.m.exists(k, self.m[k] == 'v')", True),
        ("'abc'.matches('^a.c$') && 'abc'.startsWith('ab')", True),
        ("'a,b'.split(',').join('-')", "a-b"),
        ("false && 1 / 0 == 1", False),
        ("1 / 0 == 1 || true", True),
        ("3 in self.l && 'k' in self.m", True),
        ("duration('1h30m') > duration('80m')", True),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", True),
        ("ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.1.1')", True),
        ("self.?none.orValue('d')", "d"),
        ("type(1) == int && string(1) == '1'", True),
    ],
)
def test_cel(text: str, value: Any) -> None:
    given = {"a": 2, "b": "x", "l": [1, 2, 3], "m": {"k": "v"}}
    assert compile_expression(text, ("self",)).run({"self": given}) == value


@pytest.mark.parametrize("text", ["1 +", "nobody.a", "unknown(1)", "'a' + 1", "self.l.all(1, true)"])
def test_what_cel_does_not_compile(text: str) -> None:
    with pytest.raises(CompileError):
        compile_expression(text, ("self",))


@pytest.mark.parametrize("text", ["1 / 0", "self.none", "self.l[9]", "9223372036854775807 + self.one"])
def test_what_cel_cannot_evaluate(text: str) -> None:
    with pytest.raises(EvaluationError):
        compile_expression(text, ("self",)).run({"self": {"l": [], "one": 1}})


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.subdomain, ["a", "a.b-c", "1"], ["", "A", "a..b", "-a", "a-", "a_b", "a" * 254, "a\n"]),
        (names.dns_label, ["a", "1-a"], ["a.b", "", "a" * 64, "a\n"]),
        (names.dns_1035, ["a", "a-1"], ["1a", "a.b", "a\n"]),
        (names.qualified_name, ["a", "A_b.c", "example.com/a"], ["", "/a", "a/", "a/b/c", "UP/a", "a" * 64, "a\n"]),
        (names.label_value, ["", "a", "A.b_c"], ["-a", "a b", "a" * 64, "a\n"]),
        (names.path_segment, ["a", "A b"], [".", "..", "a/b", "a%b"]),
    ],
)
def test_names(check: Any, good: list[str], bad: list[str]) -> None:
    assert [one for one in good if check(one)] == []
    assert [one for one in bad if not check(one)] == []


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5", "500m"),
        ("1500", "1500"),
        ("1e3", "1e3"),
        ("100000k", "100M"),
        ("0", "0"),
    ],
)
def test_quantities(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical
