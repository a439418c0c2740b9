"""Fields that the installed message classes do not know travel, and are shown."""

from __future__ import annotations

from envoy.config.cluster.v3 import circuit_breaker_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import duration_pb2

from mizzen.wire.newer import newer_json, set_field


def test_message_field() -> None:
    budget = circuit_breaker_pb2.CircuitBreakers.Thresholds.RetryBudget()
    set_field(budget, "budget_interval", duration_pb2.Duration(seconds=10))
    assert newer_json(budget) == {"budget_interval": "10s"}


def test_boolean_field_inside() -> None:
    manager = hcm_pb2.HttpConnectionManager(stat_prefix="a")
    set_field(manager.tracing, "no_context_propagation")
    assert newer_json(manager) == {"stat_prefix": "a", "tracing": {"no_context_propagation": True}}
