"""Host names: exact, wildcard, short."""

from __future__ import annotations

import pytest

from mizzen.istiod.hostname import best_match, overlaps, resolve_host, subset_of


@pytest.mark.parametrize(
    ("host", "other", "expected"),
    [
        ("a.com", "a.com", True),
        ("a.com", "*", True),
        ("a.com", "*.com", True),
        ("com", "*.com", False),
        ("*.a.com", "*.com", True),
        ("*.com", "*.a.com", False),
        ("*", "a.com", False),
        ("*", "*", True),
    ],
)
def test_subset(host: str, other: str, expected: bool) -> None:
    assert subset_of(host, other) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("*.com", "*.a.com", True),
        ("a.com", "*.com", True),
        ("*.com", "a.com", True),
        ("a.com", "b.com", False),
        ("*.a.com", "*.b.com", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    assert overlaps(one, other) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.b.com", "a.b.com"),
        ("c.b.com", "*.b.com"),
        ("x.com", "*.com"),
        ("x.org", None),
        ("*.b.com", "*.b.com"),
        ("*.c.com", "*.com"),
    ],
)
def test_best_match(host: str, expected: str | None) -> None:
    found = best_match(host, {"a.b.com": 1}, {"*.b.com": 2, "*.com": 3})
    assert (found[0] if found else None) == expected


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("a", "cluster.local", "a.ns.svc.cluster.local"),
        ("a", "", "a.ns"),
        ("a.other", "cluster.local", "a.other"),
        ("*", "cluster.local", "*"),
        ("", "cluster.local", ""),
    ],
)
def test_resolve(host: str, domain: str, expected: str) -> None:
    assert resolve_host(host, "ns", domain) == expected
