"""Protocols of service ports by appProtocol, name and number."""

from __future__ import annotations

import pytest

from mizzen.istiod.registry.protocol import Protocol, kubernetes_protocol


@pytest.mark.parametrize(
    ("port", "name", "transport", "app", "expected"),
    [
        (80, "http", "TCP", None, Protocol.HTTP),
        (80, "http-web", "TCP", None, Protocol.HTTP),
        (80, "HTTP2-x", "TCP", None, Protocol.HTTP2),
        (80, "grpc-web", "TCP", None, Protocol.GRPC_WEB),
        (80, "grpc-web-x", "TCP", None, Protocol.GRPC_WEB),
        (80, "grpc-x", "TCP", None, Protocol.GRPC),
        (80, "web", "TCP", None, Protocol.UNSUPPORTED),
        (80, "", "TCP", None, Protocol.UNSUPPORTED),
        (3306, "", "TCP", None, Protocol.TCP),
        (3306, "mysql", "TCP", None, Protocol.MYSQL),
        (53, "dns", "UDP", "http", Protocol.UDP),
        (80, "tcp", "TCP", "http", Protocol.HTTP),
        (80, "tcp", "TCP", "kubernetes.io/h2c", Protocol.HTTP2),
        (80, "tcp", "TCP", "kubernetes.io/ws", Protocol.HTTP),
        (80, "tcp", "TCP", "kubernetes.io/wss", Protocol.HTTPS),
        (80, "http", "TCP", "mine.example/x", Protocol.UNSUPPORTED),
    ],
)
def test_kubernetes_protocol(port: int, name: str, transport: str, app: str | None, expected: Protocol) -> None:
    assert kubernetes_protocol(port, name, transport, app) is expected
