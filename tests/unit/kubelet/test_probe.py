"""Thresholds: how many outcomes in a row change a verdict."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from mizzen.runtime.kubelet.probe import ProbeState, ask
from mizzen.wire.varint import varint


@pytest.mark.parametrize(
    ("spec", "initial", "outcomes", "verdicts"),
    [
        ({}, False, "+", "+"),
        ({}, False, "--+", "--+"),
        ({}, True, "--", "++"),
        ({}, True, "---", "++-"),
        ({}, True, "--+--", "+++++"),
        ({}, True, "---+", "++-+"),
        ({"failureThreshold": 1}, True, "-+-", "-+-"),
        ({"successThreshold": 2}, False, "+-++", "---+"),
        ({"successThreshold": 2, "failureThreshold": 2}, False, "++-+--", "-++++-"),
    ],
)
def test_verdicts(spec: dict[str, Any], initial: bool, outcomes: str, verdicts: str) -> None:
    state, found = ProbeState(spec, initial), ""
    for outcome in outcomes:
        state.record(outcome == "+")
        found += "+" if state.passing else "-"
    assert found == verdicts


def test_a_reached_threshold_is_told_each_time() -> None:
    state = ProbeState({"failureThreshold": 2}, True)
    assert [state.record(False) for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("service", ["", "shop.Cart", "s" * 127, "s" * 128, "s" * 20_000])
async def test_grpc_probes_ask_for_services_of_any_length(service: str) -> None:
    """A health server that knows one service; its answer is SERVING (1) for that alone."""
    asked = b"\x0a" + varint(len(service)) + service.encode() if service else b""

    async def check(request: bytes, context: Any) -> bytes:
        return b"\x08\x01" if request == asked else b"\x08\x02"

    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        spec = {"grpc": {"port": port, "service": service}, "timeoutSeconds": 5}
        outcome = await ask(spec, {}, "", "127.0.0.1", None)  # type: ignore[arg-type]
        assert outcome.ok, outcome.text
        wrong = await ask({**spec, "grpc": {"port": port, "service": "other"}}, {}, "", "127.0.0.1", None)  # type: ignore[arg-type]
        assert not wrong.ok
    finally:
        await server.stop(None)
