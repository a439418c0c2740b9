"""Listener filters: what is learnt about a connection before its filter chain is chosen.

Each looks at the connection (`on_accept`) or at its first bytes (`on_data`: None for more, else how many bytes it took).
Source: envoy.extensions.filters.listener.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mizzen.proxy.codec.h1_head import METHODS
from mizzen.proxy.codec.tls_hello import NotTls, client_hello
from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import unpack
from mizzen.proxy.filters.network import PREFACE
from mizzen.proxy.net.addresses import original_destination
from mizzen.proxy.net.connection import Downstream

LISTENER = "envoy.extensions.filters.listener."
MAX_REQUEST_LINE = 64 * 1024


class Refused(Exception):
    """The connection must be closed."""


class ListenerFilter:
    reads = False  # whether on_data is needed
    disabled: Callable[[Downstream], bool] | None = None

    def on_accept(self, conn: Downstream, sock: Any) -> None:
        """Look at the connection as it was accepted."""

    def on_data(self, conn: Downstream, data: bytes) -> int | None:
        return 0


class OriginalDst(ListenerFilter):
    """The destination from before iptables redirected the connection."""

    def on_accept(self, conn: Downstream, sock: Any) -> None:
        if sock is None:
            return
        found = original_destination(sock, sock.family)
        if found is not None and found != conn.local:
            conn.local = found
            conn.restored = True
        elif found is not None:
            conn.restored = True


class TlsInspector(ListenerFilter):
    """Whether a connection begins with TLS, its server name and ALPN protocols."""

    reads = True

    def __init__(self, stats: Any) -> None:
        self.stats = stats

    def on_data(self, conn: Downstream, data: bytes) -> int | None:
        try:
            hello = client_hello(data)
        except NotTls:
            self.stats.tls_not_found += 1
            return 0
        if hello is None:
            return None
        self.stats.tls_found += 1
        conn.transport_protocol = "tls"
        conn.server_name = hello.server_name
        conn.alpn = hello.alpn
        if hello.server_name:
            self.stats.sni_found += 1
        else:
            self.stats.sni_not_found += 1
        if hello.alpn:
            self.stats.alpn_found += 1
        else:
            self.stats.alpn_not_found += 1
        return 0


class HttpInspector(ListenerFilter):
    """Whether a plaintext connection begins with HTTP, as an application protocol for matching."""

    reads = True

    def __init__(self, stats: Any) -> None:
        self.stats = stats

    def on_data(self, conn: Downstream, data: bytes) -> int | None:
        if conn.transport_protocol == "tls":
            return 0
        if data[:3] == b"PRI" and PREFACE.startswith(data[: len(PREFACE)]):
            if len(data) < len(PREFACE):
                return None
            self.stats.http2_found += 1
            conn.alpn = ("h2c",)
            return 0
        end = data.find(b"\n")
        word = data.split(b" ", 1)[0]
        if len(word) > 20 or not all(65 <= c <= 90 or c == 45 for c in word.strip(b"\r\n")):
            self.stats.http_not_found += 1
            return 0
        if end < 0:
            return None if len(data) < MAX_REQUEST_LINE else 0
        line = data[:end].rstrip(b"\r").decode("latin-1")
        method, _, rest = line.partition(" ")
        version = rest.rpartition(" ")[2]
        if method not in METHODS or version not in ("HTTP/1.0", "HTTP/1.1"):
            self.stats.http_not_found += 1
            return 0
        if version == "HTTP/1.1":
            self.stats.http11_found += 1
        else:
            self.stats.http10_found += 1
        conn.alpn = (version.lower(),)
        return 0


class ProxyProtocol(ListenerFilter):
    """The PROXY header, versions 1 and 2: the client's address from before a load balancer."""

    reads = True

    def __init__(self, message: Any, server: Any) -> None:
        from mizzen.proxy.codec.proxy_protocol import Rules

        self.rules = Rules(message, server)

    def on_data(self, conn: Downstream, data: bytes) -> int | None:
        return self.rules.take(conn, data)


TLS_STATS = [
    "alpn_found",
    "alpn_not_found",
    "client_hello_too_large",
    "connection_closed",
    "read_error",
    "sni_found",
    "sni_not_found",
    "tls_found",
    "tls_not_found",
]
HTTP_STATS = ["http10_found", "http11_found", "http2_found", "http_not_found", "read_error"]


def listener_filter(message: Any, server: Any) -> ListenerFilter:
    """The filter of an envoy.config.listener.v3.ListenerFilter."""
    kind = message.typed_config.type_url.rpartition("/")[2] or {
        "envoy.filters.listener.tls_inspector": f"{LISTENER}tls_inspector.v3.TlsInspector",
        "envoy.filters.listener.http_inspector": f"{LISTENER}http_inspector.v3.HttpInspector",
        "envoy.filters.listener.original_dst": f"{LISTENER}original_dst.v3.OriginalDst",
    }.get(message.name, "")
    made: ListenerFilter
    if kind == f"{LISTENER}tls_inspector.v3.TlsInspector":
        made = TlsInspector(server.stats.group("tls_inspector", TLS_STATS))
    elif kind == f"{LISTENER}http_inspector.v3.HttpInspector":
        made = HttpInspector(server.stats.group("http_inspector", HTTP_STATS))
    elif kind == f"{LISTENER}original_dst.v3.OriginalDst":
        made = OriginalDst()
    elif kind == f"{LISTENER}proxy_protocol.v3.ProxyProtocol":
        from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2

        made = ProxyProtocol(unpack(message.typed_config, proxy_protocol_pb2.ProxyProtocol, message.name), server)
    else:
        raise ConfigError(f"Didn't find a registered implementation for '{message.name}' with type URL: '{kind}'")
    if message.HasField("filter_disabled"):
        made.disabled = predicate(message.filter_disabled)
    return made


def predicate(message: Any) -> Callable[[Downstream], bool]:
    """A ListenerFilterChainMatchPredicate."""
    kind = message.WhichOneof("rule")
    if kind == "any_match":
        return lambda conn: True
    if kind == "destination_port_range":
        low, high = message.destination_port_range.start, message.destination_port_range.end
        return lambda conn: low <= conn.local[1] < high
    if kind == "not_match":
        inner = predicate(message.not_match)
        return lambda conn: not inner(conn)
    if kind in ("or_match", "and_match"):
        tests = [predicate(rule) for rule in getattr(message, kind).rules]
        if kind == "or_match":
            return lambda conn: any(test(conn) for test in tests)
        return lambda conn: all(test(conn) for test in tests)
    raise Unsupported(f"ListenerFilterChainMatchPredicate.{kind}")
