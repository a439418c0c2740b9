"""A process as parent: what it answers the process of the next epoch, which takes over from it.

Asked in this order: `admin` (close it; the grandparent ends), `socket` (once for each address the child binds), `drain`
(stop listening), `stats` (again and again), `terminate`. Only a process of the same user, or root, is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.hot_restart.carried import Exported
from mizzen.proxy.hot_restart.link import PATIENCE_S, Flags, receive, send

if TYPE_CHECKING:
    from mizzen.proxy.server import Server

log = logging.getLogger("envoy.main")
GRACE_S = 10.0  # beyond the time that the child asked for, should it not live to say terminate


class Parent:
    """Listens for the next epoch's process."""

    def __init__(self, server: Server, flags: Flags) -> None:
        self.server = server
        self.flags = flags
        self.name = flags.name(flags.epoch)
        self.exported = Exported()
        self._socket: socket.socket | None = None
        self._children: set[socket.socket] = set()

    def listen(self) -> None:
        """Raises ConfigError when a living process has this base id and epoch."""
        self._forget_dead()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(self.name)
            if not self.name.startswith("\0"):
                os.chmod(self.name, self.flags.socket_mode)
        except OSError as error:
            sock.close()
            raise ConfigError(
                f"unable to bind domain socket with base_id={self.flags.base_id}, id={self.flags.epoch}, "
                f"errno={error.errno} (see --base-id option)"
            ) from error
        sock.listen(4)
        sock.setblocking(False)
        self._socket = sock
        self.server.loop.add_reader(sock.fileno(), self._accept)

    def _forget_dead(self) -> None:
        """A socket in the file system outlives its process."""
        if self.name.startswith("\0") or not os.path.exists(self.name):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(self.name)
            except ConnectionRefusedError:
                os.unlink(self.name)
            except OSError:
                return  # bind tells what is wrong

    def _accept(self) -> None:
        assert self._socket is not None
        try:
            conn, _ = self._socket.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("3i", conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            log.warning("hot restart: a process of user %d is not answered", uid)
            conn.close()
            return
        conn.settimeout(PATIENCE_S)
        self._children.add(conn)
        self.server.loop.add_reader(conn.fileno(), self._readable, conn)

    def _readable(self, conn: socket.socket) -> None:
        try:
            message, fds = receive(conn)
        except (OSError, ValueError):
            self._gone(conn)
            return
        for fd in fds:
            os.close(fd)
        self.server.spawn(self._respond(conn, message), "hot restart")

    def _gone(self, conn: socket.socket) -> None:
        if conn in self._children:
            self._children.discard(conn)
            self.server.loop.remove_reader(conn.fileno())
            conn.close()

    async def _respond(self, conn: socket.socket, message: dict[str, Any]) -> None:
        fds: tuple[int, ...] = ()
        ask = message.get("ask")
        answer: dict[str, Any] = {}
        if ask == "admin":
            answer = await self._admin()
        elif ask == "socket":
            found = self.server.listeners.listening(message["host"], message["port"])
            fds = () if found is None else (found.fileno(),)
        elif ask == "drain":
            await self._drain(message["shutdown_s"])
        elif ask == "stats":
            self.server.refresh_gauges()
            answer = {"stats": self.exported.news(self.server.stats.all()), "connections": len(self.server.connections)}
        elif ask == "terminate":
            self.server.stopping.set()
        try:
            send(conn, answer, fds)
        except OSError:
            self._gone(conn)

    async def _admin(self) -> dict[str, Any]:
        server = self.server
        if server.admin is not None:
            await server.admin.stop()
            await asyncio.sleep(0)
        if server.restart is not None:
            await server.restart.end_parent()
        return {"started": server.first_started}

    async def _drain(self, shutdown_s: float) -> None:
        log.info("shutting down due to child request: draining")
        await self.server.listeners.stop()
        self.server.drain()
        self.server.loop.call_later(shutdown_s + GRACE_S, self.server.stopping.set)

    def close(self) -> None:
        for conn in list(self._children):
            self._gone(conn)
        if self._socket is not None:
            self.server.loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            if not self.name.startswith("\0"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.name)
