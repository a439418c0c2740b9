"""CDS and LDS: the whole set of clusters or listeners as a server or a file has it. Each resource is accepted or refused alone."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2

from mizzen.proxy.config.errors import ConfigError

log = logging.getLogger("envoy.config")


class ClusterCollection:
    """Keeps the dynamic clusters as the source says."""

    message_class: Any = cluster_pb2.Cluster

    def __init__(self, server: Any) -> None:
        self.server = server
        self.first = asyncio.Event()
        self.source: Any = None
        self.version = ""

    def from_file(self, response: Any) -> None:
        self.update(unpacked(response, self.message_class), response.version_info)

    def update(self, messages: list[Any], version: str) -> None:
        """The state of the world. Raises ConfigError that names all that were refused; the others are in force."""
        names = {message.name for message in messages}
        clusters = self.server.clusters
        present = [
            name for name, cluster in {**clusters.active, **clusters.warming}.items() if cluster.config.added_via_api
        ]
        self.change(messages, [name for name in present if name not in names], version)

    def change(self, messages: list[Any], removed: list[str], version: str) -> None:
        """Additions, updates and removals."""
        clusters = self.server.clusters
        errors = []
        seen: set[str] = set()
        for message in messages:
            try:
                if message.name in seen:
                    raise ConfigError(f"duplicate cluster {message.name} found")
                seen.add(message.name)
                clusters.add(message, True, version)
            except ConfigError as error:
                clusters.errors[message.name] = (str(error), message)
                errors.append(f"{message.name}: {error}")
        for name in removed:
            cluster = clusters.active.get(name) or clusters.warming.get(name)
            if cluster is not None and cluster.config.added_via_api:
                clusters.remove(name)
        self.version = version
        self.first.set()
        if errors:
            raise ConfigError("Error adding/updating cluster(s) " + ", ".join(errors))


class ListenerCollection:
    """Keeps the dynamic listeners as the source says. Listeners warm one by one; a failure to bind is told later."""

    message_class: Any = listener_pb2.Listener

    def __init__(self, server: Any) -> None:
        self.server = server
        self.first = asyncio.Event()
        self.source: Any = None
        self.version = ""
        self.tasks: dict[str, asyncio.Task[Any]] = {}

    def from_file(self, response: Any) -> None:
        self.update(unpacked(response, self.message_class), response.version_info)

    def update(self, messages: list[Any], version: str) -> None:
        names = {message.name for message in messages}
        listeners = self.server.listeners
        present = [name for name, slot in {**listeners.slots, **listeners.warming}.items() if slot.api]
        self.change(messages, [name for name in present if name not in names], version)

    def change(self, messages: list[Any], removed: list[str], version: str) -> None:
        """Additions, updates and removals. Raises ConfigError that names all that were refused."""
        from mizzen.proxy.listener.listener import ListenerConfig

        listeners = self.server.listeners
        errors = []
        for name in removed:
            self.tasks[name] = self.server.spawn(listeners.remove(name), f"remove listener {name}")
        for message in messages:
            try:
                ListenerConfig(message, self.server)  # refuse now; warming may take its time
            except ConfigError as error:
                listeners.errors[message.name] = (str(error), message)
                listeners.stats.listener_create_failure += 1
                errors.append(f"{message.name}: {error}")
                continue
            self.tasks[message.name] = self.server.spawn(self._add(message, version), f"listener {message.name}")
        self.version = version
        self.first.set()
        if errors:
            raise ConfigError("Error adding/updating listener(s) " + "\n".join(errors))

    async def _add(self, message: Any, version: str) -> None:
        listeners = self.server.listeners
        try:
            await listeners.add(message, True, version)
        except ConfigError as error:
            listeners.errors[message.name] = (str(error), message)
            listeners.stats.listener_create_failure += 1
            log.warning("listener %s: %s", message.name, error)

    async def settled(self) -> None:
        """Until what has been begun is in force; at most a while, since a listener may wait for its secrets."""
        tasks = [task for task in self.tasks.values() if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=15.0)


def unpacked(response: Any, cls: Any) -> list[Any]:
    """The resources of a DiscoveryResponse as messages of one class. Raises ConfigError."""
    out = []
    for each in response.resources:
        message = cls()
        if not each.Unpack(message):
            raise ConfigError(f"Unexpected resource type {each.type_url}")
        out.append(message)
    return out


def now() -> float:
    return time.time()
