"""How a status follows another: what moves, what stays, what is no reason to write."""

from __future__ import annotations

from mizzen.istiod.analysis.messages import BY_CODE
from mizzen.istiod.status.conditions import istio_status, merged, same
from mizzen.istiod.status.distribution import Progress, Refusal

FOREIGN = {"type": "istio.io/WaypointBound", "status": "True", "lastTransitionTime": "t0"}


def test_a_first_status() -> None:
    out = istio_status({}, 3, Progress(1, 2), [BY_CODE["IST0101"]], "t1")
    (condition,) = out["conditions"]
    assert condition == {
        "type": "Reconciled",
        "status": "False",
        "message": "1/2 proxies up to date.",
        "observedGeneration": 3,
        "lastTransitionTime": "t1",
    }
    assert out["observedGeneration"] == 3
    assert out["validationMessages"][0]["type"]["code"] == "IST0101"
    assert out["validationMessages"][0]["level"] == "ERROR"


def test_the_time_moves_with_the_status_only() -> None:
    before = istio_status({"conditions": [FOREIGN]}, 1, Progress(0, 2), None, "t1")
    still = istio_status(before, 1, Progress(1, 2), None, "t2")
    done = istio_status(still, 1, Progress(2, 2), None, "t3")
    assert [one["lastTransitionTime"] for one in still["conditions"]] == ["t0", "t1"]
    assert [one["lastTransitionTime"] for one in done["conditions"]] == ["t0", "t3"]
    assert done["conditions"][0] == FOREIGN
    assert "validationMessages" not in done


def test_refusals_come_and_go() -> None:
    refusals = tuple(Refusal(f"web-{n}.shop", "LDS", "no such filter") for n in range(5))
    refused = istio_status({}, 1, Progress(0, 5, refusals), None, "t1")
    condition = refused["conditions"][1]
    assert (condition["type"], condition["reason"]) == ("RefusedByProxies", "LDS")
    assert condition["message"] == "Refused by web-0.shop, web-1.shop, web-2.shop, 2 more: no such filter"
    gone = istio_status(refused, 1, Progress(5, 5), None, "t2")
    assert [one["type"] for one in gone["conditions"]] == ["Reconciled"]


def test_a_status_of_another_time_says_the_same() -> None:
    one = istio_status({}, 1, Progress(1, 1), [], "t1")
    other = {**one, "observedGeneration": "1", "validationMessages": []}
    other["conditions"] = [{**one["conditions"][0], "lastTransitionTime": "t9", "lastProbeTime": "t9"}]
    assert same(one, other)
    assert not same(one, istio_status({}, 2, Progress(1, 1), [], "t1"))


def test_messages_go_when_they_are_mended() -> None:
    bad = istio_status({}, 1, None, [BY_CODE["IST0101"]], "t1")
    assert "validationMessages" not in istio_status(bad, 1, None, [], "t1")
    assert istio_status(bad, 1, None, None, "t1") == bad, "nobody has looked"


def test_all_types_may_be_ours() -> None:
    assert merged([FOREIGN], [{"type": "Accepted", "status": "True"}], None, "t1") == [
        {"type": "Accepted", "status": "True", "lastTransitionTime": "t1"}
    ]
