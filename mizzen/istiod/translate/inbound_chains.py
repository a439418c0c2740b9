"""Which filter chains a sidecar's inbound port has: one row per kind of connection that the port's mTLS mode allows.

Takes the class of the port's protocol and its mTLS mode, gives rows. Facts only; listeners_inbound.py makes them chains.
"""

from __future__ import annotations

from typing import NamedTuple

from mizzen.istiod.registry.protocol import Protocol

ISTIO = ("istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2")
"""Every ALPN name that only mutual TLS of the mesh offers."""
ISTIO_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
ISTIO_TCP = ("istio-peer-exchange", "istio")
PLAIN_HTTP = ("http/1.1", "h2c")


class Row(NamedTuple):
    """transport: tls or raw_buffer; alpn: () = any; http: connection manager or TCP proxy; terminates: with mutual TLS."""

    transport: str
    alpn: tuple[str, ...]
    http: bool
    terminates: bool


HTTP, TCP, AUTO = "HTTP", "TCP", "AUTO"
ROWS: dict[tuple[str, str], tuple[Row, ...]] = {
    (HTTP, "STRICT"): (Row("tls", (), True, True),),
    (HTTP, "PERMISSIVE"): (Row("tls", ISTIO, True, True), Row("raw_buffer", (), True, False)),
    (HTTP, "DISABLE"): (Row("raw_buffer", (), True, False),),
    (TCP, "STRICT"): (Row("tls", (), False, True),),
    (TCP, "PERMISSIVE"): (
        Row("tls", ISTIO, False, True),
        Row("tls", (), False, False),
        Row("raw_buffer", (), False, False),
    ),
    (TCP, "DISABLE"): (Row("raw_buffer", (), False, False),),
    (AUTO, "STRICT"): (Row("tls", ISTIO_HTTP, True, True), Row("tls", (), False, True)),
    (AUTO, "PERMISSIVE"): (
        Row("tls", ISTIO_HTTP, True, True),
        Row("raw_buffer", PLAIN_HTTP, True, False),
        Row("tls", ISTIO_TCP, False, True),
        Row("raw_buffer", (), False, False),
        Row("tls", (), False, False),
    ),
    (AUTO, "DISABLE"): (Row("raw_buffer", PLAIN_HTTP, True, False), Row("raw_buffer", (), False, False)),
}


def rows(protocol: Protocol, mode: str) -> tuple[Row, ...]:
    """The rows of a port."""
    kind = HTTP if protocol.is_http else AUTO if protocol.is_unsupported else TCP
    return ROWS[kind, mode]
