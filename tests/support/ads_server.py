"""A control plane for tests: a discovery stream, state of the world or delta, that serves what it is told and keeps refusals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from envoy.service.discovery.v3 import discovery_pb2

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


class AdsServer:
    """`async with AdsServer() as ads`: `ads.port`; `ads.serve(type_url, {name: message})` replaces what there is of a type.

    `refused`: messages of refusals in their order.
    """

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.refused: list[str] = []
        self._streams: list[_Stream] = []
        self._version = 0

    async def __aenter__(self) -> AdsServer:
        self._server = grpc.aio.server()
        whole = grpc.stream_stream_rpc_method_handler(
            self._whole,
            request_deserializer=discovery_pb2.DiscoveryRequest.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        delta = grpc.stream_stream_rpc_method_handler(
            self._delta,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        methods = {"StreamAggregatedResources": whole, "DeltaAggregatedResources": delta}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def serve(self, type_url: str, resources: dict[str, Any]) -> None:
        before = self.resources.get(type_url, {})
        self.resources[type_url] = resources
        self._version += 1
        changed = {name for name, message in resources.items() if before.get(name) != message}
        removed = set(before) - set(resources)
        for stream in self._streams:
            stream.push(type_url, changed, removed)

    async def _whole(self, requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        async for answer in self._run(requests, delta=False):
            yield answer

    async def _delta(self, requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        async for answer in self._run(requests, delta=True):
            yield answer

    async def _run(self, requests: AsyncIterator[Any], *, delta: bool) -> AsyncIterator[Any]:
        stream = _Stream(self, delta)
        self._streams.append(stream)
        task = asyncio.create_task(stream.read(requests))
        try:
            while True:
                yield await stream.answers.get()
        finally:
            self._streams.remove(stream)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class _Stream:
    def __init__(self, server: AdsServer, delta: bool) -> None:
        self.server, self.is_delta = server, delta
        self.names: dict[str, set[str] | None] = {}  # by type; None: all
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.nonce = 0

    async def read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            url = request.type_url
            if request.error_detail.code:
                self.server.refused.append(request.error_detail.message)
            if self.is_delta:
                fresh = set(request.resource_names_subscribe)
                first = url not in self.names
                if first:
                    self.names[url] = None if not fresh or "*" in fresh else set()
                names = self.names[url]
                if names is not None:
                    names |= fresh
                    names -= set(request.resource_names_unsubscribe)
                    self.push(url, fresh, set())
                elif first:
                    self.push(url, set(self.server.resources.get(url, ())), set())
                continue
            asked = set(request.resource_names) or None
            if url not in self.names or self.names[url] != asked:
                self.names[url] = asked
                self.push(url, set(self.server.resources.get(url, ())), set())

    def push(self, url: str, changed: set[str], removed: set[str]) -> None:
        if url not in self.names:
            return
        names = self.names[url]
        held = self.server.resources.get(url, {})
        wanted = {name: held[name] for name in held if names is None or name in names}
        if self.is_delta:
            wanted = {name: wanted[name] for name in changed if name in wanted}
            removed = {name for name in removed if names is None or name in names}
        if not wanted and not removed:
            return
        self.nonce += 1
        version = str(self.server._version)
        if not self.is_delta:
            whole = discovery_pb2.DiscoveryResponse(type_url=url, nonce=str(self.nonce), version_info=version)
            for message in wanted.values():
                whole.resources.add().Pack(message)
            self.answers.put_nowait(whole)
            return
        answer = discovery_pb2.DeltaDiscoveryResponse(
            type_url=url, nonce=str(self.nonce), system_version_info=version, removed_resources=sorted(removed)
        )
        for name, message in wanted.items():
            each = answer.resources.add(name=name, version=version)
            each.resource.Pack(message)
        self.answers.put_nowait(answer)
