"""The gRPC ports: plaintext xDS, and TLS for xDS and the certificate service.

Takes the hub, the authority and an authenticator; starts servers and says which ports they got. Not here: the services.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mizzen.api.errors import UsageError
from mizzen.istiod.ca.authenticate import Authenticator, Caller, Unauthenticated
from mizzen.istiod.ca.authority import Authority
from mizzen.istiod.ca.kubernetes_ra import KubernetesRa
from mizzen.istiod.ca.service import CertificateService
from mizzen.istiod.rpc.call import Method, Refused
from mizzen.istiod.rpc.server import GrpcServer, server_context
from mizzen.istiod.server.metrics import Metrics
from mizzen.istiod.server.options import ServerOptions, bind, flag
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.server import AdsService, Debug, Machines, ReadsSecrets
from mizzen.wire.grpc_status import Status

if TYPE_CHECKING:
    from mizzen.istiod.rpc.grpcio import GrpcioServer


class BoundPorts(NamedTuple):
    """The two ports, None for one that is not to be served."""

    plaintext: socket.socket | None
    secure: socket.socket | None


def bind_ports(options: ServerOptions) -> BoundPorts:
    """Take the ports before anything else is done. Raises UsageError when one is taken."""
    return BoundPorts(
        bind_grpc("grpc", options.grpc_addr) if options.grpc_addr else None,
        bind("secure_grpc", options.secure_grpc_addr) if options.secure_grpc_addr else None,
    )


def bind_grpc(name: str, address: str) -> socket.socket:
    """A socket on HOST:PORT, or a socket file: unix:PATH. What an earlier run left there is replaced."""
    if not address.startswith("unix:"):
        return bind(name, address)
    path = Path(address.removeprefix("unix:"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise UsageError(f"{flag(name)} {address}: {error.strerror}") from error
    listener.listen(1024)
    return listener


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
        ra: KubernetesRa | None = None,
        machines: Machines | None = None,
    ) -> None:
        self._ra, self._machines = ra, machines
        self._options, self._hub, self._authority, self._metrics = options, hub, authority, metrics
        self._debug = debug
        self._reads_secrets = reads_secrets
        self._servers: list[GrpcServer | GrpcioServer] = []
        self.authenticator = Authenticator(lambda: authority.trust_domain, tokens)
        self.ports: dict[str, int] = {}

    async def start(self, ports: BoundPorts, chain: bytes, key: bytes) -> None:
        if ports.plaintext is not None:
            methods = AdsService(self._hub, no_identity, self._debug, machines=self._machines).methods()
            if ports.secure is None:
                methods |= self._certificates()
            self.ports["grpc"] = await self._serve(methods).start(ports.plaintext)
        if ports.secure is not None:
            ads = AdsService(self._hub, self._identities, self._debug, self._reads_secrets, self._machines)
            server = self._serve({**ads.methods(), **self._certificates()})
            context = server_context(chain, key, self._authority.roots)
            self.ports["secure_grpc"] = await server.start(ports.secure, context)

    def use_certificate(self, chain: bytes, key: bytes) -> None:
        for server in self._servers:
            server.replace(chain, key, self._authority.roots)

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop()

    def _serve(self, methods: dict[str, Method]) -> GrpcServer | GrpcioServer:
        server: GrpcServer | GrpcioServer
        if self._options.grpc_server == "grpcio":
            from mizzen.istiod.rpc.grpcio import GrpcioServer  # 12 MB, for who asks for it

            server = GrpcioServer(methods)
        else:
            server = GrpcServer(methods)
        self._servers.append(server)
        return server

    def _certificates(self) -> dict[str, Method]:
        return CertificateService(self._authority, self.authenticator.identities, self._metrics.add, self._ra).methods()

    async def _identities(self, call: Caller) -> tuple[str, ...]:
        try:
            return await self.authenticator.identities(call)
        except Unauthenticated as error:
            raise Refused(Status.UNAUTHENTICATED, f"authentication failure: {error}") from error
