"""All listeners: sockets, additions, updates in place, removals with draining.

A listener that cannot be compiled or bound is refused alone; the one that it would have replaced goes on.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from mizzen.proxy.config.errors import ConfigError
from mizzen.proxy.listener.listener import Accepted, ListenerConfig, bound_socket
from mizzen.proxy.net.addresses import Address, from_sockaddr


class Slot:
    """A listener's place: its sockets, and the configuration that new connections get."""

    def __init__(self, listener: ListenerConfig, api: bool, version: str = "") -> None:
        self.listener = listener
        self.api = api
        self.version = version
        self.sockets: list[Any] = []
        self.servers: list[Any] = []
        self.updated = 0.0
        self.draining = False
        self.paused = False


class Listeners:
    """The listeners of the process, by name."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.slots: dict[str, Slot] = {}
        self.warming: dict[str, Slot] = {}
        self.errors: dict[str, tuple[str, Any]] = {}
        self.stats: Any = server.stats.group(
            "listener_manager",
            [
                "listener_added",
                "listener_create_failure",
                "listener_create_success",
                "listener_in_place_updated",
                "listener_modified",
                "listener_removed",
                "listener_stopped",
            ],
            [
                "total_filter_chains_draining",
                "total_listeners_active",
                "total_listeners_draining",
                "total_listeners_warming",
                "workers_started",
            ],
        )
        self._addresses: dict[Address, ListenerConfig] = {}
        self.stopped = self.paused = False
        self._anonymous = 0

    def by_address(self, address: Address) -> ListenerConfig | None:
        """The listener that connections to an address belong to: the address itself, else any address at that port."""
        found = self._addresses.get(address)
        if found is None:
            found = self._addresses.get(("::" if ":" in address[0] else "0.0.0.0", address[1]))
        return found

    def _index(self) -> None:
        self._addresses = {}
        for slot in self.slots.values():
            for address in (slot.listener.address, *slot.listener.extra):
                self._addresses.setdefault(address, slot.listener)
        self.stats.total_listeners_active = len(self.slots)
        self.stats.total_listeners_warming = len(self.warming)
        if self.server.pool is not None:
            self.server.pool.listeners_changed()

    async def add(self, proto: Any, api: bool = False, version: str = "") -> bool:
        """Add a listener or update the one of its name; False when nothing changes. Raises ConfigError."""
        name = proto.name
        if not name:
            self._anonymous += 1
            proto.name = name = f"listener-{self._anonymous}"
        old = self.slots.get(name)
        if old is not None and old.listener.proto == proto:
            return False
        if old is not None and not old.api and api:
            return False  # a static listener is not replaced by discovery
        listener = ListenerConfig(proto, self.server)
        slot = Slot(listener, api, version)
        self.warming[name] = slot
        self._index()
        try:
            await self.server.wait_ready(listener, f"listener {name}")
        finally:
            current = self.warming.get(name)
            if current is slot:
                del self.warming[name]
        if current is not slot:
            return True  # a newer version came while this one warmed
        await self._install(slot, old)
        self.errors.pop(name, None)
        return True

    async def _install(self, slot: Slot, old: Slot | None) -> None:
        listener = slot.listener
        name = listener.name
        same = old is not None and (old.listener.address, old.listener.extra, old.listener.bind) == (
            listener.address,
            listener.extra,
            listener.bind,
        )
        if same and old is not None:
            slot.sockets, slot.servers, slot.paused = old.sockets, old.servers, old.paused
            for server in slot.servers:
                server.mizzen_slot.listener = listener
            self.drain(old.listener)
        elif listener.bind and not self.stopped:
            await self._bind(slot)
        if old is not None:
            if not same:
                await self._close(old)
                self.drain(old.listener)
            self.stats.listener_modified += 1
        else:
            self.stats.listener_added += 1
        self.stats.listener_create_success += 1
        self.slots[name] = slot
        self._index()

    async def _bind(self, slot: Slot) -> None:
        listener = slot.listener
        addresses = [listener.address, *listener.extra]
        try:
            for address in addresses:
                sock = await self._socket(address, listener)
                slot.sockets.append(sock)
                holder = Holder(listener)
                server = await self._serve(sock, holder)
                slot.servers.append(Bound(server, holder, from_sockaddr(sock.getsockname())))
        except ConfigError:
            await self._close(slot)
            raise
        if self.paused:
            await self._pause(slot)

    async def accepting(self, on: bool) -> None:
        """Whether listeners take connections; while they do not, clients wait in the sockets' queues."""
        self.paused = not on
        for slot in self.slots.values():
            await (self._resume(slot) if on else self._pause(slot))

    async def _pause(self, slot: Slot) -> None:
        if slot.paused or not slot.servers or slot.listener.bypass_overload:
            return
        slot.paused = True
        for at, bound in enumerate(slot.servers):
            slot.sockets[at] = slot.sockets[at].dup()  # closing the loop's server closes its own
            bound.server.close()

    async def _resume(self, slot: Slot) -> None:
        if slot.paused:
            slot.paused = False
            for bound, sock in zip(slot.servers, slot.sockets, strict=True):
                bound.server = await self._serve(sock, bound.mizzen_slot)

    async def _serve(self, sock: Any, holder: Holder) -> asyncio.AbstractServer:
        loop = self.server.loop
        if sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(lambda: Accepted(holder), sock=sock)  # type: ignore[no-any-return]
        return await loop.create_server(lambda: Accepted(holder), sock=sock, backlog=holder.listener.backlog)  # type: ignore[no-any-return]

    async def _socket(self, address: Address, listener: ListenerConfig) -> Any:
        if self.server.member is not None:
            port, descriptor = await self.server.member.socket_for(*address)
            if descriptor is not None:  # one that all workers accept from
                return socket.socket(fileno=descriptor)
            address = (address[0], port)
        return self.server.inherited(address) or bound_socket(address, listener, listener.reuse_port)

    async def _close(self, slot: Slot) -> None:
        for bound in slot.servers:
            bound.server.close()
        for sock in slot.sockets:
            sock.close()
        slot.servers, slot.sockets = [], []

    async def remove(self, name: str) -> bool:
        """Stop listening; connections drain."""
        self.warming.pop(name, None)
        slot = self.slots.pop(name, None)
        self._index()
        if slot is None:
            return False
        await self._close(slot)
        self.drain(slot.listener)
        self.stats.listener_removed += 1
        return True

    def drain(self, listener: ListenerConfig) -> None:
        """Ask the connections of a listener to end: idle ones now, busy ones after their request."""
        self.server.drain_listener(listener)

    async def stop(self, inbound_only: bool = False) -> None:
        """Close all sockets; connections stay."""
        self.stopped = not inbound_only
        for slot in self.slots.values():
            if inbound_only and slot.listener.direction != 1:
                continue
            if slot.servers:
                self.stats.listener_stopped += 1
            await self._close(slot)

    def listening(self, host: str, port: int) -> Any:
        """The listening socket of an address as configured; None where there is none."""
        for slot in self.slots.values():
            if slot.servers:
                for address, sock in zip((slot.listener.address, *slot.listener.extra), slot.sockets, strict=True):
                    if address == (host, port):
                        return sock
        return None

    def addresses(self) -> list[tuple[str, Address]]:
        """Name and bound address of every listener."""
        out = []
        for name, slot in self.slots.items():
            bound = [each.address for each in slot.servers]
            out += [(name, address) for address in bound or [slot.listener.address]]
        return out


class Holder:
    """What a listening socket gives its connections to."""

    __slots__ = ("listener",)

    def __init__(self, listener: ListenerConfig) -> None:
        self.listener = listener


class Bound:
    """A listening socket in the loop."""

    __slots__ = ("address", "mizzen_slot", "server")

    def __init__(self, server: asyncio.AbstractServer, holder: Holder, address: Address) -> None:
        self.server = server
        self.mizzen_slot = holder
        self.address = address
