"""Delegates: which of a delegate's routes survive a root's match, and what they inherit."""

from __future__ import annotations

import pytest

from mizzen.api.istio.virtual_service import HTTPMatchRequest, StringMatch
from mizzen.istiod.snapshot.delegates import conflict
from tests.unit.istiod.translate.simulation import Call, Mesh, node, snapshot

TEXT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: shop}
spec:
  hosts: [root.test]
  http:
  - {name: r, match: [{uri: {prefix: /team}}], delegate: {name: team, namespace: team}, timeout: 5s}
  - {match: [{uri: {prefix: /hidden}}], delegate: {name: hidden, namespace: team}}
  - {match: [{uri: {prefix: /missing}}], delegate: {name: missing}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: team, namespace: team}
spec:
  http:
  - {name: a, match: [{uri: {prefix: /team/a}}], route: [{destination: {host: a}}], timeout: 1s}
  - {match: [{uri: {prefix: /elsewhere}}], directResponse: {status: 500}}
  - {route: [{destination: {host: b}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hidden, namespace: team}
spec: {exportTo: ["."], http: [{directResponse: {status: 500}}]}
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/team/a", "outbound|80||a.team.svc.cluster.local"),
        ("/team/b", "outbound|80||b.team.svc.cluster.local"),
        ("/elsewhere", "no route"),
        ("/hidden", "no route"),
        ("/missing", "no route"),
    ],
)
def test_requests(path: str, expected: str) -> None:
    assert Mesh(snapshot(TEXT), node()).get("80", Call("root.test", path)) == expected


def test_inheritance() -> None:
    mesh = Mesh(snapshot(TEXT), node())
    own, inherited = (mesh.route("80", Call("root.test", path)) for path in ("/team/a", "/team/b"))
    assert own is not None and inherited is not None
    assert (own.name, own.route.timeout.seconds) == ("r-a", 1)
    assert (inherited.name, inherited.route.timeout.seconds) == ("r", 5)


def uri(**match: str) -> HTTPMatchRequest:
    return HTTPMatchRequest(uri=StringMatch(**match))


@pytest.mark.parametrize(
    ("root", "leaf", "expected"),
    [
        (uri(prefix="/a"), uri(prefix="/a/b"), False),
        (uri(prefix="/a"), uri(exact="/a/b"), False),
        (uri(prefix="/a/b"), uri(prefix="/a"), True),
        (uri(prefix="/a"), uri(regex="/a.*"), True),
        (uri(exact="/a"), uri(exact="/a"), False),
        (uri(exact="/a"), uri(prefix="/a"), True),
        (uri(regex="/a"), HTTPMatchRequest(), False),
        (HTTPMatchRequest(port=80), HTTPMatchRequest(port=81), True),
        (HTTPMatchRequest(port=80), HTTPMatchRequest(), False),
        (HTTPMatchRequest(ignore_uri_case=True), HTTPMatchRequest(), True),
        (HTTPMatchRequest(source_labels={"a": "1"}), HTTPMatchRequest(source_labels={"a": "2"}), True),
        (HTTPMatchRequest(gateways=("x",)), HTTPMatchRequest(gateways=("y",)), True),
        (HTTPMatchRequest(gateways=("x", "y")), HTTPMatchRequest(gateways=("y",)), False),
    ],
)
def test_conflicts(root: HTTPMatchRequest, leaf: HTTPMatchRequest, expected: bool) -> None:
    assert conflict(root, leaf) is expected
