"""The DNS proxy on 15053: names of the mesh are answered here, all others by the pod's resolvers. UDP and TCP.

Imported only where DNS is captured (dnspython costs 10 MB). Not here: the table's rules (names.py).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from mizzen.agent.environment import Environment
from mizzen.agent.messages import NameInfo, name_table
from mizzen.agent.names import Found, Names
from mizzen.api.errors import UsageError

log = logging.getLogger("mizzen.agent.dns")

TTL_S = 30
UDP_PLAIN, TCP_MAX = 512, 65535
FAMILIES = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}
RESOLV_CONF = Path("/etc/resolv.conf")


class Resolvers:
    """What /etc/resolv.conf says."""

    def __init__(self, text: str) -> None:
        lines = [line.split() for line in text.splitlines() if line.strip() and line[0] not in "#;"]
        self.servers = [words[1] for words in lines if words[0] == "nameserver" and len(words) > 1]
        search = [words[1:] for words in lines if words[0] in ("search", "domain")]
        self.search = search[-1] if search else []


class NameServer:
    """table: the last name table, None before the first."""

    def __init__(self, namespace: str, domain: str, environment: Environment) -> None:
        self._namespace, self._domain, self._environment = namespace, domain, environment
        self._resolvers = Resolvers(RESOLV_CONF.read_text() if RESOLV_CONF.exists() else "")
        self._names: Names | None = None
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.table: Mapping[str, NameInfo] | None = None

    def take(self, data: bytes) -> None:
        """A NameTable from the control plane. Raises PeerError."""
        self.table = name_table(data)
        self._names = Names(self.table, self._namespace, self._domain, self._resolvers.search)

    async def check(self) -> str | None:
        return None if self.table is not None else "DNS lookup table is not ready"

    async def start(self) -> None:
        host, _, port = self._environment.dns_address.rpartition(":")
        hosts = ["127.0.0.1", "::1"] if host == "localhost" else [host.strip("[]")]
        loop = asyncio.get_running_loop()
        for address in hosts:
            try:
                transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self), (address, int(port)))
                self._transports.append(transport)
                self._servers.append(await asyncio.start_server(self._stream, address, int(port)))
            except OSError as error:
                if not self._servers:
                    raise UsageError(f"DNS_PROXY_ADDR: {address}:{port} cannot be had: {error.strerror}") from error
                log.debug("no DNS on %s: %s", address, error)

    def close(self) -> None:
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()

    def spawn(self, query: bytes, transport: asyncio.DatagramTransport, address: tuple[str, int]) -> None:
        """Answers one datagram."""

        async def work() -> None:
            answer = await self.answer(query, tcp=False)
            if answer is not None:
                transport.sendto(answer, address)

        task = asyncio.create_task(work(), name="dns-query")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                answer = await self.answer(await reader.readexactly(size), tcp=True)
                if answer is None:
                    break
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()

    async def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The answer to one query; None for what is no query."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if not query.question:
            return reply(query, dns.rcode.SERVFAIL).to_wire()
        question = query.question[0]
        if self._names is None and not self._environment.dns_address.endswith(":53"):
            return reply(query, dns.rcode.SERVFAIL).to_wire()
        found = self._names.find(question.name.to_text()) if self._names and question.rdtype in FAMILIES else None
        if found is None:
            return await self._forward(wire, tcp=tcp) or reply(query, dns.rcode.SERVFAIL).to_wire()
        return sized(filled(query, found), query, tcp=tcp)

    async def _forward(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The first answer of the pod's resolvers, asked in turn or all at once."""
        servers = list(self._resolvers.servers)
        random.shuffle(servers)
        timeout_s = self._environment.dns_timeout_s
        if self._environment.dns_parallel and len(servers) > 1:
            asked = [asyncio.ensure_future(ask(server, wire, timeout_s, tcp=tcp)) for server in servers]
            try:
                for future in asyncio.as_completed(asked):
                    answer = await future
                    if answer is not None:
                        return answer
            finally:
                for task in asked:
                    task.cancel()
            return None
        for server in servers:
            answer = await ask(server, wire, timeout_s, tcp=tcp)
            if answer is not None:
                return answer
        return None


class Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams on."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._server.spawn(data, self._transport, addr)


class Answer(asyncio.DatagramProtocol):
    """Waits for one datagram."""

    def __init__(self) -> None:
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.received.done():
            self.received.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(exc)


async def ask(server: str, wire: bytes, timeout_s: float, *, tcp: bool) -> bytes | None:
    """One resolver's answer; None when there is none in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await (ask_tcp(server, wire) if tcp else ask_udp(server, wire))
    except (OSError, asyncio.IncompleteReadError):
        return None


async def ask_udp(server: str, wire: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Answer, remote_addr=(server, 53))
    try:
        transport.sendto(wire)
        return await protocol.received
    finally:
        transport.close()


async def ask_tcp(server: str, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack("!H", len(wire)) + wire)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(size)
    finally:
        writer.close()


def reply(query: dns.message.Message, rcode: int = dns.rcode.NOERROR) -> dns.message.Message:
    made = dns.message.make_response(query, recursion_available=True)
    made.set_rcode(dns.rcode.Rcode(rcode))
    return made


def filled(query: dns.message.Message, found: Found) -> dns.message.Message:
    """An authoritative answer with the addresses of the question's family, in random order."""
    question = query.question[0]
    made = reply(query)
    made.flags |= dns.flags.AA
    ips = [ip for ip in found.ips if ipaddress.ip_address(ip).version == FAMILIES[question.rdtype]]
    random.shuffle(ips)
    owner = question.name.to_text()
    if found.alias:
        made.answer.append(dns.rrset.from_text(owner, TTL_S, "IN", "CNAME", found.alias))
        owner = found.alias
    if ips:
        kind = dns.rdatatype.to_text(question.rdtype)
        made.answer.append(dns.rrset.from_text_list(owner, TTL_S, "IN", kind, ips))
    return made


def sized(made: dns.message.Message, query: dns.message.Message, *, tcp: bool) -> bytes:
    """The message for the wire; what a client cannot take over UDP is cut off and marked."""
    limit = TCP_MAX if tcp else max(UDP_PLAIN, query.payload if query.edns >= 0 else 0)
    try:
        return made.to_wire(max_size=limit)
    except dns.exception.TooBig:
        made.flags |= dns.flags.TC
        for rrset in made.answer:
            while len(rrset) > 1:
                rrset.pop()  # type: ignore[no-untyped-call]
                with suppress(dns.exception.TooBig):
                    return made.to_wire(max_size=limit)
        made.answer.clear()
        return made.to_wire(max_size=limit)
