"""The ADS service over gRPC: moves requests into connections and their responses out; decides nothing about resources.

Takes a hub and an authenticator; gives methods for gRPC servers (plaintext and TLS ports). What a stream needs when all
is well, acknowledgements and pushes, runs in callbacks; its task only wakes for the rest. Not here: subscription
rules, resources, credentials. Source: envoy.service.discovery.v3.AggregatedDiscoveryService.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from mizzen.api.errors import PeerError
from mizzen.istiod.node import Node, from_xds
from mizzen.istiod.rpc.call import Call, Method, Refused
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Request
from mizzen.istiod.xds.types import HEALTH, SDS, is_debug, short_name
from mizzen.wire.grpc_status import Status

log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"

Authenticate = Callable[[Call], Awaitable[tuple[str, ...] | None]]
"""From a call: the SPIFFE identities proven, () for none, None on a port without authentication."""
ReadsSecrets = Callable[[str | None], Awaitable[bool]]
"""Whether an identity may be served Secrets; a server that is given none serves none."""
Debug = Callable[[str, tuple[str, ...], tuple[str, ...] | None, bool], bytes]
"""(type URL, names, identities, delta) → one response, serialised. Raises Refused."""


class Machines(Protocol):
    """Who registers machines that come from outside the cluster, and keeps their health."""

    async def connected(self, connection: Connection) -> None: ...

    def disconnected(self, connection: Connection) -> None: ...

    def health(self, connection: Connection, error: str | None) -> None: ...


class AdsService:
    """StreamAggregatedResources and DeltaAggregatedResources on one hub."""

    def __init__(
        self,
        hub: Hub,
        authenticate: Authenticate,
        debug: Debug | None = None,
        reads_secrets: ReadsSecrets | None = None,
        machines: Machines | None = None,
    ) -> None:
        self.hub, self.debug, self.reads_secrets, self.machines = hub, debug, reads_secrets, machines
        self._authenticate = authenticate

    def methods(self) -> dict[str, Method]:
        """By path, for a gRPC server."""
        return {
            f"/{SERVICE}/StreamAggregatedResources": lambda call: self._serve(call, delta=False),
            f"/{SERVICE}/DeltaAggregatedResources": lambda call: self._serve(call, delta=True),
        }

    async def _serve(self, call: Call, delta: bool) -> None:
        try:
            await Stream(self, call, delta).run(await self._authenticate(call))
        except PeerError as error:
            raise Refused(Status.INVALID_ARGUMENT, str(error)) from error


class Stream:
    """One stream: a task that reads what takes time, and callbacks for everything else."""

    def __init__(self, service: AdsService, call: Call, delta: bool) -> None:
        self._service, self._call, self._delta = service, call, delta
        self._hub = service.hub
        self._parse = (discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest).FromString
        self._connection: Connection | None = None
        self._scheduled = False

    async def run(self, identities: tuple[str, ...] | None) -> None:
        first = await self._first()
        if first is None:
            return
        if not self._hub.ready:  # told after the request: grpcio takes an earlier end for an error of its own
            raise Refused(Status.UNAVAILABLE, "server is not ready to serve discovery information")
        if is_debug(first.type_url):  # a tool, which is no proxy: its node need not be one
            await self._debug_only(first, identities)
            return
        node = from_xds(first.node)
        identity = authorize(node, identities)
        connection = self._hub.connect(node, identity, self._call.peer, self._delta)
        self._connection = connection
        log.info("ADS: new %sconnection %s", "delta " if self._delta else "", connection.id)
        connection.wake, self._call.on_writable, self._call.quick = self._wake, self._pump, self._quick
        machines = self._service.machines
        try:
            if machines is not None:
                await machines.connected(connection)
            elif node.text("AUTO_REGISTER_GROUP"):
                raise PeerError("auto-registration needs a control plane with an API server")
            await self._follow(connection, first)
        finally:
            self._connection = None
            self._hub.disconnect(connection)
            if machines is not None:
                machines.disconnected(connection)
            log.info("ADS: connection %s terminated", connection.id)

    async def _first(self) -> Any:
        """The first request that is no health report; it must name the node. None when the client left before."""
        while (message := await self._read()) is not None:
            if message.type_url == HEALTH:
                continue
            if not message.node.id:
                raise PeerError("missing node information")
            return message
        return None

    async def _read(self) -> Any:
        raw = await self._call.read()
        if raw is None:
            return None
        try:
            return self._parse(raw)
        except DecodeError as error:
            raise PeerError(f"no discovery request: {error}") from error

    async def _follow(self, connection: Connection, message: Any) -> None:
        """Take requests in until the client has no more."""
        while message is not None:
            await self._ask_secrets(connection, message)
            self._take(connection, message)
            message = await self._read()

    async def _ask_secrets(self, connection: Connection, message: Any) -> None:
        """Before secrets are subscribed to: may the proxy have them?"""
        may = self._service.reads_secrets
        if message.type_url == SDS and not message.response_nonce and may is not None:
            self._hub.may_read_secrets(connection, await may(connection.identity))

    def _quick(self, raw: bytes) -> bool:
        """Take a message in that the task need not wake for; whether it was one."""
        connection = self._connection
        if connection is None:
            return False
        try:
            message = self._parse(raw)
        except DecodeError:
            return False
        if message.type_url == SDS or message.HasField("error_detail"):
            return False
        self._take(connection, message)
        return True

    def _take(self, connection: Connection, message: Any) -> None:
        if message.type_url == HEALTH:
            connection.health_error = message.error_detail.message if message.HasField("error_detail") else None
            if self._service.machines is not None:
                self._service.machines.health(connection, connection.health_error)
            return
        acknowledges = self._delta and _acknowledges(message)
        if acknowledges and connection.subscriptions.plain_ack(message.type_url, message.response_nonce):
            return
        request = to_request(message, self._delta)
        if request.error is not None:
            log.warning("ADS: %s %s NACK: %s", short_name(request.type_url), connection.id, request.error)
        connection.request(request)
        watch = connection.watches.get(request.type_url)
        if request.error is not None and watch is not None and watch.error is not None:
            self._hub.rejected(connection, watch)
        if self._hub.observer is not None:
            if request.error is not None:
                self._hub.observer.rejected(request.type_url, connection.node.name, request.error_code)
            while connection.subscriptions.expired:
                self._hub.observer.expired(connection.subscriptions.expired.popitem()[0])

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Send what there is, as far as the client takes it."""
        self._scheduled = False
        connection = self._connection
        if connection is None:
            return
        try:
            while self._call.writable() and (message := connection.next_message()) is not None:
                self._call.send(message)
        except Exception:  # our bug, in one stream: the others go on
            log.exception("ADS: pushing to %s", connection.id)
            self._call.finish(Status.INTERNAL, "internal error")

    async def _debug_only(self, first: Any, identities: tuple[str, ...] | None) -> None:
        """A stream of a debugging tool: each request is answered on its own, nothing is pushed."""
        message: Any = first
        debug = self._service.debug
        while message is not None:
            if is_debug(message.type_url) and not message.response_nonce and not message.HasField("error_detail"):
                if debug is None:
                    raise Refused(Status.UNIMPLEMENTED, "no debug generator")
                names = message.resource_names_subscribe if self._delta else message.resource_names
                self._call.send(debug(message.type_url, tuple(names), identities, self._delta))
            message = await self._read()


def _acknowledges(message: Any) -> bool:
    """Whether a DeltaDiscoveryRequest is an ACK and nothing else."""
    return bool(
        message.response_nonce
        and not message.resource_names_subscribe
        and not message.resource_names_unsubscribe
        and not message.HasField("error_detail")
    )


def to_request(message: Any, delta: bool) -> Request:
    """A DiscoveryRequest or DeltaDiscoveryRequest as our own value."""
    error = message.error_detail.message if message.HasField("error_detail") else None
    code = message.error_detail.code if error is not None else 0
    if not delta:
        return Request(
            type_url=message.type_url,
            nonce=message.response_nonce,
            error=error,
            error_code=code,
            names=tuple(message.resource_names),
        )
    return Request(
        type_url=message.type_url,
        nonce=message.response_nonce,
        error=error,
        error_code=code,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial=tuple(message.initial_resource_versions),
    )


def authorize(node: Node, identities: tuple[str, ...] | None) -> str | None:
    """The proven identity that fits the node's namespace and service account; None on a port without authentication.

    Raises Refused when none fits. Source: PILOT_ENABLE_XDS_IDENTITY_CHECK.
    """
    if identities is None:
        return None
    for identity in identities:
        parts = identity.removeprefix("spiffe://").split("/")
        if len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa":
            continue
        if parts[2] == node.namespace and node.service_account in ("", parts[4]):
            return identity
    raise Refused(
        Status.PERMISSION_DENIED,
        f"authorization failed: no identities ({', '.join(identities) or 'none'}) matched"
        f" {node.namespace}/{node.service_account}",
    )
