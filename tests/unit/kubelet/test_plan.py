"""What starts next: init containers in turn, sidecars first and last, restart policies, and when a pod is over."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.runtime.kubelet.plan import plan
from tests.unit.kubelet.pods import once, pod, sidecar, view, views

TWO = (once("i"), once("j"))
SIDE = (once("i"), sidecar("s"))


@pytest.mark.parametrize(
    ("init", "words", "start"),
    [
        ((), {"a": "-", "b": "-"}, "ab"),
        ((), {"a": "up", "b": "-"}, "b"),
        ((), {"a": "up", "b": "up"}, ""),
        (TWO, {"i": "-", "j": "-", "a": "-", "b": "-"}, "i"),
        (TWO, {"i": "up", "j": "-", "a": "-", "b": "-"}, ""),
        (TWO, {"i": "exit 0", "j": "-", "a": "-", "b": "-"}, "j"),
        (TWO, {"i": "exit 1", "j": "-", "a": "-", "b": "-"}, "i"),
        (TWO, {"i": "exit 0", "j": "exit 0", "a": "-", "b": "-"}, "ab"),
        (SIDE, {"i": "exit 0", "s": "-", "a": "-", "b": "-"}, "s"),
        (SIDE, {"i": "exit 0", "s": "starting", "a": "-", "b": "-"}, ""),
        (SIDE, {"i": "exit 0", "s": "up", "a": "-", "b": "-"}, "ab"),
        ((sidecar("s"), once("i")), {"s": "-", "i": "-", "a": "-", "b": "-"}, "s"),
        ((sidecar("s"), once("i")), {"s": "up", "i": "-", "a": "-", "b": "-"}, "i"),
        ((sidecar("s"), once("i")), {"s": "exit 1", "i": "up", "a": "-", "b": "-"}, "s"),
        (SIDE, {"i": "exit 0", "s": "exit 1", "a": "up", "b": "up"}, "s"),  # restarted; the others stay
        (SIDE, {"i": "exit 0", "s": "exit 0", "a": "exit 1", "b": "up"}, "sa"),
        (SIDE, {"i": "-", "s": "up", "a": "up", "b": "up"}, ""),  # init containers never run a second time
    ],
)
def test_what_starts(init: tuple[Any, ...], words: dict[str, str], start: str) -> None:
    found = plan(pod("a", "b", init=init), views(**words), 0.0)
    assert "".join(container["name"] for container in found.start) == start
    assert found.over == ""


@pytest.mark.parametrize(
    ("policy", "words", "start", "over"),
    [
        ("Always", {"a": "exit 0", "b": "exit 1"}, "ab", ""),
        ("OnFailure", {"a": "exit 0", "b": "exit 1"}, "b", ""),
        ("OnFailure", {"a": "exit 0", "b": "exit 0"}, "", "Succeeded"),
        ("Never", {"a": "exit 0", "b": "up"}, "", ""),
        ("Never", {"a": "exit 0", "b": "exit 0"}, "", "Succeeded"),
        ("Never", {"a": "exit 0", "b": "exit 3"}, "", "Failed"),
    ],
)
def test_restart_policy(policy: str, words: dict[str, str], start: str, over: str) -> None:
    found = plan(pod("a", "b", policy=policy), views(**words), 0.0)
    assert ("".join(container["name"] for container in found.start), found.over) == (start, over)


@pytest.mark.parametrize(
    ("policy", "words", "start", "over"),
    [
        ("Never", {"i": "exit 1", "s": "-", "a": "-"}, "", "Failed"),
        ("OnFailure", {"i": "exit 1", "s": "-", "a": "-"}, "i", ""),
        ("Always", {"i": "exit 1", "s": "-", "a": "-"}, "i", ""),
        ("Never", {"i": "exit 0", "s": "exit 1", "a": "up"}, "s", ""),  # a sidecar is always started again
        ("Never", {"i": "exit 0", "s": "up", "a": "exit 0"}, "", "Succeeded"),  # and does not keep a pod alive
        ("Never", {"i": "exit 0", "s": "exit 1", "a": "exit 0"}, "", "Succeeded"),
    ],
)
def test_init_containers_and_the_end(policy: str, words: dict[str, str], start: str, over: str) -> None:
    found = plan(pod("a", init=SIDE, policy=policy), views(**words), 0.0)
    assert ("".join(container["name"] for container in found.start), found.over) == (start, over)


def test_a_backed_off_container_waits() -> None:
    known = {"a": view("a", "exit 1", not_before=30.0), "b": view("b", "exit 1", not_before=20.0)}
    found = plan(pod("a", "b"), known, 15.0)
    assert (found.start, found.wake_s) == ((), 5.0)
    found = plan(pod("a", "b"), known, 20.0)
    assert ([container["name"] for container in found.start], found.wake_s) == (["b"], 10.0)


def test_what_is_being_killed_is_not_started() -> None:
    assert plan(pod("a"), views(a="killing"), 0.0).start == ()
