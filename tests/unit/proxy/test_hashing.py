"""Hash functions against published values, rings and tables against their promises."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mizzen.proxy.codec.headers import RequestHeaders
from mizzen.proxy.upstream.hashing import hash_policies, murmur2, request_hash, xxhash64
from mizzen.proxy.upstream.host import Host
from mizzen.proxy.upstream.ring_hash import Maglev, RingHash


@pytest.mark.parametrize(
    ("text", "seed", "value"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"abc", 0, 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
    ],
)
def test_xxhash64(text: bytes, seed: int, value: int) -> None:
    assert xxhash64(text, seed) == value


def test_murmur2_differs_by_every_byte() -> None:
    seen = {murmur2(b"key-" + bytes([i]) * n) for i in range(50) for n in range(1, 12)}
    assert len(seen) == 550


def hosts(count: int) -> list[Host]:
    return [Host((f"10.0.0.{i}", 80)) for i in range(1, count + 1)]


def stream(value: int | None) -> SimpleNamespace:
    return SimpleNamespace(lb_hash=value, lb_attempt=0)


@pytest.mark.parametrize("policy", [RingHash, Maglev])
def test_one_host_less_moves_only_its_keys(policy: type[RingHash] | type[Maglev]) -> None:
    many = hosts(5)
    before, after = policy(), policy()
    before.rebuild(many)
    after.rebuild(many[:-1])
    moved = kept = 0
    for i in range(400):
        key = stream(xxhash64(str(i).encode()))
        first, second = before.pick(key), after.pick(key)
        assert first is before.pick(key)
        if first is many[-1]:
            assert second is not many[-1]
        elif first is second:
            kept += 1
        else:
            moved += 1
    assert kept > 4 * moved  # fewer hosts have more points each


def test_another_attempt_is_another_host() -> None:
    ring = RingHash()
    ring.rebuild(hosts(3))
    picked = {ring.pick(SimpleNamespace(lb_hash=7, lb_attempt=i)) for i in range(40)}
    assert len(picked) == 3


def policies(*values: object) -> object:
    from envoy.config.route.v3 import route_components_pb2
    from google.protobuf.json_format import ParseDict

    return hash_policies([ParseDict(value, route_components_pb2.RouteAction.HashPolicy()) for value in values])


def test_terminal_policy_ends_the_list() -> None:
    one, two = {"header": {"header_name": "x-a"}}, {"header": {"header_name": "x-b"}}
    request = RequestHeaders("GET", "/", "h", {"x-a": "1", "x-b": "2"})
    only = SimpleNamespace(request=request)
    both = request_hash(policies(one, two), only)  # type: ignore[arg-type]
    assert request_hash(policies({**one, "terminal": True}, two), only) == request_hash(policies(one), only) != both  # type: ignore[arg-type]


def test_repeated_headers_hash_the_same_in_any_order() -> None:
    policy = policies({"header": {"header_name": "x-a"}})
    values = []
    for order in (["1", "2"], ["2", "1"]):
        request = RequestHeaders("GET", "/", "h")
        request.set_values("x-a", order)
        values.append(request_hash(policy, SimpleNamespace(request=request)))  # type: ignore[arg-type]
    assert values[0] == values[1]
