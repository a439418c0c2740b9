"""A worker's side: a whole proxy without admin, discovery streams and health checks of its own; the main process has those.

`RelayedStream` stands where a discovery stream stands: it asks nobody, is fed with what the main process received, and holds
what comes for a type or name before somebody here subscribes to it. Not here: the main process's side (main.py).
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from mizzen.proxy.admin.pages import PAGES
from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.workers.link import Link
from mizzen.proxy.workers.main import HOST_NAMES
from mizzen.proxy.workers.totals import exported
from mizzen.proxy.xds.ads import CDS, LDS, Handle, Stream, TypeState

if TYPE_CHECKING:
    from mizzen.proxy.server import Server


class Member:
    """This process's place among the workers."""

    def __init__(self, server: Server, number: int, sock: socket.socket) -> None:
        self.server = server
        self.number = number
        self.streams: dict[str, RelayedStream] = {}
        self.health: dict[tuple[str, Any], int] = {}
        self._sockets: dict[tuple[str, int], asyncio.Future[tuple[int, int | None]]] = {}
        self.link = Link(server.loop, sock, self._took, server.stopping.set)
        self.link.send(("hello", os.getpid()))

    def live(self) -> None:
        self.link.send(("live",))

    def _took(self, message: tuple[Any, ...], descriptor: int | None) -> None:
        kind, *rest = message
        if kind == "xds":
            stream = self.streams.get(rest[0])
            if stream is not None:
                stream.feed(rest[1])
        elif kind == "health":
            self._checked(*rest)
        elif kind == "socket":
            waiting = self._sockets.pop((rest[0], rest[1]), None)
            if waiting is not None and not waiting.done():
                waiting.set_result((rest[2], descriptor))
            elif descriptor is not None:
                os.close(descriptor)
        elif kind == "stats?":
            self.server.refresh_gauges()
            self.link.send(("stats", exported(self.server.stats.all()), self._hosts()))
        elif kind == "admin":
            path, query, body = rest
            PAGES[path].make(self.server, query, body)
        elif kind == "reopen":
            self.server.logs.reopen()
        elif kind == "stop":
            self.server.stopping.set()

    def _hosts(self) -> dict[tuple[str, Any], tuple[int, ...]]:
        out = {}
        for cluster in self.server.clusters.active.values():
            for host in cluster.hosts.values():
                if host.cx_total or host.cx_connect_fail or host.rq_total:
                    counts = [getattr(host, name) for name in HOST_NAMES[:-1]]
                    waiting = sum(len(pool.pending) for pool in host.pools.values())
                    out[(cluster.name, host.key)] = (*counts, waiting)
        return out

    def _checked(self, cluster: str, key: Any, flags: int) -> None:
        if flags < 0:
            self.health.pop((cluster, key), None)
            return
        self.health[(cluster, key)] = flags
        clusters = self.server.clusters
        for those in (clusters.active, clusters.warming):
            found = those.get(cluster)
            if found is not None and found.health is not None:
                found.health.told(key, flags)

    def failing(self, cluster: str, key: Any) -> None:
        """An answer here said that its host is failing: all workers are to know."""
        self.link.send(("failing", cluster, key))

    async def socket_for(self, host: str, port: int) -> tuple[int, int | None]:
        """Where to listen: the port to open, or a socket that all workers share. Waits for the main process to listen."""
        waiting: asyncio.Future[tuple[int, int | None]] = self.server.loop.create_future()
        self._sockets[(host, port)] = waiting
        self.link.send(("socket", host, port))
        return await waiting


class RelayedStream(Stream):
    """A discovery stream as the main process passes it on."""

    def __init__(self, server: Any, config: Any, stat_prefix: str, only: str, key: str) -> None:
        super().__init__(server, config, stat_prefix, only)
        self.key = key
        self._early: dict[str, list[bytes]] = {}
        self._known: dict[str, dict[str, Any]] = {}
        server.member.streams[key] = self
        server.member.link.send(("stream", key))

    def start(self) -> None:
        self.started = True

    def cluster_ready(self, name: str) -> None:
        pass

    def _connect(self) -> None:
        pass

    def _flush(self) -> None:
        self.scheduled = False

    def _send_sotw(self, state: TypeState, error: str | None) -> None:
        pass

    def _node(self, request: Any) -> None:
        pass

    def subscribe(self, resource: Any) -> Handle:
        known = self._known.get(resource.type_url, {}).get(resource.name)
        if known is not None:
            self._type(resource.type_url).cache.setdefault(resource.name, known)
        return super().subscribe(resource)

    def collect(self, type_url: str, collection: Any, stats: Any) -> Any:
        handle = super().collect(type_url, collection, stats)
        for data in self._early.pop(type_url, ()):
            self.server.loop.call_soon(self._message, data)
        return handle

    def feed(self, data: bytes) -> None:
        from envoy.service.discovery.v3 import discovery_pb2

        kind: Any = discovery_pb2.DeltaDiscoveryResponse if self.delta else discovery_pb2.DiscoveryResponse
        response = kind.FromString(data)
        state = self._type(response.type_url)
        if response.type_url in (CDS, LDS):
            if state.collection is None:
                self._early.setdefault(response.type_url, []).append(data)
                return
        else:
            self._remember(response)
        self._message(data)

    def _remember(self, response: Any) -> None:
        from mizzen.proxy.xds.manager import resource_name

        known = self._known.setdefault(response.type_url, {})
        try:
            for each in response.resources:
                message = self._unpacked(each.resource if self.delta else each, response.type_url)
                known[resource_name(message)] = message
        except (ConfigError, KeyError):
            return  # refused where the response is read
        if self.delta:
            for name in response.removed_resources:
                known.pop(name, None)
