"""Extensions that a proxy can do without, and which proxies can run them.

A proxy that lists its extensions is only sent those of these that it lists; one that lists none is taken for Istio's own
Envoy. What enforces or routes is not among them: a proxy that lacks such a filter has to refuse the listener, by name.
The same filter has other names in Istio's builds and in Envoy's contrib build; any of them will do.
"""

from __future__ import annotations

from mizzen.istiod.node import Node

ALPN = ("istio.alpn", "envoy.filters.http.alpn")
STATS = ("istio.stats", "envoy.filters.http.istio_stats")
PEER_METADATA = ("istio.peer_metadata", "envoy.filters.http.peer_metadata")
GRPC_STATS = ("envoy.filters.http.grpc_stats",)
MONGO = ("envoy.filters.network.mongo_proxy",)
METADATA_EXCHANGE = ("istio.metadata_exchange", "envoy.filters.network.metadata_exchange")


def can_run(node: Node, names: tuple[str, ...]) -> bool:
    """Whether a proxy has the extension under one of these names."""
    return any(node.can_run(name) for name in names)


def mutual_alpn(node: Node, *more: str) -> list[str]:
    """ALPN names for mutual TLS: `istio-peer-exchange` first, unless the proxy does not speak metadata exchange."""
    return ["istio-peer-exchange", *more] if can_run(node, METADATA_EXCHANGE) else list(more)
