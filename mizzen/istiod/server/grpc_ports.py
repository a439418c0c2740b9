"""The gRPC ports: plaintext xDS, and TLS for xDS and the certificate service.

Takes the hub, the authority and an authenticator; starts servers and says which ports they got. Not here: the services.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, NamedTuple

import grpc

from mizzen.api.errors import UsageError
from mizzen.istiod.ca.authenticate import Authenticator, Unauthenticated
from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.ca.service import CertificateService
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.options import ServerOptions, bind, flag, split_address
from mizzen.istiod.server.tls import TlsRelay, server_context
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.server import AdsService, Debug, ReadsSecrets, Refused

log = logging.getLogger(__name__)

MAX_RECEIVE = 4 << 20  # ISTIO_GPRC_MAXRECVMSGSIZE
SETTINGS = (
    ("grpc.max_receive_message_length", MAX_RECEIVE),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_concurrent_streams", 100_000),
)


class BoundGrpc(NamedTuple):
    """A gRPC server that has its port and serves nothing yet."""

    server: Any
    port: int


class BoundPorts(NamedTuple):
    """The two ports, None for one that is not to be served."""

    plaintext: BoundGrpc | None
    secure: socket.socket | None


def bind_ports(options: ServerOptions) -> BoundPorts:
    """Take the ports before anything else is done. Raises UsageError when one is taken."""
    return BoundPorts(
        bind_grpc("grpc", options.grpc_addr) if options.grpc_addr else None,
        bind("secure_grpc", options.secure_grpc_addr) if options.secure_grpc_addr else None,
    )


def bind_grpc(name: str, address: str) -> BoundGrpc:
    """A server on HOST:PORT, or on a socket file: unix:PATH."""
    if not address.startswith("unix:"):
        host, port = split_address(address)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    server = grpc.aio.server(options=SETTINGS)
    try:
        return BoundGrpc(server, server.add_insecure_port(address))
    except RuntimeError as error:
        raise UsageError(f"{flag(name)} {address}: cannot listen there (is the port taken?)") from error


async def no_identity(_: Any) -> None:
    """The plaintext port asks for no identity, and gives no secrets."""


class GrpcPorts:
    """Started with `start`, ended with `stop`; serving certificates are replaced by `use_certificate`."""

    def __init__(
        self,
        options: ServerOptions,
        hub: Hub,
        authority: Authority,
        tokens: Any,
        metrics: Metrics,
        debug: Debug,
        reads_secrets: ReadsSecrets,
    ) -> None:
        self._options, self._hub, self._authority, self._metrics = options, hub, authority, metrics
        self._debug = debug
        self._tokens = tokens
        self._reads_secrets = reads_secrets
        self._servers: list[Any] = []
        self._relay: TlsRelay | None = None
        self.authenticator = Authenticator(lambda: authority.trust_domain, self._certificates, tokens)
        self.ports: dict[str, int] = {}

    async def start(self, ports: BoundPorts, chain: bytes, key: bytes) -> None:
        if ports.plaintext is not None:
            handlers = [AdsService(self._hub, no_identity, self._debug).handler()]
            if ports.secure is None:
                handlers.append(self._certificate_service())
            self.ports["grpc"] = await self._serve(ports.plaintext, handlers)
        if ports.secure is not None:
            ads = AdsService(self._hub, self._identities, self._debug, self._reads_secrets)
            inner = bind_grpc("secure_grpc", "127.0.0.1:0")
            self._relay = TlsRelay(await self._serve(inner, [ads.handler(), self._certificate_service()]))
            context = server_context(chain, key, self._authority.roots)
            self.ports["secure_grpc"] = await self._relay.start(ports.secure, context)

    def use_certificate(self, chain: bytes, key: bytes) -> None:
        if self._relay is not None:
            self._relay.replace(chain, key, self._authority.roots)

    async def stop(self) -> None:
        if self._relay is not None:
            await self._relay.stop()
        await asyncio.gather(*(server.stop(0.2) for server in self._servers))

    def _certificate_service(self) -> grpc.GenericRpcHandler:
        return CertificateService(self._authority, self.authenticator.identities, self._metrics.add).handler()

    def _certificates(self, peer: str) -> Any:
        return self._relay.certificates(peer) if self._relay is not None else ()

    async def _identities(self, context: Any) -> tuple[str, ...]:
        try:
            return await self.authenticator.identities(context)
        except Unauthenticated as error:
            raise Refused(grpc.StatusCode.UNAUTHENTICATED, f"authentication failure: {error}") from error

    async def _serve(self, bound: BoundGrpc, handlers: list[grpc.GenericRpcHandler]) -> int:
        bound.server.add_generic_rpc_handlers(tuple(handlers))
        await bound.server.start()
        self._servers.append(bound.server)
        return bound.port
