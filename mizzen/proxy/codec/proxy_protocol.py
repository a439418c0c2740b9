"""The PROXY protocol, versions 1 and 2: read from clients' connections, written to upstreams'.

Source: proxy-protocol.txt; envoy.extensions.filters.listener.proxy_protocol.v3, transport_sockets.proxy_protocol.v3.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

from mizzen.proxy.config.errors import Unsupported
from mizzen.proxy.net.addresses import Address
from mizzen.proxy.net.connection import Downstream

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_LIMIT = 107  # bytes with CRLF: proxy-protocol.txt, section 2.1
V1, V2 = 0, 1


class Broken(Exception):
    """No PROXY header, or a malformed one."""


class Header(NamedTuple):
    """Source and destination (None: LOCAL or UNKNOWN, the connection's own count), TLVs, length in bytes, version."""

    source: Address | None
    destination: Address | None
    tlvs: tuple[tuple[int, bytes], ...]
    size: int
    version: int


def read(data: bytes) -> Header | None:
    """The header at the head of a connection; None for "more". Raises Broken."""
    if data[:12] == SIGNATURE[: len(data[:12])]:
        return read_v2(data)
    if data[:6] == b"PROXY "[: len(data[:6])]:
        return read_v1(data)
    raise Broken


def read_v1(data: bytes) -> Header | None:
    end = data.find(b"\r\n")
    if end < 0:
        if len(data) >= V1_LIMIT:
            raise Broken
        return None
    if end + 2 > V1_LIMIT:
        raise Broken
    words = data[:end].decode("latin-1").split(" ")
    if len(words) >= 2 and words[1] == "UNKNOWN":
        return Header(None, None, (), end + 2, 1)
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise Broken
    version = 4 if words[1] == "TCP4" else 6
    try:
        hosts = [ipaddress.ip_address(text) for text in words[2:4]]
        ports = [int(text) for text in words[4:6]]
    except ValueError as error:
        raise Broken from error
    if any(host.version != version for host in hosts) or any(not 0 <= port <= 65535 for port in ports):
        raise Broken
    return Header((str(hosts[0]), ports[0]), (str(hosts[1]), ports[1]), (), end + 2, 1)


def read_v2(data: bytes) -> Header | None:
    if len(data) < 16:
        return None
    if data[12] >> 4 != 2 or data[12] & 15 > 1:
        raise Broken
    length = int.from_bytes(data[14:16], "big")
    size = 16 + length
    if len(data) < size:
        return None
    body = data[16:size]
    family = data[13] >> 4
    local = data[12] & 15 == 0
    width = {1: 4, 2: 16}.get(family, 0)
    if not local and family in (1, 2) and data[13] & 15 == 1:
        if len(body) < 2 * width + 4:
            raise Broken
        kind = socket.AF_INET if width == 4 else socket.AF_INET6
        hosts = [socket.inet_ntop(kind, body[i : i + width]) for i in (0, width)]
        ports = [int.from_bytes(body[2 * width + i : 2 * width + i + 2], "big") for i in (0, 2)]
        return Header((hosts[0], ports[0]), (hosts[1], ports[1]), tlvs_in(body[2 * width + 4 :]), size, 2)
    if not local and family not in (0, 3):
        raise Broken
    return Header(None, None, (), size, 2)


def tlvs_in(data: bytes) -> tuple[tuple[int, bytes], ...]:
    out = []
    at = 0
    while at + 3 <= len(data):
        length = int.from_bytes(data[at + 1 : at + 3], "big")
        if at + 3 + length > len(data):
            raise Broken
        out.append((data[at], data[at + 3 : at + 3 + length]))
        at += 3 + length
    return tuple(out)


class Rules:
    """What a listener does with PROXY headers."""

    def __init__(self, message: Any, server: Any) -> None:
        self.optional = message.allow_requests_without_proxy_protocol
        self.refused = frozenset(message.disallowed_versions)
        self.tags: dict[int, tuple[str, str]] = {}
        for rule in message.rules:
            pair = rule.on_tlv_present
            self.tags[rule.tlv_type] = (pair.metadata_namespace or "envoy.filters.listener.proxy_protocol", pair.key)
        if message.HasField("pass_through_tlvs"):
            raise Unsupported("ProxyProtocol.pass_through_tlvs")
        self.stats: Any = server.stats.group("proxy_proto", ["not_found_allowed", "not_found_disallowed"])
        self.versions: list[Any] = [
            server.stats.group(f"proxy_proto.versions.v{n}", ["allowed", "disallowed", "error", "found"])
            for n in (1, 2)
        ]

    def take(self, conn: Downstream, data: bytes) -> int | None:
        """Bytes that the header took; None for "more". Raises Refused."""
        from mizzen.proxy.listener.filters import Refused

        try:
            header = read(data)
        except Broken as error:
            if self.optional and not data.startswith((SIGNATURE, b"PROXY ")):
                self.stats.not_found_allowed += 1
                return 0
            self.stats.not_found_disallowed += 1
            raise Refused from error
        if header is None:
            return None
        version: Any = self.versions[header.version - 1]
        version.found += 1
        if header.version - 1 in self.refused:
            version.disallowed += 1
            raise Refused
        version.allowed += 1
        conn.proxy_header = header
        if header.source is not None and header.destination is not None:
            conn.remote, conn.local = header.source, header.destination
            conn.restored = True
        for kind, value in header.tlvs:
            if kind in self.tags:
                namespace, key = self.tags[kind]
                state = conn.filter_state = conn.filter_state or {}
                state.setdefault(f"metadata:{namespace}", {})[key] = value.decode("latin-1")
        return header.size


def writer(config: Any) -> Callable[[Any], bytes]:
    """A function from a client's connection to the header that an upstream is sent. `config`: ProxyProtocolConfig."""
    if config.HasField("pass_through_tlvs") or getattr(config, "added_tlvs", ()):
        raise Unsupported("ProxyProtocolConfig.pass_through_tlvs")
    return write_v2 if config.version == V2 else write_v1


def ends(conn: Any) -> tuple[Address, Address] | None:
    """Source and destination to tell; None where they are not a TCP pair of one family."""
    if conn is None:
        return None
    source, destination = (conn.remote, conn.local) if hasattr(conn, "remote") else conn
    if source[1] < 0 or destination[1] < 0 or (":" in source[0]) != (":" in destination[0]):
        return None
    return source, destination


def write_v1(conn: Any) -> bytes:
    pair = ends(conn)
    if pair is None:
        return b"PROXY UNKNOWN\r\n"
    (source, source_port), (destination, port) = pair
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {source_port} {port}\r\n".encode()


def write_v2(conn: Any) -> bytes:
    pair = ends(conn)
    if pair is None:
        return SIGNATURE + b"\x20\x00\x00\x00"
    v6 = ":" in pair[0][0]
    kind = socket.AF_INET6 if v6 else socket.AF_INET
    body = b"".join(socket.inet_pton(kind, address[0]) for address in pair)
    body += b"".join(address[1].to_bytes(2, "big") for address in pair)
    return SIGNATURE + bytes((0x21, 0x21 if v6 else 0x11)) + len(body).to_bytes(2, "big") + body


__all__ = ["Broken", "Header", "Rules", "read", "writer"]
