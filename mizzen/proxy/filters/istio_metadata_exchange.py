"""istio.metadata_exchange: peers tell each other who they are, by headers over HTTP and by a prefix over TCP.

`MetadataExchange` is the HTTP filter, `TcpExchange` the network filter for clients' connections and `UpstreamExchange` the one
on a cluster's connections. Takes the TypedStruct configurations that Istio sends. Not here: the values (istio_peer.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.proxy.codec.headers import RequestHeaders, ResponseHeaders
from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.filters.base import HttpFilter
from mizzen.proxy.filters.istio_peer import (
    DOWNSTREAM,
    HEADER,
    HEADER_ID,
    NO_PEER,
    UPSTREAM,
    decoded,
    encoded,
    exchange_prefix,
    own_struct,
    read_exchange,
    workload_peer,
)
from mizzen.proxy.filters.network import NetworkFilter
from mizzen.proxy.net.connection import Downstream

if TYPE_CHECKING:
    from mizzen.proxy.http.stream import Stream

FIELDS = {
    "additional_labels", "downstream_discovery", "downstream_propagation", "upstream_discovery", "upstream_propagation",
}  # fmt: skip
METHODS = {"istio_headers", "workload_discovery", "baggage", "upstream_filter_state"}


def methods(config: dict[str, Any], key: str) -> dict[str, Any]:
    """The discovery or propagation methods under a key. Raises Unsupported for an unknown one."""
    out: dict[str, Any] = {}
    for name in config:
        if name not in FIELDS:
            raise Unsupported(f"io.istio.http.peer_metadata.Config.{name}")
    for each in config.get(key) or []:
        for name, value in each.items():
            if name not in METHODS:
                raise Unsupported(f"io.istio.http.peer_metadata.Config.{key}.{name}")
            out[name] = value or {}
    return out


class MetadataExchange(HttpFilter):
    decodes = encodes = True

    def __init__(self, config: dict[str, Any], server: Any) -> None:
        self.from_client = "istio_headers" in methods(config, "downstream_discovery")
        self.to_client = "istio_headers" in methods(config, "downstream_propagation")
        self.from_upstream = "istio_headers" in methods(config, "upstream_discovery")
        propagation = methods(config, "upstream_propagation")
        self.to_upstream = "istio_headers" in propagation
        self.skip_external = bool(propagation.get("istio_headers", {}).get("skip_external_clusters"))
        additional = tuple(config.get("additional_labels") or ())
        self.value = encoded(own_struct(server.node, additional))
        self.node_id: str = server.node.id

    def request_headers(self, stream: Stream, headers: RequestHeaders, end: bool) -> bool:
        d = headers.d
        if self.from_client:
            text = d.pop(HEADER, None)
            node_id = d.pop(HEADER_ID, None)
            if text is not None:
                peer = decoded(text)
                if peer is not None:
                    stream.set_filter_state(DOWNSTREAM, peer)
            if self.to_client and (text is not None or node_id is not None):
                if stream.state is None:
                    stream.state = {}
                stream.state[self] = (text is not None, node_id is not None)
        if self.to_upstream and not (self.skip_external and is_external(stream)):
            d[HEADER_ID] = self.node_id
            d[HEADER] = self.value
        return True

    def response_headers(self, stream: Stream, headers: ResponseHeaders, end: bool) -> bool:
        d = headers.d
        if self.from_upstream:
            text = d.pop(HEADER, None)
            d.pop(HEADER_ID, None)
            peer = decoded(text) if text is not None else None
            if peer is None and stream.host is not None:
                peer = workload_peer(stream.host.metadata)
            if peer is not None:
                stream.set_filter_state(UPSTREAM, peer)
        asked = stream.state.get(self) if stream.state is not None else None
        if asked is not None:
            if asked[1]:
                d[HEADER_ID] = self.node_id
            if asked[0]:
                d[HEADER] = self.value
        return True


def is_external(stream: Stream) -> bool:
    """Whether the request leaves the mesh."""
    cluster = stream.cluster
    if cluster is None or cluster.metadata is None:
        return cluster is not None and cluster.name == "PassthroughCluster"
    return bool((cluster.metadata.get("istio") or {}).get("external")) or cluster.name == "PassthroughCluster"


class Exchanging:
    """Stands before a protocol, takes the peer's prefix off, sends ours first; then steps out of the way."""

    __slots__ = ("buffer", "found", "inner", "prefix", "transport")

    def __init__(self, inner: Any, prefix: bytes, found: Any) -> None:
        self.inner = inner
        self.prefix = prefix
        self.found = found  # called with the Peer or None
        self.buffer = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.prefix)
        self.inner.connection_made(transport)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.inner.connect_failed(reason, text)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        read = read_exchange(self.buffer)
        if read is None:
            return
        peer, length = read
        if length < 0:
            self.transport.close()
            return
        self.found(peer)
        rest, self.buffer = self.buffer[length:], b""
        transport, inner = self.transport, self.inner
        transport.set_protocol(inner)
        if rest:
            inner.data_received(rest)

    def eof_received(self) -> bool:
        return bool(self.inner.eof_received())

    def connection_lost(self, error: BaseException | None) -> None:
        inner, self.inner = self.inner, None
        self.transport = self.found = None
        inner.connection_lost(error)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


class TcpExchange(NetworkFilter):
    """On accepted connections."""

    def __init__(self, protocol: str, server: Any) -> None:
        self.alpn = protocol
        self.prefix = exchange_prefix(own_struct(server.node), server.node.id)
        self.stats: Any = server.stats.group(
            "metadata_exchange",
            [
                "alpn_protocol_found",
                "alpn_protocol_not_found",
                "header_not_found",
                "initial_header_not_found",
                "metadata_added",
            ],
        )

    def wrap(self, conn: Downstream, inner: Any) -> Any:
        if conn.tls is None or conn.tls.alpn != self.alpn:
            self.stats.alpn_protocol_not_found += 1
            conn.set_filter_state(NO_PEER, "")
            return inner
        self.stats.alpn_protocol_found += 1

        def found(peer: Any) -> None:
            if peer is not None:
                self.stats.metadata_added += 1
            conn.set_filter_state(DOWNSTREAM if peer is not None else NO_PEER, peer or "")

        return Exchanging(inner, self.prefix, found)


class UpstreamExchange:
    """On a cluster's connections. The ALPN is known only once the connection is there, so a small protocol decides then."""

    def __init__(self, protocol: str, server: Any) -> None:
        self.alpn = protocol
        self.prefix = exchange_prefix(own_struct(server.node), server.node.id)

    def wrap(self, session: Any, inner: Any) -> Any:
        return _Deciding(self, session, inner)


class _Deciding:
    __slots__ = ("exchange", "inner", "session")

    def __init__(self, exchange: UpstreamExchange, session: Any, inner: Any) -> None:
        self.exchange = exchange
        self.session = session  # None where the connection is of a pool
        self.inner = inner

    def connection_made(self, transport: Any) -> None:
        exchange, session, inner = self.exchange, self.session, self.inner
        self.session = self.inner = None
        tls = getattr(transport, "tls_info", None)
        if tls is None or tls.alpn != exchange.alpn:
            if session is not None:
                session.set_filter_state(NO_PEER, "")
            transport.set_protocol(inner)
            inner.connection_made(transport)
            return

        def found(peer: Any) -> None:
            if session is not None:
                session.set_filter_state(UPSTREAM if peer is not None else NO_PEER, peer or "")

        wrapper = Exchanging(inner, exchange.prefix, found)
        transport.set_protocol(wrapper)
        wrapper.connection_made(transport)

    def connect_failed(self, reason: str, text: str | None) -> None:
        self.inner.connect_failed(reason, text)

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        if self.inner is not None:
            self.inner.connection_lost(error)

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


def http_filter(config: Any, server: Any, hcm: Any) -> MetadataExchange:
    return MetadataExchange(config if isinstance(config, dict) else {}, server)


def network_filter(config: Any, server: Any, listener: Any) -> TcpExchange:
    return TcpExchange(config.get("protocol", "istio-peer-exchange"), server)


def upstream_filter(config: Any, server: Any) -> UpstreamExchange:
    return UpstreamExchange(config.get("protocol", "istio-peer-exchange"), server)
