"""Which names the DNS proxy knows, and what it answers."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rdatatype
import pytest

from mizzen.agent.dns import Resolvers, filled, sized
from mizzen.agent.messages import NameInfo
from mizzen.agent.names import Found, Names

TABLE = {
    "details.shop.svc.cluster.local": NameInfo(("10.0.0.1", "fd00::1"), "Kubernetes", "details", "shop"),
    "other.far.svc.cluster.local": NameInfo(("10.0.0.2",), "Kubernetes", "other", "far"),
    "api.example.com": NameInfo(("240.0.0.1",), "External"),
    "*.wild.example": NameInfo(("240.0.0.2",), "External"),
}
NAMES = Names(TABLE, "shop", "shop.svc.cluster.local", ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"])


@pytest.mark.parametrize(
    ("question", "ips", "alias"),
    [
        ("details.shop.svc.cluster.local.", ("10.0.0.1", "fd00::1"), ""),
        ("DETAILS.", ("10.0.0.1", "fd00::1"), ""),
        ("details.shop.", ("10.0.0.1", "fd00::1"), ""),
        ("details.shop.svc.", ("10.0.0.1", "fd00::1"), ""),
        ("other.far.", ("10.0.0.2",), ""),
        ("api.example.com.", ("240.0.0.1",), ""),
        ("api.example.com.shop.svc.cluster.local.", ("240.0.0.1",), "api.example.com."),
        ("a.b.wild.example.", ("240.0.0.2",), ""),
    ],
)
def test_known(question: str, ips: tuple[str, ...], alias: str) -> None:
    assert NAMES.find(question) == Found(ips, alias)


@pytest.mark.parametrize("question", ["other.", "wild.example.", "example.com.", "nobody.shop.svc.cluster.local.", "."])
def test_unknown(question: str) -> None:
    assert NAMES.find(question) is None


def ask(name: str, kind: str) -> dns.message.Message:
    return dns.message.make_query(name, kind)


def test_answers() -> None:
    query = ask("details.shop.", "A")
    made = filled(query, Found(("10.0.0.1", "fd00::1")))
    assert made.flags & dns.flags.AA
    assert [str(rrset) for rrset in made.answer] == ["details.shop. 30 IN A 10.0.0.1"]
    assert filled(ask("x.", "AAAA"), Found(("10.0.0.1",))).answer == []


def test_search_expansions_are_aliases() -> None:
    made = filled(ask("api.example.com.shop.", "A"), Found(("240.0.0.1",), "api.example.com."))
    assert made.answer[0].rdtype == dns.rdatatype.CNAME
    assert str(made.answer[1]) == "api.example.com. 30 IN A 240.0.0.1"


def test_long_answers_are_cut_for_udp_only() -> None:
    query = ask("many.", "A")
    made = filled(query, Found(tuple(f"10.0.{a}.{b}" for a in range(4) for b in range(50))))
    assert len(sized(made, query, tcp=True)) > 3000
    cut = dns.message.from_wire(sized(made, query, tcp=False))
    assert len(cut.to_wire()) <= 512
    assert cut.flags & dns.flags.TC


def test_resolv_conf() -> None:
    read = Resolvers("# c\nnameserver 10.0.0.10\nnameserver fd00::a\nsearch a b\noptions ndots:5\n")
    assert (read.servers, read.search) == (["10.0.0.10", "fd00::a"], ["a", "b"])
