"""The main process's side: it makes the workers, feeds them what discovery brings, and asks them what they counted.

It is a worker itself, number 0, with everything that a proxy has only once: admin, discovery streams, active health checks.
The others get each discovery response before it is acknowledged, and on joining all resources that are in force. A worker that
dies is replaced. Not here: a worker's side (member.py), how processes are made (nursery.py).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from mizzen.proxy.workers.link import Link
from mizzen.proxy.workers.nursery import Nursery
from mizzen.proxy.workers.snapshot import responses
from mizzen.proxy.workers.totals import Totals

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

log = logging.getLogger("envoy.main")
AGAIN_S = 0.25  # before a worker that died is replaced
PATIENCE_S = 2.0  # for what workers have counted
GOODBYE_S = 5.0
COUNTED = ("/stats", "/stats/prometheus", "/clusters", "/memory")
OWN_AFFAIR = ("/quitquitquit",)


class Worker:
    """One of the other processes."""

    def __init__(self, pool: Pool, number: int) -> None:
        self.pool = pool
        self.number = number
        self.pid = 0
        self.live = False
        self.streams: set[str] = set()
        self.hosts: dict[tuple[str, Any], tuple[int, ...]] = {}
        self.asked: asyncio.Event | None = None
        self.waits: list[tuple[str, int]] = []  # listening sockets that the main process has not yet
        ours, theirs = socket.socketpair()
        try:
            pool.nursery.fork(number, theirs)
        finally:
            theirs.close()
        self.link = Link(pool.server.loop, ours, self._took, self._over)

    def _took(self, message: tuple[Any, ...], descriptor: int | None) -> None:
        kind, *rest = message
        if kind == "hello":
            self.pid = rest[0]
            for told in self.pool.health.values():
                self.link.send(told)
        elif kind == "live":
            self.live = True
            self.pool.changed()
        elif kind == "stream":
            self.streams.add(rest[0])
            for data in responses(self.pool.server, rest[0]):
                self.link.send(("xds", rest[0], data))
        elif kind == "socket":
            self.waits.append((rest[0], rest[1]))
            self.give_sockets()
        elif kind == "failing":
            self.pool.failing(*rest)
        elif kind == "stats":
            self.pool.totals.told[self.number] = rest[0]
            self.hosts = rest[1]
            if self.asked is not None:
                self.asked.set()

    def give_sockets(self) -> None:
        """Answer what can be answered: a socket that is shared, or the port to open one at."""
        for address in list(self.waits):
            sock, shared = self.pool.listening(address)
            if sock is not None:
                self.waits.remove(address)
                port = sock.getsockname()[1] if not shared else 0
                self.link.send(("socket", *address, port), sock.fileno() if shared else None)

    def _over(self) -> None:
        self.pool.gone(self)


class Pool:
    """All workers but the main process."""

    def __init__(self, server: Server, nursery: Nursery, count: int) -> None:
        self.server = server
        self.nursery = nursery
        self.count = count
        self.totals = Totals()
        self.health: dict[tuple[str, Any], tuple[Any, ...]] = {}
        self.workers: dict[int, Worker] = {}
        self.told: dict[str, tuple[Any, ...]] = {}  # admin's changes, which a new worker must know
        self.closing = False
        self._all_gone = asyncio.Event()
        server.stats.carried = self.totals

    def start(self) -> None:
        for number in range(1, self.count + 1):
            self._make(number)

    def _make(self, number: int) -> None:
        if self.closing:
            return
        try:
            worker = self.workers[number] = Worker(self, number)
        except OSError as error:
            log.critical("worker %d cannot be started: %s", number, error)
            return
        for message in self.told.values():
            worker.link.send(message)

    def gone(self, worker: Worker) -> None:
        self.totals.gone(worker.number)
        if worker.asked is not None:
            worker.asked.set()
        del self.workers[worker.number]
        if self.closing:
            if not self.workers:
                self._all_gone.set()
            return
        self.changed()
        log.error("worker %d (process %d) died; another takes its place", worker.number, worker.pid)
        self.server.loop.call_later(AGAIN_S, self._make, worker.number)

    def changed(self) -> None:
        self.server.listeners.stats.workers_started = 1 + sum(each.live for each in self.workers.values())

    def tell(self, message: tuple[Any, ...]) -> None:
        for worker in self.workers.values():
            worker.link.send(message)

    # --- what the main process does for all ---

    def relay(self, stream: str, data: bytes) -> None:
        """A discovery response, before it is acknowledged."""
        for worker in self.workers.values():
            if stream in worker.streams:
                worker.link.send(("xds", stream, data))

    def checked(self, cluster: str, key: Any, flags: int) -> None:
        """The outcome of an active health check."""
        message = ("health", cluster, key, flags)
        if self.health.get((cluster, key)) != message:
            self.health[(cluster, key)] = message
            self.tell(message)

    def unchecked(self, cluster: str, key: Any) -> None:
        if self.health.pop((cluster, key), None) is not None:
            self.tell(("health", cluster, key, -1))

    def failing(self, cluster: str, key: Any) -> None:
        """A worker was told by an answer that a host is failing."""
        found = self.server.clusters.active.get(cluster)
        host = None if found is None else found.hosts.get(key)
        if found is not None and host is not None and found.health is not None:
            found.health.immediate_failure(host)

    def listening(self, address: tuple[str, int]) -> tuple[Any, bool]:
        """The main process's socket of an address, and whether it serves all workers."""
        for slot in self.server.listeners.slots.values():
            for own, sock in zip((slot.listener.address, *slot.listener.extra), slot.sockets, strict=False):
                if own == address:
                    return sock, address[1] < 0 or not slot.listener.reuse_port
        return None, False

    def listeners_changed(self) -> None:
        for worker in self.workers.values():
            worker.give_sockets()

    # --- admin ---

    def did(self, path: str, query: dict[str, str], body: bytes) -> None:
        """An admin page changed something here: the others do the same."""
        if path in OWN_AFFAIR:
            return
        message = ("admin", path, query, body)
        if path == "/reset_counters":
            self.totals.reset()
        elif path != "/reopen_logs":
            kind = path.rpartition("/")[0] or f"{path}?{sorted(query)}"
            self.told.pop(kind, None)
            self.told[kind] = message
        self.tell(message)

    async def before(self, path: str) -> None:
        """Have the counts of all workers at hand before a page that shows them."""
        if path not in COUNTED:
            return
        waits = []
        for worker in self.workers.values():
            if worker.live:
                worker.asked = asyncio.Event()
                worker.link.send(("stats?",))
                waits.append(worker.asked)
        try:
            async with asyncio.timeout(PATIENCE_S):
                for each in waits:
                    await each.wait()
        except TimeoutError:
            log.warning("a worker does not say what it counted")

    def host(self, cluster: str, key: Any, name: str) -> int:
        """What the other workers counted of one host."""
        place = HOST_NAMES.index(name)
        return sum(each.hosts.get((cluster, key), NOTHING)[place] for each in self.workers.values())

    # --- the end ---

    async def close(self) -> None:
        """Let all workers end as the main process does."""
        self.closing = True
        self.tell(("stop",))
        if self.workers:
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await self._all_gone.wait()
            except TimeoutError:
                log.warning("workers did not end in time")
        self.nursery.close()


HOST_NAMES = (
    "cx_active",
    "cx_connect_fail",
    "cx_total",
    "rq_active",
    "rq_error",
    "rq_success",
    "rq_timeout",
    "rq_total",
    "rq_pending_active",
)
NOTHING = (0,) * len(HOST_NAMES)
