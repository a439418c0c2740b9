"""What other istiods say of their proxies, added up."""

from __future__ import annotations

import msgspec
import pytest

from mizzen.istiod.status.distribution import Progress, Refusal
from mizzen.istiod.status.reports import FIELD, STALE_S, Behind, Report, Reports
from mizzen.kube import Change, Client, Key, KubeConfig

KEY = ("VirtualService", ("shop", "web"))
NAME = "VirtualService/shop/web"
REFUSAL = Refusal("web-1.shop", "LDS", "no")


def reports(*given: Report) -> tuple[Reports, list[str]]:
    told: list[str] = []
    made = Reports(
        Client(KubeConfig(server="http://192.0.2.1")),
        "sys",
        "me",
        lambda keys: told.extend(f"{k}/{n}" for k, (_, n) in keys),
    )
    for report in given:
        made._take(change(report))
    return made, told


def change(report: Report) -> Change:
    obj = {"metadata": {"name": report.reporter}, "data": {FIELD: msgspec.json.encode(report).decode()}}
    return Change("added", Key("sys", report.reporter), None, obj)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (Report("a", 100.0, 3, published={"VirtualService": 7}), Progress(4, 5)),
        (Report("a", 100.0, 3, published={"VirtualService": 6}), Progress(1, 5)),
        (Report("a", 100.0, 3, published={"Gateway": 9}), Progress(1, 5)),
        (Report("a", 100.0, 3, behind={NAME: Behind(2)}), Progress(3, 5)),
        (Report("a", 100.0, 3, behind={NAME: Behind(2, (REFUSAL,))}), Progress(3, 5, (REFUSAL,))),
        (Report("a", 99.0 - STALE_S, 3, published={"VirtualService": 7}), Progress(1, 2)),
        (Report("me", 100.0, 3, published={"VirtualService": 7}), Progress(1, 2)),
    ],
)
def test_what_a_report_adds(report: Report, expected: Progress) -> None:
    made, _ = reports(report)
    assert made.combined(KEY, 7, Progress(1, 2), 100.0) == expected


def test_other_revisions_count_where_they_are_meant_to() -> None:
    made, _ = reports(Report("a", 100.0, 3, "canary", {"VirtualService": 7}))
    assert made.combined(KEY, 7, Progress(1, 1), 100.0, "stable") == Progress(1, 1)
    assert made.combined(KEY, 7, Progress(1, 1), 100.0, "canary") == Progress(4, 4)


def test_who_is_told_of_what() -> None:
    made, told = reports(Report("a", 100.0, 3, behind={NAME: Behind(2)}))
    made._take(change(Report("a", 101.0, 3, behind={NAME: Behind(2)})))
    assert told == ["VirtualService/web"]
    made._take(Change("deleted", Key("sys", "a"), {"metadata": {"name": "a"}}, None))
    assert told == ["VirtualService/web"] * 2
    broken = {"metadata": {"name": "b"}, "data": {FIELD: "{"}}
    made._take(Change("added", Key("sys", "b"), None, broken))
    assert made.combined(KEY, 7, Progress(1, 1), 100.0) == Progress(1, 1)
