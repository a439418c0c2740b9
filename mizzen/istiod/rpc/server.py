"""A gRPC port: listens, makes a connection of whatever comes, and lets go of peers that answer no more.

TLS, where there is a context, is the socket's own: a client certificate is asked for, never demanded, and a call knows
the URIs that it proves. Takes a bound socket and methods by path. Not here: HTTP/2 (h2.py), calls (call.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping, Sequence

from cryptography import x509

from mizzen.istiod.rpc.call import Method
from mizzen.istiod.rpc.connection import Connection
from mizzen.kube.kubeconfig import load_cert_chain

HANDSHAKE_TIMEOUT_S = 30.0
IDLE_S, PATIENCE_S, TICK_S = 30.0, 10.0, 5.0  # pings, as istiod's keepalive
HIGH_WATER = 64 << 10


class GrpcServer:
    """Started with `start`, ended with `stop`. methods: what is served, by path."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self.methods = methods
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._context: ssl.SSLContext | None = None

    async def start(self, listener: socket.socket, context: ssl.SSLContext | None = None) -> int:
        """Serve on a bound socket (TCP, or a socket file); its port, 0 for a socket file."""
        loop, self._context = asyncio.get_running_loop(), context

        def connection() -> Connection:
            return Connection(self.methods, self.connections, uris)

        if listener.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(connection, sock=listener)
        else:
            patience = HANDSHAKE_TIMEOUT_S if context is not None else None
            self._server = await loop.create_server(
                connection, sock=listener, ssl=context, ssl_handshake_timeout=patience
            )
        self._ticker = asyncio.create_task(self._tick(), name="gRPC keepalive")
        return 0 if listener.family == socket.AF_UNIX else int(listener.getsockname()[1])

    def replace(self, chain: bytes, key: bytes, roots: str) -> None:
        """Serve another certificate, and trust other client roots too, from the next handshake on."""
        if self._context is not None:
            use_certificate(self._context, chain, key, roots)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        tasks = [task for connection in list(self.connections) for task in connection.cancel()]
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.close()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            for connection in list(self.connections):
                connection.check(loop.time(), IDLE_S, PATIENCE_S)


def server_context(chain: bytes, key: bytes, roots: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, HTTP/2 only; client certificates that do not verify against the roots end the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    use_certificate(context, chain, key, roots)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["h2"])
    context.num_tickets = 1
    return context


def use_certificate(context: ssl.SSLContext, chain: bytes, key: bytes, roots: str) -> None:
    """Show this certificate and trust these roots too, from the next handshake on. chain, key, roots: PEM."""
    load_cert_chain(context, chain, key)
    context.load_verify_locations(cadata=roots)


def uris(transport: asyncio.BaseTransport) -> Sequence[str]:
    """The URI SANs of the certificate that the peer showed and TLS verified; () for none, and without TLS."""
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        return ()
    try:
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):
        return ()
    return tuple(names.value.get_values_for_type(x509.UniformResourceIdentifier))
