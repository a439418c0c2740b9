"""An ADS client for tests, on grpcio: one stream, requests and responses one by one, either protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class AdsClient:
    """`ask` subscribes, `next` gives the next response, `ack`/`nack` answer it."""

    def __init__(
        self,
        channel: Any,
        node_id: str,
        metadata: dict[str, Any] | None = None,
        *,
        delta: bool,
        token: str | None = None,
    ) -> None:
        self.delta = delta
        self.node_id, self.metadata = node_id, metadata or {}
        kind = "Delta" if delta else "Stream"
        self.request_type = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
        response = discovery_pb2.DeltaDiscoveryResponse if delta else discovery_pb2.DiscoveryResponse
        self.call = channel.stream_stream(
            f"/{SERVICE}/{kind}AggregatedResources",
            request_serializer=self.request_type.SerializeToString,
            response_deserializer=response.FromString,
        )(metadata=[("authorization", f"Bearer {token}")] if token else None)
        self.first = True
        self.reading: asyncio.Future[Any] | None = None

    async def send(self, **fields: Any) -> None:
        request = self.request_type(**fields)
        if self.first:
            request.node.id = self.node_id
            request.node.metadata.update(self.metadata)
            self.first = False
        await self.call.write(request)

    async def ask(self, type_url: str, *names: str, drop: tuple[str, ...] = (), nonce: str = "") -> None:
        if self.delta:
            await self.send(
                type_url=type_url,
                resource_names_subscribe=names,
                resource_names_unsubscribe=drop,
                response_nonce=nonce,
            )
        else:
            await self.send(type_url=type_url, resource_names=names, response_nonce=nonce)

    async def next(self, limit_s: float = 5.0) -> Any:
        message = await asyncio.wait_for(self._read(), limit_s)
        if message is grpc.aio.EOF:
            raise AssertionError(f"stream ended: {await self.call.code()} {await self.call.details()}")
        return message

    async def _read(self) -> Any:
        reading, self.reading = self.reading or asyncio.ensure_future(self.call.read()), None
        return await reading

    async def ack(self, response: Any, *names: str) -> None:
        fields: dict[str, Any] = {"type_url": response.type_url, "response_nonce": response.nonce}
        if not self.delta:
            fields |= {"version_info": response.version_info, "resource_names": names}
        await self.send(**fields)

    async def nack(self, response: Any, error: str, *names: str) -> None:
        request = self.request_type(type_url=response.type_url, response_nonce=response.nonce)
        if not self.delta:
            request.resource_names.extend(names)
        request.error_detail.message = error
        await self.call.write(request)

    async def quiet(self, seconds: float = 0.15) -> None:
        """Nothing comes for a while. (The one place that waits for a time: absence has no event.)"""
        # A cancelled read would end the call, so a read that got nothing is kept for `next`.
        self.reading = self.reading or asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait([self.reading], timeout=seconds)
        if done:
            raise AssertionError(f"unexpected response {self.reading.result()}")


def names(response: Any) -> list[str]:
    """Sorted names in a delta response."""
    return sorted(resource.name for resource in response.resources)
