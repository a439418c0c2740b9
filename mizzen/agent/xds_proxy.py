"""Discovery passed through: proxy ↔ Unix socket ↔ agent ↔ istiod, messages as bytes.

The agent adds subscriptions of its own (the name table) and keeps their answers; extensions that are Wasm modules it has
rewritten. One upstream stream per downstream one; a second downstream stream ends the first. Not here: what the messages
mean to a proxy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from mizzen.agent.channel import Handler, Target
from mizzen.agent.grpc_stream import UNAVAILABLE, CallFailed, Metadata, Stream
from mizzen.agent.messages import (
    EXTENSION,
    LISTENER,
    NAME_TABLE,
    PROXY_CONFIG,
    read_request,
    read_response,
    response_type,
    write_request,
)
from mizzen.agent.sds import read_into
from mizzen.api.errors import MizzenError, PeerError

log = logging.getLogger("mizzen.agent.xds")

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHODS = {False: "StreamAggregatedResources", True: "DeltaAggregatedResources"}
Take = Callable[[bytes], None]
Rewrite = Callable[[bytes, bool], Awaitable[bytes]]
"""(response with extensions, whether it is delta) → what the proxy is to get. Raises PeerError."""


class XdsProxy:
    """metadata: gRPC metadata of a new upstream stream; own: what the agent itself subscribes to, and who takes it; rewrite:
    of responses with extensions.
    """

    def __init__(
        self, target: Target, metadata: Callable[[], Metadata], own: dict[str, Take], rewrite: Rewrite | None = None
    ) -> None:
        self._target, self._metadata, self._own, self._rewrite = target, metadata, own, rewrite
        self._current: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[bytes | None] | None = None
        self._upstream: Stream | None = None
        self._delta = False
        self._health: bytes | None = None
        self._acknowledged = ""  # the version of the extensions that the proxy has
        self.connected = False
        self.connections = 0

    @property
    def services(self) -> dict[str, dict[str, Handler]]:
        return {SERVICE: {METHODS[False]: self.state_of_the_world, METHODS[True]: self.delta}}

    def state_of_the_world(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._serve(requests, delta=False)

    def delta(self, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return self._serve(requests, delta=True)

    async def _serve(self, requests: AsyncIterator[bytes], *, delta: bool) -> AsyncIterator[bytes]:
        """One downstream stream: answers are queued by the upstream's task, which also takes the requests."""
        if self._queue is not None:
            self._queue.put_nowait(None)
        answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queue = answers
        task = asyncio.create_task(self._relay(requests, answers, delta), name="xds-upstream")
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if self._queue is answers:
                self._queue, self.connected = None, False
        raise CallFailed(UNAVAILABLE, "the control plane's stream has ended")

    async def _relay(self, requests: AsyncIterator[bytes], answers: asyncio.Queue[bytes | None], delta: bool) -> None:
        try:
            upstream = await self._dial(delta)
        except MizzenError as error:
            log.warning("no control plane: %s", error)
            answers.put_nowait(None)
            return
        self._upstream, self._delta = upstream, delta
        up = asyncio.create_task(self._upwards(requests, upstream, delta), name="xds-up")
        try:
            await self._downwards(upstream, answers, delta)
        except PeerError as error:
            log.warning("the control plane's stream ended: %s", error)
        finally:
            upstream.cancel()
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)
            self._upstream = None
            answers.put_nowait(None)

    async def _dial(self, delta: bool) -> Stream:
        stream = await self._target.stream(f"/{SERVICE}/{METHODS[delta]}", self._metadata())
        self.connected, self.connections = True, self.connections + 1
        return stream

    async def _upwards(self, requests: AsyncIterator[bytes], upstream: Stream, delta: bool) -> None:
        """After the first request for listeners the agent's own subscriptions follow."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        reader = asyncio.create_task(read_into(requests, queue), name="xds-requests")
        subscribed = False
        try:
            while (request := await queue.get()) is not None:
                upstream.write(request)
                self._note(request, delta)
                if not subscribed and read_request(request, delta).type_url == LISTENER:
                    subscribed = True
                    for type_url in self._own:
                        upstream.write(write_request(delta, type_url))
                    if self._health is not None:
                        upstream.write(self._health)
            upstream.done_writing()
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def _note(self, request: bytes, delta: bool) -> None:
        """What of a request is needed to refuse extensions in the proxy's name."""
        if EXTENSION.encode() in request:
            self._acknowledged = read_request(request, delta).version or self._acknowledged

    async def _downwards(self, upstream: Stream, answers: asyncio.Queue[bytes | None], delta: bool) -> None:
        extensions: asyncio.Queue[bytes] = asyncio.Queue()
        rewriting = asyncio.create_task(self._extensions(extensions, upstream, answers, delta), name="xds-wasm")
        try:
            while (answer := await upstream.read()) is not None:
                kind = response_type(answer)
                take = self._own.get(kind)
                if take is not None:
                    upstream.write(self._own_answer(answer, take, delta))
                elif kind == EXTENSION:
                    extensions.put_nowait(answer)
                elif kind not in (NAME_TABLE, PROXY_CONFIG):
                    answers.put_nowait(answer)
        finally:
            rewriting.cancel()
            await asyncio.gather(rewriting, return_exceptions=True)

    async def _extensions(
        self, given: asyncio.Queue[bytes], upstream: Stream, answers: asyncio.Queue[bytes | None], delta: bool
    ) -> None:
        """In their order, while everything else goes on: a module may take its time. What cannot be rewritten is refused."""
        while True:
            answer = await given.get()
            try:
                answers.put_nowait(await self._rewrite(answer, delta) if self._rewrite is not None else answer)
            except PeerError as problem:
                log.warning("refused %s: %s", EXTENSION, problem)
                nonce = read_response(answer, delta).nonce
                error = (13, str(problem))
                upstream.write(write_request(delta, EXTENSION, version=self._acknowledged, nonce=nonce, error=error))

    def _own_answer(self, answer: bytes, take: Take, delta: bool) -> bytes:
        """Takes a response that is the agent's, and acknowledges or refuses it."""
        response = read_response(answer, delta)
        error = None
        try:
            for resource in response.resources:
                take(resource)
        except PeerError as problem:
            error = (3, str(problem))
            log.warning("refused %s: %s", response.type_url, problem)
        version = response.version if error is None else ""
        return write_request(delta, response.type_url, version=version, nonce=response.nonce, error=error)

    async def report_health(self, message: bytes) -> None:
        """Sends a health report now, and again on every new stream."""
        self._health = message
        if self._upstream is not None:
            self._upstream.write(message)
