"""The ADS service over gRPC: moves requests into connections and their responses out; decides nothing about resources.

Takes a hub and an authenticator; gives the generic handler for grpc.aio servers, which may be added to several
(plaintext and TLS ports). Not here: subscription rules, resources, credentials. Source:
envoy.service.discovery.v3.AggregatedDiscoveryService.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2

from mizzen.api.errors import PeerError
from mizzen.istiod.node import Node, from_xds
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.hub import Hub
from mizzen.istiod.xds.subscription import Request
from mizzen.istiod.xds.types import HEALTH, SDS, is_debug, short_name

log = logging.getLogger(__name__)

# gRPC copies what it is given until the peer takes it: large responses take turns, so that not every proxy's is held at
# once.
LARGE, LARGE_AT_ONCE, TURN_S = 256 << 10, 16, 1.0
SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
END = grpc.aio.EOF


class Refused(Exception):
    """The stream is ended with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


Authenticate = Callable[[Any], Awaitable[tuple[str, ...] | None]]
"""From a grpc.aio context: the SPIFFE identities proven, () for none, None on a port without authentication."""
ReadsSecrets = Callable[[str | None], Awaitable[bool]]
"""Whether an identity may be served Secrets; a server that is given none serves none."""
Debug = Callable[[str, tuple[str, ...], tuple[str, ...] | None, bool], bytes]
"""(type URL, names, identities, delta) → one response, serialised. Raises Refused."""


class AdsService:
    """StreamAggregatedResources and DeltaAggregatedResources on one hub."""

    def __init__(
        self,
        hub: Hub,
        authenticate: Authenticate,
        debug: Debug | None = None,
        reads_secrets: ReadsSecrets | None = None,
    ) -> None:
        self._hub, self._authenticate, self._debug = hub, authenticate, debug
        self._reads_secrets = reads_secrets
        self._turns = asyncio.Semaphore(LARGE_AT_ONCE)

    def handler(self) -> grpc.GenericRpcHandler:
        """What a grpc.aio server is given. Responses are bytes already."""
        whole = grpc.stream_stream_rpc_method_handler(
            self._whole, request_deserializer=discovery_pb2.DiscoveryRequest.FromString
        )
        delta = grpc.stream_stream_rpc_method_handler(
            self._delta, request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString
        )
        methods = {"StreamAggregatedResources": whole, "DeltaAggregatedResources": delta}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def _whole(self, _: Any, context: Any) -> None:
        await self._serve(context, delta=False)

    async def _delta(self, _: Any, context: Any) -> None:
        await self._serve(context, delta=True)

    async def _serve(self, context: Any, delta: bool) -> None:
        try:
            stream = Stream(self._hub, context, delta, self._debug, self._reads_secrets, self._turns)
            await stream.run(await self._authenticate(context))
        except Refused as refused:
            await context.abort(refused.code, refused.details)
        except PeerError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


class Stream:
    """One stream's two directions: a task that reads, and the writer, which is the RPC's own."""

    def __init__(
        self,
        hub: Hub,
        context: Any,
        delta: bool,
        debug: Debug | None,
        reads_secrets: ReadsSecrets | None,
        turns: asyncio.Semaphore,
    ) -> None:
        self._turns = turns
        self._hub, self._context, self._delta, self._debug = hub, context, delta, debug
        self._reads_secrets = reads_secrets
        self._wake = asyncio.Event()
        self._ended = False
        self._debug_answers: list[bytes] = []

    async def run(self, identities: tuple[str, ...] | None) -> None:
        if not self._hub.ready:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "server is not ready to serve discovery information")
        first = await self._first()
        if first is None:
            return
        if is_debug(first.type_url):  # a tool, which is no proxy: its node need not be one
            await self._debug_only(first, identities)
            return
        node = from_xds(first.node)
        identity = authorize(node, identities)
        connection = self._hub.connect(node, identity, self._context.peer(), self._delta)
        connection.wake = self._wake.set
        log.info("ADS: new %sconnection %s", "delta " if self._delta else "", connection.id)
        await self._ask_secrets(connection, first)
        self._take(connection, first)
        reader = asyncio.create_task(self._read(connection), name=f"ads reader {connection.id}")
        try:
            await self._write(connection)
            await reader  # ended: its error is ours
        finally:
            reader.cancel()
            self._hub.disconnect(connection)
            log.info("ADS: connection %s terminated", connection.id)

    async def _first(self) -> Any:
        """The first request that is no health report; it must name the node. None when the client left before."""
        while (message := await self._context.read()) is not END:
            if message.type_url == HEALTH:
                continue
            if not message.node.id:
                raise PeerError("missing node information")
            return message
        return None

    async def _read(self, connection: Connection) -> None:
        try:
            while (message := await self._context.read()) is not END:
                await self._ask_secrets(connection, message)
                self._take(connection, message)
        finally:
            self._ended = True
            self._wake.set()

    async def _ask_secrets(self, connection: Connection, message: Any) -> None:
        """Before secrets are subscribed to: may the proxy have them?"""
        if message.type_url == SDS and not message.response_nonce and self._reads_secrets is not None:
            self._hub.may_read_secrets(connection, await self._reads_secrets(connection.identity))

    def _take(self, connection: Connection, message: Any) -> None:
        if message.type_url == HEALTH:
            connection.health_error = message.error_detail.message if message.HasField("error_detail") else None
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

    async def _write(self, connection: Connection) -> None:
        while not self._ended:
            self._wake.clear()
            while not self._ended and (message := connection.next_message()) is not None:
                if len(message) < LARGE:
                    await self._context.write(message)
                else:
                    await self._write_large(message)
            await self._wake.wait()

    async def _write_large(self, message: bytes) -> None:
        """Write in turn; a proxy that does not read gives its turn up after TURN_S and holds only itself back."""
        async with self._turns:
            writing = asyncio.ensure_future(self._context.write(message))
            try:
                await asyncio.wait([writing], timeout=TURN_S)
            except asyncio.CancelledError:
                writing.cancel()
                raise
        await writing

    async def _debug_only(self, first: Any, identities: tuple[str, ...] | None) -> None:
        """A stream of a debugging tool: each request is answered on its own, nothing is pushed."""
        message: Any = first
        while message is not END and message is not None:
            if is_debug(message.type_url) and not message.response_nonce and not message.HasField("error_detail"):
                if self._debug is None:
                    raise Refused(grpc.StatusCode.UNIMPLEMENTED, "no debug generator")
                names = message.resource_names_subscribe if self._delta else message.resource_names
                await self._context.write(self._debug(message.type_url, tuple(names), identities, self._delta))
            message = await self._context.read()


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
        grpc.StatusCode.PERMISSION_DENIED,
        f"authorization failed: no identities ({', '.join(identities) or 'none'}) matched"
        f" {node.namespace}/{node.service_account}",
    )
