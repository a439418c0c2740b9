"""The subscription rules as playbooks: what the client says → what must be answered; for both protocols."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.istiod.xds.subscription import Answer, Request, Subscriptions
from mizzen.istiod.xds.types import CDS, EDS, LDS, NDS, RDS

URLS = {"CDS": CDS, "EDS": EDS, "LDS": LDS, "RDS": RDS, "NDS": NDS}
ALL, NOTHING = "everything", "nothing"


def say(kind: str, names: str = "", **more: Any) -> Request:
    return Request(type_url=URLS[kind], names=tuple(names.split()), **more)


def delta(kind: str, names: str = "", drop: str = "", **more: Any) -> Request:
    return Request(type_url=URLS[kind], subscribe=tuple(names.split()), unsubscribe=tuple(drop.split()), **more)


def show(answer: Answer | None) -> str:
    if answer is None:
        return NOTHING
    return ALL if answer.names is None else " ".join(sorted(answer.names))


WHOLE = {
    "wildcard, then its ACK": [(say("CDS"), ALL, "n1"), (say("CDS", nonce="n1"), NOTHING, None)],
    "named without names is no subscription": [(say("EDS"), NOTHING, None)],
    "NDS is a wildcard type": [(say("NDS"), ALL, "n1")],
    "only added names are answered": [
        (say("EDS", "a"), ALL, "n1"),
        (say("EDS", "a b", nonce="n1"), "b", "n2"),
        (say("EDS", "a b", nonce="n2"), NOTHING, None),
    ],
    "removed names are not answered": [(say("EDS", "a b"), ALL, "n1"), (say("EDS", "a", nonce="n1"), NOTHING, None)],
    "no names left ends the watch": [
        (say("RDS", "a"), ALL, "n1"),
        (say("RDS", nonce="n1"), NOTHING, None),
        (say("RDS", "a", nonce="n1"), ALL, "n2"),
    ],
    "a stale nonce is ignored": [
        (say("EDS", "a"), ALL, "n1"),
        (say("EDS", "a b", nonce="n0"), NOTHING, None),
        (say("EDS", "a b", nonce="n1"), "b", "n2"),
    ],
    "a NACK is never answered": [
        (say("LDS"), ALL, "n1"),
        (say("LDS", nonce="n1", error="bad"), NOTHING, None),
        (say("LDS", nonce="n1"), NOTHING, None),
    ],
    "a reconnecting client sends no nonce": [(say("CDS"), ALL, "n1"), (say("CDS"), ALL, "n2")],
    "a nonce on a new stream starts a watch": [(say("CDS", nonce="of another istiod"), ALL, "n1")],
    "a new CDS watch brings EDS again": [
        (say("EDS", "a"), ALL, "n1"),
        (say("CDS"), ALL, "n2"),
        (say("EDS", "a", nonce="n1"), ALL, "n3"),
        (say("EDS", "a", nonce="n3"), NOTHING, None),
    ],
}

DELTA = {
    "wildcard, then its ACK": [(delta("CDS"), ALL, "n1"), (delta("CDS", nonce="n1"), NOTHING, None)],
    "a star is a wildcard": [(delta("CDS", "*"), ALL, "n1")],
    "only new names are answered": [
        (delta("EDS", "a"), ALL, "n1"),
        (delta("EDS", nonce="n1"), NOTHING, None),
        (delta("EDS", "b c"), "b c", "n2"),
    ],
    "subscribing again is answered again": [(delta("EDS", "a"), ALL, "n1"), (delta("EDS", "a"), "a", "n2")],
    "unsubscribing is silent": [(delta("EDS", "a b"), ALL, "n1"), (delta("EDS", drop="a"), NOTHING, None)],
    "a stale nonce is ignored": [(delta("EDS", "a"), ALL, "n1"), (delta("EDS", "b", nonce="n0"), NOTHING, None)],
    "a NACK is never answered": [(delta("LDS"), ALL, "n1"), (delta("LDS", nonce="n1", error="bad"), NOTHING, None)],
    "initial versions are names": [(delta("EDS", initial=("a", "b")), ALL, "n1")],
    "a new CDS watch brings EDS again": [
        (delta("EDS", "a b"), ALL, "n1"),
        (delta("CDS"), ALL, "n2"),
        (delta("EDS", nonce="n1"), ALL, "n3"),
    ],
}


def play(subscriptions: Subscriptions, plays: list[tuple[Request, str, str | None]]) -> None:
    talk = []
    for request, expected, nonce in plays:
        answered = show(subscriptions.request(request))
        talk.append(f"{request} -> {answered}")
        assert answered == expected, "\n".join(talk)
        if nonce:
            subscriptions.sent(request.type_url, nonce, now=1.0)


@pytest.mark.parametrize("case", WHOLE)
def test_state_of_the_world(case: str) -> None:
    play(Subscriptions(delta=False), WHOLE[case])


@pytest.mark.parametrize("case", DELTA)
def test_delta(case: str) -> None:
    play(Subscriptions(delta=True), DELTA[case])


@pytest.mark.parametrize("is_delta", [False, True])
def test_status_follows_the_nonces(is_delta: bool) -> None:
    subscriptions = Subscriptions(is_delta)
    subscriptions.request(say("LDS"))
    watch = subscriptions.watches[LDS]
    assert watch.status == "NOT_SENT"
    subscriptions.sent(LDS, "n1", 1.0)
    assert watch.status == "STALE"
    subscriptions.request(say("LDS", nonce="n1"))
    assert watch.status == "SYNCED"
    subscriptions.sent(LDS, "n2", 2.0)
    subscriptions.request(say("LDS", nonce="n2", error="no such filter"))
    assert (watch.status, watch.error, subscriptions.rejects) == ("ERROR", "no such filter", {LDS: 1})
    subscriptions.sent(LDS, "n3", 3.0)
    subscriptions.request(say("LDS", nonce="n3"))
    assert (watch.status, watch.error) == ("SYNCED", None)


def test_delta_wildcard_remembers_what_the_client_holds() -> None:
    subscriptions = Subscriptions(delta=True)
    subscriptions.request(delta("CDS", initial=("old", "kept")))
    assert subscriptions.watches[CDS].held == {"old", "kept"} and subscriptions.watches[CDS].wildcard


def test_a_plain_ack_is_the_same_the_short_way() -> None:
    long, short = Subscriptions(delta=True), Subscriptions(delta=True)
    for subscriptions in (long, short):
        subscriptions.request(delta("EDS", "a"))
        subscriptions.sent(EDS, "n1", 1.0)
    assert long.request(delta("EDS", nonce="n1")) is None
    assert short.plain_ack(EDS, "n1")
    for name in ("nonce_acked", "nonce_sent", "error", "names", "always_respond"):
        assert getattr(long.watches[EDS], name) == getattr(short.watches[EDS], name)
    assert not short.plain_ack(EDS, "n0"), "stale"
    assert not short.plain_ack(LDS, "n1"), "not watched"
    short.request(delta("CDS"))
    assert not short.plain_ack(EDS, "n1"), "must be answered"
