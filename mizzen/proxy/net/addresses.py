"""Socket addresses as text, as Envoy writes them."""

from __future__ import annotations

import socket
from typing import Any

Address = tuple[str, int]


def text_of(address: Address | None) -> str | None:
    """ "127.0.0.1:80", "[::1]:80" or a socket path; None for no address."""
    if address is None:
        return None
    host, port = address
    if port < 0:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def from_sockaddr(value: Any) -> Address:
    """What getpeername() or getsockname() gave, as host and port; a Unix socket has port -1."""
    if isinstance(value, tuple) and len(value) >= 2:
        host = value[0]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        return host, value[1]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return (value or "@", -1) if isinstance(value, str) else ("", 0)


SO_ORIGINAL_DST = 80
IP6T_SO_ORIGINAL_DST = 80
SOL_IPV6 = 41


def original_destination(sock: Any, family: int) -> Address | None:
    """Where a connection that iptables redirected was going; None when it was not redirected. Linux."""
    try:
        if family == socket.AF_INET:
            raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            return socket.inet_ntoa(raw[4:8]), int.from_bytes(raw[2:4], "big")
        raw = sock.getsockopt(SOL_IPV6, IP6T_SO_ORIGINAL_DST, 28)
        host = socket.inet_ntop(socket.AF_INET6, raw[8:24])
        return (host[7:] if host.startswith("::ffff:") and "." in host else host), int.from_bytes(raw[2:4], "big")
    except OSError:
        return None
