"""A process's part in hot restarts: it takes over from the process of the epoch before, and is there for the next one.

The parent is asked in turn: while this process starts, the loop waits for the answers (a parent answers at once); once it
serves, a thread does. Not here: what a parent does (parent.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from typing import TYPE_CHECKING, Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.hot_restart.carried import Carried
from mizzen.proxy.hot_restart.link import PATIENCE_S, Flags, receive, send
from mizzen.proxy.hot_restart.parent import Parent

if TYPE_CHECKING:
    from mizzen.proxy.net.addresses import Address
    from mizzen.proxy.server import Server

log = logging.getLogger("envoy.main")
STATS_S = 0.5  # how often the parent's statistics are asked for
DYNAMIC_IDS = 1 << 30


class HotRestart:
    """Both parts: child of the epoch before, parent of the next."""

    def __init__(self, server: Server, flags: Flags) -> None:
        self.server = server
        self.flags = flags
        self.parent: socket.socket | None = None
        self.carried = Carried()
        self.answering = Parent(server, flags)
        self._following: asyncio.Task[Any] | None = None
        self._ending = asyncio.Event()

    def begin(self) -> None:
        """Before anything is bound: the parent gives its admin address up. Raises ConfigError."""
        server, flags = self.server, self.flags
        server.group.hot_restart_epoch = flags.epoch
        server.group.hot_restart_generation = flags.epoch + 1
        if flags.epoch:
            self._connect()
        self.answering.listen()
        if self.parent is not None:
            server.first_started = self._ask({"ask": "admin"})[0].get("started", server.started)
            server.stats.carried = self.carried

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(self.flags.name(self.flags.epoch - 1))
        except OSError as error:
            sock.close()
            if not self.flags.skip_on_no_parent:
                raise ConfigError(
                    f"hot restart: no process of epoch {self.flags.epoch - 1} with base id {self.flags.base_id} "
                    f"answers: {error.strerror} (see --skip-hot-restart-on-no-parent)"
                ) from error
            log.warning("hot restart: there is no parent; starting without")
            return
        self.parent = sock

    def _ask(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        """The parent's answer. Raises ConfigError when it has none."""
        assert self.parent is not None
        try:
            send(self.parent, message)
            return receive(self.parent)
        except (OSError, ValueError) as error:
            raise ConfigError(f"hot restart: the parent does not answer: {error}") from error

    def inherit(self, address: Address) -> socket.socket | None:
        """The parent's listening socket of an address, where it has one and still listens."""
        if self.parent is None or self._following is not None:
            return None
        _, fds = self._ask({"ask": "socket", "host": address[0], "port": address[1]})
        if not fds:
            return None
        sock = socket.socket(fileno=fds[0])
        for fd in fds[1:]:
            os.close(fd)
        sock.setblocking(False)
        return sock

    def live(self) -> None:
        """This process accepts connections: the parent need not any more."""
        if self.parent is not None:
            self._following = self.server.spawn(self._follow(), "hot restart parent")

    async def _follow(self) -> None:
        """See the parent to its end."""
        shutdown_s = self.server.options.parent_shutdown_time_s
        loop, end = self.server.loop, time.monotonic() + shutdown_s
        try:
            await loop.run_in_executor(None, self._ask, {"ask": "drain", "shutdown_s": shutdown_s})
            while not self._ending.is_set() and (left := end - time.monotonic()) > 0:
                await self._stats()
                try:
                    async with asyncio.timeout(min(STATS_S, left)):
                        await self._ending.wait()
                except TimeoutError:
                    continue
            await self._stats()
            await loop.run_in_executor(None, self._ask, {"ask": "terminate"})
        except ConfigError as error:
            log.info("%s", error)  # it was ended by somebody else
        finally:
            self.carried.gauges = {}
            self.server.parent_connections = 0
            if self.parent is not None:
                self.parent.close()
                self.parent = None

    async def _stats(self) -> None:
        if self.flags.skip_parent_stats:
            return
        answer, _ = await self.server.loop.run_in_executor(None, self._ask, {"ask": "stats"})
        self.carried.take(answer.get("stats", ()))
        self.server.parent_connections = answer.get("connections", 0)

    async def end_parent(self) -> None:
        """This process has a child itself: what is before it ends now."""
        self._ending.set()
        if self._following is not None:
            await asyncio.wait({self._following}, timeout=PATIENCE_S / 2)

    def close(self) -> None:
        self.answering.close()


def free_base_id(flags: Flags) -> int:
    """A base id that no process has."""
    while True:
        base_id = random.randrange(1, DYNAMIC_IDS)
        wanted = Flags(base_id, 0, flags.socket_path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(wanted.name(0))
            except OSError:
                return base_id
