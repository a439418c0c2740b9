"""Phases, conditions with their reasons, and container states, as Kubernetes shows them."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.runtime.kubelet.status import Host, Network, conditions, container_status, phase, pod_status
from tests.unit.kubelet.pods import once, pod, sidecar, status, view, views

HOST = Host("10.0.0.9", "mizzen", 100.0)


@pytest.mark.parametrize(
    ("policy", "words", "expected"),
    [
        ("Always", {"i": "-", "a": "-", "b": "-"}, "Pending"),
        ("Always", {"i": "up", "a": "-", "b": "-"}, "Pending"),
        ("Always", {"i": "exit 0", "a": "up", "b": "-"}, "Pending"),
        ("Always", {"i": "exit 0", "a": "up", "b": "up"}, "Running"),
        ("Always", {"i": "exit 0", "a": "exit 1", "b": "exit 0"}, "Running"),
        ("OnFailure", {"i": "exit 0", "a": "exit 1", "b": "exit 0"}, "Running"),
        ("OnFailure", {"i": "exit 0", "a": "exit 0", "b": "exit 0"}, "Succeeded"),
        ("Never", {"i": "exit 0", "a": "exit 1", "b": "exit 0"}, "Failed"),
        ("Never", {"i": "exit 1", "a": "-", "b": "-"}, "Failed"),
    ],
)
def test_phase(policy: str, words: dict[str, str], expected: str) -> None:
    assert phase(pod("a", "b", init=(once("i"),), policy=policy), views(**words)) == expected


def by_kind(spec: dict[str, Any], known: Any, ready: bool = True) -> dict[str, tuple[str, str]]:
    found = conditions(spec, known, Network(ready), 100.0)
    return {item["type"]: (item["status"], item.get("reason", "")) for item in found}


YES = ("True", "")


@pytest.mark.parametrize(
    ("words", "policy", "initialized", "ready"),
    [
        ({"i": "up", "s": "-", "a": "-"}, "Always", ("False", "ContainersNotInitialized"), ("False", "ContainersNotReady")),
        ({"i": "exit 0", "s": "starting", "a": "-"}, "Always", ("False", "ContainersNotInitialized"),
         ("False", "ContainersNotReady")),
        ({"i": "exit 0", "s": "up", "a": "starting"}, "Always", YES, ("False", "ContainersNotReady")),
        ({"i": "exit 0", "s": "starting", "a": "up"}, "Always", YES, ("False", "ContainersNotReady")),
        ({"i": "exit 0", "s": "up", "a": "up"}, "Always", YES, YES),
        ({"i": "exit 0", "s": "up", "a": "exit 0"}, "Never", ("True", "PodCompleted"), ("False", "PodCompleted")),
        ({"i": "exit 0", "s": "up", "a": "exit 1"}, "Never", YES, ("False", "PodFailed")),
    ],
)  # fmt: skip
def test_conditions(words: dict[str, str], policy: str, initialized: tuple[str, str], ready: tuple[str, str]) -> None:
    found = by_kind(pod("a", init=(once("i"), sidecar("s")), policy=policy), views(**words))
    assert found == {
        "PodReadyToStartContainers": YES, "Initialized": initialized, "ContainersReady": ready, "Ready": ready
    }  # fmt: skip


def test_messages_name_the_containers() -> None:
    found = conditions(pod("a", "b", init=(once("i"),)), views(i="up", a="-", b="-"), Network(), 0.0)
    texts = {item["type"]: item.get("message") for item in found}
    assert texts["Initialized"] == "containers with incomplete status: [i]"
    assert texts["ContainersReady"] == texts["Ready"] == "containers with unready status: [a b]"


@pytest.mark.parametrize(
    ("old", "expected"),
    [([], "False"), ([{"type": "x/y", "status": "False"}], "False"), ([{"type": "x/y", "status": "True"}], "True")],
)
def test_readiness_gates(old: list[dict[str, Any]], expected: str) -> None:
    spec = {**pod("a", readinessGates=[{"conditionType": "x/y"}]), "status": {"conditions": old}}
    found = by_kind(spec, views(a="up"))
    assert found["ContainersReady"] == YES
    assert found["Ready"] == (YES if expected == "True" else ("False", "ReadinessGatesNotReady"))
    assert ("x/y" in found) == bool(old)  # another's condition is kept


def test_transition_times_move_only_with_the_status() -> None:
    old = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "before"},
        {"type": "Initialized", "status": "False", "lastTransitionTime": "before"},
    ]
    found = conditions({**pod("a"), "status": {"conditions": old}}, views(a="up"), Network(True), 100.0)
    times = {item["type"]: item["lastTransitionTime"] for item in found}
    assert (times["Ready"], times["Initialized"]) == ("before", "1970-01-01T00:01:40Z")


def one(known: Any, init: tuple[Any, ...] = (), *, through: bool = True, over: bool = False) -> dict[str, Any]:
    spec = pod("a", init=init)
    return container_status(spec, spec["spec"]["containers"][0], known, HOST, through, over)


@pytest.mark.parametrize(
    ("known", "init", "through", "state", "reason"),
    [
        (view("a", "-"), (), True, "waiting", "ContainerCreating"),
        (view("a", "-"), (once("i"),), False, "waiting", "PodInitializing"),
        (view("a", "-", waiting=("ErrImagePull", "no")), (), True, "waiting", "ErrImagePull"),
        (view("a", "exit 0"), (), True, "terminated", "Completed"),
        (view("a", "exit 2"), (), True, "terminated", "Error"),
        (view("a", "exit 2", not_before=110.0, delay_s=10.0), (), True, "waiting", "CrashLoopBackOff"),
        (view("a", "exit 2", not_before=90.0, delay_s=10.0), (), True, "terminated", "Error"),
    ],
)
def test_states(known: Any, init: tuple[Any, ...], through: bool, state: str, reason: str) -> None:
    found = one(known, init, through=through)["state"]
    assert list(found) == [state]
    assert found[state]["reason"] == reason


def test_a_running_container() -> None:
    found = one(view("a", "up"))
    assert list(found["state"]) == ["running"]
    assert (found["ready"], found["started"], found["restartCount"], found["containerID"]) == (
        True,
        True,
        0,
        "mizzen://id0",
    )


def test_back_off_tells_how_long_and_keeps_the_last_end() -> None:
    known = view("a", "exit 2", not_before=120.0, delay_s=80.0, messages={"id0": "out of luck"})
    found = one(known)
    text = "back-off 1m20s restarting failed container=a pod=web_shop(u1)"
    assert found["state"]["waiting"]["message"] == text
    assert found["lastState"]["terminated"]["exitCode"] == 2
    assert found["lastState"]["terminated"]["message"] == "out of luck"
    assert not found["ready"]


def test_restarts_are_counted_and_the_one_before_is_shown() -> None:
    known = view("a", "-", started=True, ready=True)
    known.current, known.last = status("running", attempt=2), status("exited", 137, attempt=1, reason="OOMKilled")
    found = one(known)
    assert found["restartCount"] == 2
    assert found["lastState"]["terminated"]["reason"] == "OOMKilled"


def test_an_init_container_is_ready_when_it_ended_well() -> None:
    spec = pod("a", init=(once("i"), once("j")))
    found = pod_status(spec, views(i="exit 0", j="up", a="-"), Network(True, ("10.1.0.2",)), HOST, "start")
    assert [item["ready"] for item in found["initContainerStatuses"]] == [True, False]
    assert (found["podIP"], found["hostIP"], found["startTime"]) == ("10.1.0.2", "10.0.0.9", "start")


def test_a_pod_on_the_hosts_network_has_its_address() -> None:
    found = pod_status(pod("a", hostNetwork=True), views(a="up"), Network(True), HOST, "start")
    assert found["podIPs"] == [{"ip": "10.0.0.9"}]
    assert "podIP" not in pod_status(pod("a"), views(a="-"), Network(), HOST, "start")
