"""What is known about one downstream connection. Filled by the listener, read by everyone after it."""

from __future__ import annotations

import itertools
import time
from typing import Any

from mizzen.proxy.net.addresses import Address
from mizzen.proxy.net.der import Certificate, DerError, certificate

_ids = itertools.count(1)


class TlsInfo:
    """One side's view of an established TLS session."""

    __slots__ = ("alpn", "cipher", "local", "peer_der", "sni", "validated", "version")

    def __init__(self) -> None:
        self.alpn: str | None = None
        self.cipher: str | None = None
        self.version: str | None = None
        self.sni: str | None = None
        self.peer_der: bytes | None = None
        self.validated = False  # the peer's certificate was checked against a CA and, if asked for, its names
        self.local: Certificate | None = None

    @property
    def peer(self) -> Certificate | None:
        if self.peer_der is None:
            return None
        try:
            return certificate(self.peer_der)
        except DerError:
            return None


class Downstream:
    """Addresses, names and TLS facts of a client's connection."""

    __slots__ = (
        "alpn",
        "chain_name",
        "direct_remote",
        "filter_state",
        "id",
        "listener",
        "local",
        "metadata",
        "original_local",
        "proxy_header",
        "remote",
        "restored",
        "server_name",
        "start",
        "termination",
        "tls",
        "transport_failure",
        "transport_protocol",
    )

    def __init__(self, remote: Address, local: Address, listener: Any = None) -> None:
        self.id = next(_ids)
        self.remote = remote
        self.direct_remote = remote
        self.local = local
        self.original_local = local
        self.restored = False
        self.listener = listener
        self.chain_name: str | None = None
        self.server_name: str = ""
        self.transport_protocol = ""
        self.alpn: tuple[str, ...] = ()
        self.tls: TlsInfo | None = None
        self.start = time.monotonic()
        self.filter_state: dict[str, Any] | None = None
        self.metadata: dict[str, Any] | None = None  # what network filters wrote down, by namespace
        self.transport_failure: str | None = None
        self.termination: str | None = None
        self.proxy_header: Any = None  # the PROXY header that the client sent, for upstreams that are sent one

    def set_filter_state(self, key: str, value: Any) -> None:
        if self.filter_state is None:
            self.filter_state = {}
        self.filter_state[key] = value
