"""A configured gRPC service that filters call: one message each way over a cluster of ours.

Source: envoy.config.core.v3.GrpcService. Refused: google_grpc.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mizzen.proxy.config.errors import ConfigError, Unsupported
from mizzen.proxy.config.values import optional_seconds
from mizzen.proxy.xds.grpc import Call

C = TypeVar("C", bound=Call)
Done = Callable[[int, bytes], None]  # gRPC status, the answer's message


class GrpcService:
    """Where a filter's calls go. `timeout` in seconds, 0 for none."""

    def __init__(self, message: Any, server: Any, default_timeout_s: float = 0.0) -> None:
        if message.WhichOneof("target_specifier") != "envoy_grpc":
            raise Unsupported("GrpcService.google_grpc")
        if message.envoy_grpc.HasField("retry_policy"):
            raise Unsupported("GrpcService.envoy_grpc.retry_policy")
        self.cluster: str = message.envoy_grpc.cluster_name
        if not self.cluster:
            raise ConfigError("GrpcService.EnvoyGrpc.ClusterName: value length must be at least 1 characters")
        self.server = server
        self.authority: str = message.envoy_grpc.authority
        self.timeout: float = optional_seconds(message, "timeout", default_timeout_s) or 0.0
        self.metadata = [(each.key, each.value) for each in message.initial_metadata]

    def prepared(
        self,
        kind: type[C],
        method: str,
        opened: Callable[[], None],
        answered: Callable[[bytes], None],
        ended: Callable[[int, str], None],
        timeout_s: float = 0.0,
    ) -> C | None:
        """A call that is to be started; None when there is no such cluster."""
        cluster = self.server.clusters.get(self.cluster)
        if cluster is None:
            return None
        call = kind(cluster, method, self.metadata, opened, answered, ended, timeout_s)
        if self.authority:
            call.headers.authority = self.authority
        return call

    def call(self, method: str, request: bytes, done: Done) -> Call | None:
        """Begin a call; None when it failed at once (`done` is called all the same, on the next turn of the loop)."""
        got: list[bytes] = []

        def opened() -> None:
            assert call is not None
            call.send(request, True)
            connection = call.connection
            if connection is not None:
                connection.flush()

        def ended(status: int, text: str) -> None:
            done(status, got[0] if got else b"")

        call = self.prepared(Call, method, opened, got.append, ended, self.timeout)
        if call is None:
            self.server.loop.call_soon(done, 14, b"")
            return None
        call.start()
        return call
