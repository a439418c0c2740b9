"""The TLS port: ends TLS, asks for a client certificate without demanding one, and relays to the plaintext gRPC server.

gRPC's Python server either demands a client certificate or does not ask; Istio's port 15012 takes callers with a
certificate and callers with a token alike. So TLS ends here, and each relayed connection's local address stands
for the certificate that was shown: `certificates` answers by the peer address that the gRPC server sees. Only
URIs of verified certificates are kept. The serving certificate can be replaced while connections go on. Not
here: what identities may do (ca/authenticate.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Sequence

from cryptography import x509

from mizzen.kube.kubeconfig import load_cert_chain

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
HANDSHAKE_TIMEOUT_S = 30.0


def server_context(chain: bytes, key: bytes, roots: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, HTTP/2 only; client certificates that do not verify against the roots end the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_cert_chain(context, chain, key)
    context.load_verify_locations(cadata=roots)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["h2"])
    context.num_tickets = 1
    return context


class TlsRelay:
    """Listens with TLS and relays to host:port inner. identities: by `ipv4:127.0.0.1:PORT` as gRPC writes a peer."""

    def __init__(self, inner_port: int) -> None:
        self._inner_port = inner_port
        self._server: asyncio.Server | None = None
        self._uris: dict[str, tuple[str, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None

    async def start(self, listener: socket.socket, context: ssl.SSLContext) -> int:
        """Listen on a bound socket; its port."""
        self._context = context
        self._server = await asyncio.start_server(
            self._accepted, sock=listener, ssl=context, limit=CHUNK, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
        )
        return int(listener.getsockname()[1])

    def replace(self, chain: bytes, key: bytes, roots: str) -> None:
        """Serve another certificate, and trust other client roots too, from the next handshake on."""
        if self._context is not None:
            load_cert_chain(self._context, chain, key)
            self._context.load_verify_locations(cadata=roots)

    def certificates(self, peer: str) -> Sequence[str]:
        """URI SANs of the verified client certificate behind a peer address; () for none."""
        return self._uris.get(peer, ())

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:
            log.debug("TLS relay: %s", error)
        finally:
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._inner_port, limit=CHUNK)
        host, port = inner_writer.get_extra_info("sockname")[:2]
        peer = f"ipv4:{host}:{port}"
        uris = peer_uris(writer.get_extra_info("ssl_object"))
        if uris:
            self._uris[peer] = uris
        try:
            await _both(pump(reader, inner_writer), pump(inner_reader, writer))
        finally:
            self._uris.pop(peer, None)
            inner_writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of input; reading waits while the other side does not take what is there."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _both(*directions: object) -> None:
    """Run both directions until one ends: TLS has no half-closed connections worth keeping."""
    tasks = [asyncio.ensure_future(direction) for direction in directions]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task


def peer_uris(tls: ssl.SSLObject | None) -> tuple[str, ...]:
    """The URI SANs of the certificate that the peer showed and TLS verified."""
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    if not der:
        return ()
    try:
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound):
        return ()
    return tuple(names.value.get_values_for_type(x509.UniformResourceIdentifier))


def https_context(chain: bytes, key: bytes) -> ssl.SSLContext:
    """TLS 1.2 or newer for the webhooks; clients are not asked for certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_cert_chain(context, chain, key)
    return context
