"""One proxy's ADS stream, without the stream: requests go in, response bytes come out one at a time.

Keeps the subscriptions, an outbox of answers to make and a sweep over the watched types when the mesh has
changed. The caller writes each response before it asks for the next, so a slow proxy holds only itself back, and
what changes meanwhile is merged into one later response. Not here: sockets (server.py), what changed (hub.py).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from mizzen.istiod.node import Node
from mizzen.istiod.xds.collection import ResourceCollection
from mizzen.istiod.xds.subscription import Answer, Request, Subscriptions, Watch
from mizzen.istiod.xds.types import CDS, ECDS, EDS, NAMED, ORDER, SERVED
from mizzen.istiod.xds.views import View


def _order(type_url: str) -> int:
    return ORDER.get(type_url, len(ORDER))


class Source(Protocol):
    """Where a connection gets resources from: the hub."""

    @property
    def version(self) -> str: ...

    def acquire(self, connection: Connection, type_url: str) -> ResourceCollection: ...

    def release(self, collection: ResourceCollection) -> None: ...

    def sent(self, type_url: str, size: int) -> None: ...


class Connection:
    """One stream. id: the debug name `<node name>-<counter>`. identity: the verified SPIFFE identity, or None.

    wake: called whenever there may be something to send.
    """

    def __init__(
        self, number: int, node: Node, raw: Node, identity: str | None, peer: str, delta: bool, source: Source
    ) -> None:
        self.id, self.raw, self.identity, self.peer = f"{node.name}-{number}", raw, identity, peer
        self.node = node
        self.connected_at = time.time()
        self.subscriptions = Subscriptions(delta)
        self.wake: Callable[[], None] = lambda: None
        self.view: View | None = None
        self.reads_secrets = False  # whether its identity may be served Secrets
        self.health_error: str | None = None
        self._source = source
        self._answers: deque[Answer] = deque()
        self._sweep: deque[str] = deque()
        self._push_started: float | None = None
        self.converged: Callable[[float], None] = lambda _: None

    @property
    def delta(self) -> bool:
        return self.subscriptions.delta

    @property
    def is_proxy(self) -> bool:
        """Whether the client counts as a proxy in reports, and is no tool."""
        return "PROXY_CONFIG" in self.raw.metadata or self.raw.type == "ztunnel"

    @property
    def settled(self) -> bool:
        """Everything that the last publication means for the client has been sent, and answered (accepted or not)."""
        if self._answers or self._sweep or not self.watches:
            return False
        return all(watch.status != "STALE" for watch in self.watches.values())

    @property
    def watches(self) -> dict[str, Watch]:
        return self.subscriptions.watches

    def request(self, request: Request) -> None:
        """Take a request in; what it asks for will come out of `next_message`."""
        before = self.watches.get(request.type_url)
        answer = self.subscriptions.request(request)
        if before is not None and self.watches.get(request.type_url) is not before:
            self._drop(before)
        if answer is not None and request.type_url in SERVED:
            self._answers.append(answer)
            self.wake()

    def push(self, started: float, types: Collection[str]) -> None:
        """The mesh has changed (at monotonic time `started`): look through the watches of these types."""
        wanted = [url for url in self.subscriptions.watches if url in types]
        if not wanted:
            return
        if self._push_started is None:
            self._push_started = started
        if self._sweep:
            wanted = list({*wanted, *self._sweep})
        if len(wanted) > 1:
            wanted.sort(key=_order)
        self._sweep = deque(wanted)
        self.wake()

    def moved(self) -> None:
        """The node's view changed: every watch starts over in another collection, knowing what the client holds."""
        for watch in self.watches.values():
            held = watch.collection
            if isinstance(held, ResourceCollection):
                if watch.wildcard:
                    watch.held.update(held.entries)
                self._drop(watch)
                watch.seen = -1

    def next_message(self) -> bytes | None:
        """The next response to write, or None when there is nothing to say."""
        while self._answers:
            message = self._answer(self._answers.popleft())
            if message is not None:
                return message
        while self._sweep:
            watch = self.watches.get(self._sweep.popleft())
            if watch is not None and watch.type_url in SERVED:
                message = self._changes(watch)
                if message is not None:
                    return message
                if self._answers:
                    return self.next_message()
        if self._push_started is not None:
            started, self._push_started = self._push_started, None
            self.converged(time.monotonic() - started)
        return None

    def close(self) -> None:
        """Let go of the collections."""
        for watch in self.watches.values():
            self._drop(watch)

    def _drop(self, watch: Watch) -> None:
        if isinstance(watch.collection, ResourceCollection):
            self._source.release(watch.collection)
            watch.collection = None

    def _collection(self, watch: Watch) -> ResourceCollection:
        held = watch.collection
        if isinstance(held, ResourceCollection):
            held.refresh()
            return held
        held = watch.collection = self._source.acquire(self, watch.type_url)
        held.refresh()
        held.ensure(watch.names)
        return held

    def _answer(self, answer: Answer) -> bytes | None:
        """The response to a request: everything, or the newly subscribed names."""
        watch = self.watches.get(answer.type_url)
        if watch is None:
            return None
        resources = self._collection(watch)
        if answer.names is not None:
            names: Collection[str] | None = answer.names & watch.names
            resources.ensure(answer.names)
            return self._response(watch, resources, names, self._absent(resources, answer.names))
        names = None if watch.wildcard else watch.names
        if names is not None:
            resources.ensure(names)
        gone = {*(watch.held if watch.wildcard else watch.names)} - resources.entries.keys()
        watch.held = set()
        watch.seen = resources.serial
        if watch.type_url == CDS and self.delta:
            self._force_endpoints(None)
        return self._response(watch, resources, names, sorted(gone) if watch.type_url != ECDS else ())

    def _changes(self, watch: Watch) -> bytes | None:
        """What the client lacks after a push; None when nothing that it watches changed in content."""
        resources = self._collection(watch)
        if watch.seen < 0:
            return self._answer(Answer(watch.type_url))
        if watch.seen == resources.serial:
            return None
        changed = resources.changed_since(watch.seen)
        watch.seen = resources.serial
        if not watch.wildcard:
            changed = [name for name in changed if name in watch.names]
        if not changed:
            return None
        if watch.type_url == CDS:
            self._force_endpoints([name for name in changed if name in resources.entries])
        if not self.delta and watch.type_url not in NAMED:
            return self._response(watch, resources, None if watch.wildcard else watch.names, ())
        return self._response(watch, resources, changed, self._absent(resources, changed))

    def _force_endpoints(self, names: Collection[str] | None) -> None:
        """A changed cluster warms anew and waits for its endpoints, so they are sent again though they are the same."""
        watch = self.watches.get(EDS)
        if watch is None or watch.last_sent is None:
            return
        wanted = watch.names if names is None else watch.names.intersection(names)
        if wanted:
            self._answers.append(Answer(EDS, frozenset(wanted)))

    def _absent(self, resources: ResourceCollection, names: Collection[str]) -> Collection[str]:
        """Names that a delta response must list as removed. Never for ECDS: the proxy keeps its last configuration."""
        if resources.type_url == ECDS:
            return ()
        return [name for name in names if name not in resources.entries]

    def _response(
        self, watch: Watch, resources: ResourceCollection, names: Collection[str] | None, removed: Collection[str]
    ) -> bytes | None:
        made = resources.response(self._source.version, names, removed if self.delta else (), self.delta)
        if made is None:
            return None
        nonce, message = made
        self.subscriptions.sent(watch.type_url, nonce, time.time())
        watch.names_sent = names
        self._source.sent(watch.type_url, len(message))
        return message
