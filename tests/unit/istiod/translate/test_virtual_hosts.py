"""What is built once and shared equals what would be built anew; who gets a domain that several hosts want."""

from __future__ import annotations

import pytest

from mizzen.istiod.generations import Generations
from mizzen.istiod.translate import virtual_hosts
from mizzen.istiod.translate.routes import route_configuration
from mizzen.istiod.translate.virtual_host_domains import short_names, unclaimed
from tests.unit.istiod.translate.simulation import node, snapshot
from tests.unit.istiod.translate.test_sidecar_routes import RULES, SERVICES

CLASH = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: clash, namespace: shop}
spec: {hosts: [ratings.shop, other.test], http: [{directResponse: {status: 418}}]}
"""


@pytest.mark.parametrize("namespace", ["shop", "other", "third"])
@pytest.mark.parametrize("text", [SERVICES, SERVICES + RULES, SERVICES + RULES + CLASH])
def test_shared_hosts_equal_new_ones(monkeypatch: pytest.MonkeyPatch, text: str, namespace: str) -> None:
    names = ("80", "9080", "http_proxy")
    snap, proxy = snapshot(text.rstrip("-\n")), node(namespace)
    shared = [route_configuration(snap, proxy, name) for name in names]
    original = virtual_hosts._Base.__init__

    def undecided(self: virtual_hosts._Base, *given: object) -> None:
        original(self, *given)  # type: ignore[arg-type]
        self.owners = None

    monkeypatch.setattr(virtual_hosts._Base, "__init__", undecided)
    monkeypatch.setattr(virtual_hosts, "_bases", Generations(8))
    assert [route_configuration(snap, proxy, name) for name in names] == shared


@pytest.mark.parametrize(
    ("host", "domain", "expected"),
    [
        ("a.ns.svc.cluster.local", "ns.svc.cluster.local", ("a", "a.ns.svc", "a.ns")),
        ("a.ns.svc.cluster.local", "other.svc.cluster.local", ("a.ns", "a.ns.svc")),
        ("a.ns.svc.cluster.local", "vm.example.com", ()),
        ("example.com", "ns.svc.cluster.local", ()),
        ("a.svc.cluster.local", "ns.svc.cluster.local", ()),
    ],
)
def test_short_names(host: str, domain: str, expected: tuple[str, ...]) -> None:
    assert short_names(host, domain) == expected


def test_a_domain_is_given_once_and_short_forms_yield_to_full_names() -> None:
    claimed: set[str] = set()
    assert unclaimed(["A", "b"], claimed, (), ()) == ["A", "b"]
    assert unclaimed(["a", "c"], claimed, (), ()) == ["c"]
    assert unclaimed(["x.y", "x"], claimed, {"x.y", "x"}, {"x.y"}) == ["x"]
