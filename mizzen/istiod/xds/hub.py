"""The meeting place of the mesh's snapshot and the proxies' streams: shared collections, and who must look at a change.

Takes new snapshots with the changes that led to them (`publish`), hands collections to connections, wakes them. Proxies
whose views are equal (views.py) share one collection, so each resource is made and serialised once for all of them.
Not here: reading configuration (config/), sockets (server.py).
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from mizzen.api.errors import PeerError
from mizzen.istiod.node import Node
from mizzen.istiod.objects import Change, Key
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.xds import affects, views
from mizzen.istiod.xds.collection import Interner, ResourceCollection
from mizzen.istiod.xds.connection import Connection
from mizzen.istiod.xds.namespaces import NamedNamespaces
from mizzen.istiod.xds.subscription import Watch
from mizzen.istiod.xds.types import SDS, SERVED

log = logging.getLogger(__name__)

CONFIG_MAP = "configmap://"
HISTORY = 64  # publications remembered: enough to tell what a proxy has refused since it last accepted


class Generator(Protocol):
    """translate.generate."""

    def __call__(
        self, snap: Snapshot, node: Node, type_url: str, names: Collection[str] | None
    ) -> Iterable[tuple[str, Any]]: ...


class Observer(Protocol):
    """What the hub tells the metrics."""

    def pushed(self, type_url: str, size: int) -> None: ...

    def converged(self, seconds: float) -> None: ...

    def rejected(self, type_url: str, node: str, code: int) -> None: ...

    def expired(self, type_url: str) -> None: ...


class Hub:
    """One mesh. Not ready (no snapshot) until the first `publish`.

    history: the last publications, each with its number (the one in `version`) and the objects that it changed.
    published, rejected: called after a publication, and after a NACK has been noted.
    """

    def __init__(self, generate: Generator, observer: Observer | None = None) -> None:
        self.snapshot: Snapshot | None = None
        self.version = ""
        self.bytes_sent = 0
        self.connections: dict[str, Connection] = {}
        self.collections: dict[tuple[str, Hashable], ResourceCollection] = {}
        self.history: deque[tuple[int, frozenset[tuple[str, Key]]]] = deque(maxlen=HISTORY)
        self.published: Callable[[Collection[Change]], None] = lambda _: None
        self.rejected: Callable[[Connection, Watch], None] = lambda connection, watch: None
        self._generate, self.observer = generate, observer
        self._interner = Interner()
        self._namespaces = NamedNamespaces()
        self._numbers = itertools.count(1)
        self._pushes = itertools.count(1)
        self._keys: dict[int, tuple[str, Hashable]] = {}

    @property
    def ready(self) -> bool:
        return self.snapshot is not None

    # Snapshots

    def publish(self, snapshot: Snapshot, changes: Collection[Change], started: float | None = None) -> None:
        """A new snapshot. changes: what differs from the last one; started: monotonic time of the first of them."""
        before, self.snapshot = self.snapshot, snapshot
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = next(self._pushes)
        self.version = f"{stamp}/{number}"
        self.history.append((number, frozenset((change.kind, change.key) for change in changes)))
        touched = {url: affects.names(url, changes, before, snapshot) for url in {key[0] for key in self.collections}}
        for (type_url, _), resources in self.collections.items():
            names = touched[type_url]
            if names is None or names:
                resources.mark(names)
        moves = affects.Moves.of(changes)
        moves.namespaces |= self._namespaces.update(snapshot.objects)
        self._place_moved(snapshot, moves)
        since = time.monotonic() if started is None else started
        pushed = {url for url, names in touched.items() if names is None or names}
        for connection in self.connections.values():
            connection.push(since, pushed)
        self.published(changes)

    def push_all(self) -> None:
        """Make everything anew and send what differs: a proxy's own push request, or a debug one."""
        for resources in self.collections.values():
            resources.mark(None)
        for connection in self.connections.values():
            connection.push(time.monotonic(), SERVED)

    def _place_moved(self, snapshot: Snapshot, moves: affects.Moves) -> None:
        if not moves:
            return
        for connection in self.connections.values():
            if not moves.concern(connection.raw):
                continue
            connection.node = snapshot.place(connection.raw)
            view = self._view(connection)
            if view != connection.view:
                connection.view = view
                connection.moved()
                connection.push(time.monotonic(), SERVED)

    # Streams

    def connect(self, raw: Node, identity: str | None, peer: str, delta: bool) -> Connection:
        """A stream of the proxy that says it is `raw`; the caller has checked that it may say so."""
        if self.snapshot is None:
            raise PeerError("not ready")
        node = self.snapshot.place(raw)
        connection = Connection(next(self._numbers), node, raw, identity, peer, delta, self)
        if self.observer is not None:
            connection.converged = self.observer.converged
        self.connections[connection.id] = connection
        return connection

    def disconnect(self, connection: Connection) -> None:
        connection.close()
        self.connections.pop(connection.id, None)

    # What connections ask (connection.Source)

    def acquire(self, connection: Connection, type_url: str) -> ResourceCollection:
        node = connection.node
        if connection.view is None:
            connection.view = self._view(connection)
        key = (type_url, connection.view.key(type_url))
        resources = self.collections.get(key)
        if resources is None:

            def generate(names: Collection[str] | None) -> Iterable[tuple[str, Any]]:
                assert self.snapshot is not None
                if type_url == SDS:
                    names = secrets_for(connection, names or ())
                    if not names:
                        return ()
                return self._generate(self.snapshot, node, type_url, names)

            resources = self.collections[key] = ResourceCollection(
                type_url, generate, self._interner, named=node.text("GENERATOR") == "grpc"
            )
            self._keys[id(resources)] = key
        resources.users += 1
        return resources

    def _view(self, connection: Connection) -> views.View:
        assert self.snapshot is not None
        who = (connection.identity, connection.reads_secrets)
        return views.view(self.snapshot, connection.node, who, self._namespaces.names)

    def may_read_secrets(self, connection: Connection, allowed: bool) -> None:
        """What the connection's identity may be served has been asked."""
        if allowed == connection.reads_secrets:
            return
        connection.reads_secrets = allowed
        if connection.view is not None:
            connection.view = self._view(connection)
            connection.moved()
            connection.push(time.monotonic(), SERVED)

    def release(self, collection: ResourceCollection) -> None:
        collection.users -= 1
        if collection.users == 0:
            self.collections.pop(self._keys.pop(id(collection)), None)

    def sent(self, type_url: str, size: int) -> None:
        self.bytes_sent += size
        if self.observer is not None:
            self.observer.pushed(type_url, size)

    def prune(self) -> None:
        """Forget named resources that no proxy watches any more: of services that are gone, above all."""
        wanted: dict[int, set[str]] = {}
        for connection in self.connections.values():
            for watch in connection.watches.values():
                if watch.collection is not None:
                    wanted.setdefault(id(watch.collection), set()).update(watch.names)
        for resources in self.collections.values():
            resources.prune(wanted.get(id(resources), set()))

    def trim(self) -> None:
        """Free what can be made again: joined bodies, and what the interner remembers."""
        for resources in self.collections.values():
            resources.forget_responses()


def secrets_for(connection: Connection, names: Collection[str]) -> list[str]:
    """The secrets among these that a proxy may be served: none without an identity; roots in ConfigMaps are no
    secrets.
    """
    if connection.identity is None:
        return []
    return [name for name in names if connection.reads_secrets or name.startswith(CONFIG_MAP)]
