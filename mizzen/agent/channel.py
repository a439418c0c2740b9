"""gRPC channels to the control plane and servers on Unix sockets, with messages as bytes.

grpc.aio costs 12 MB of memory; it is imported here and nowhere else. Not here: what is said over them.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from mizzen.agent.trust import Files
from mizzen.api.errors import PeerError, UsageError

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
Handler = Callable[[AsyncIterator[bytes], Any], AsyncIterator[bytes]]
Metadata = tuple[tuple[str, str], ...]


def identity(data: bytes) -> bytes:
    return data


class Target:
    """One control plane address: opens a channel, and another when the root file's content has changed."""

    def __init__(
        self, address: str, root: Path, *, plaintext: bool, server_name: str = "", client: Files | None = None
    ) -> None:
        self.address, self.root, self.plaintext = address, root, plaintext
        self._server_name, self._client = server_name, client
        self._channel: Any = None
        self._material: tuple[bytes | None, ...] = ()

    def channel(self) -> Any:
        """Raises UsageError when a file that TLS needs is missing."""
        material = self._read()
        if self._channel is None or material != self._material:
            self._channel, self._material = self._open(material), material
        return self._channel

    def _read(self) -> tuple[bytes | None, ...]:
        if self.plaintext:
            return (None, None, None)
        try:
            client = self._client
            shown = (client.key.read_bytes(), client.chain.read_bytes()) if client else (None, None)
            return (self.root.read_bytes(), *shown)
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror} (needed to reach {self.address})") from error

    def _open(self, material: tuple[bytes | None, ...]) -> Any:
        if self.plaintext:
            return grpc.aio.insecure_channel(self.address, OPTIONS)
        named = [("grpc.ssl_target_name_override", self._server_name)] if self._server_name else []
        credentials = grpc.ssl_channel_credentials(*material)
        return grpc.aio.secure_channel(self.address, credentials, [*OPTIONS, *named])

    async def renew(self) -> None:
        """Drops the connection; the next call makes a new one."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def unary(self, method: str, request: bytes, metadata: Metadata, timeout_s: float) -> bytes:
        """One call. Raises PeerError with the status' name."""
        call = self.channel().unary_unary(method, request_serializer=identity, response_deserializer=identity)
        try:
            answer: bytes = await call(request, metadata=metadata, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise CallFailed(error.code().name, f"{self.address}: {error.code().name}: {error.details()}") from error
        return answer

    def stream(self, method: str, metadata: Metadata) -> Any:
        """A bidirectional stream with read(), write(), done_writing() and cancel()."""
        call = self.channel().stream_stream(method, request_serializer=identity, response_deserializer=identity)
        return call(metadata=metadata)


class CallFailed(PeerError):
    """A call that ended with a status; `code` is its name."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def call_metadata(cluster: str, bearer: str | None, headers: Mapping[str, str]) -> Metadata:
    """gRPC metadata of a call to the control plane."""
    pairs = [("clusterid", cluster), *((name.lower(), value) for name, value in headers.items())]
    if bearer:
        pairs.append(("authorization", f"Bearer {bearer}"))
    return tuple(pairs)


def plaintext_address(address: str, policy: str) -> bool:
    """Whether a control plane is spoken to without TLS."""
    return policy == "NONE" or address.endswith(":15010")


def server(services: Mapping[str, Mapping[str, Handler]], path: Path) -> Any:
    """A server of bidirectional methods on a Unix socket. services: {service: {method: handler}}. Not started yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = grpc.aio.server(options=OPTIONS)
    for service, methods in services.items():
        handlers = {
            name: grpc.stream_stream_rpc_method_handler(
                generator(handler), request_deserializer=identity, response_serializer=identity
            )
            for name, handler in methods.items()
        }
        made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    made.add_insecure_port(f"unix:{os.path.abspath(path)}")
    return made


def generator(handler: Handler) -> Handler:
    """A handler in the one form that grpc.aio knows for streams; it is closed when the stream ends."""

    async def answers(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async with aclosing(handler(requests, context)) as stream:  # type: ignore[type-var]
            async for answer in stream:
                yield answer

    return answers


def nonce() -> str:
    return f"{time.time_ns():x}"


async def refuse(context: Any, reason: str) -> Awaitable[None]:
    """Ends a stream with UNAVAILABLE; the client tries again."""
    return await context.abort(grpc.StatusCode.UNAVAILABLE, reason)  # type: ignore[no-any-return]


def described(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__


StreamError: type[BaseException] = grpc.aio.AioRpcError
END_OF_STREAM = grpc.aio.EOF
