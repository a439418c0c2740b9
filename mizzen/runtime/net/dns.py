"""Cluster DNS over UDP and TCP: answers names of the cluster from a Zone, hands everything else to the host's resolvers.

Messages are dnspython's. Source: RFC 1035, RFC 2308 (negative answers), RFC 7766 (TCP), RFC 6891 (EDNS sizes).
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from mizzen.runtime.net.zone import Record, Zone

log = logging.getLogger("mizzen.dns")
TTL_S = 5
FORWARD_S = 3.0
UDP_SIZE = 512


def answer(query: dns.message.Message, zone: Zone) -> dns.message.Message | None:
    """The answer to a query for a name of the cluster; None for any other name."""
    if len(query.question) != 1:
        return _refused(query, dns.rcode.FORMERR)
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    if not zone.covers(name):
        return None
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    records = zone.find(name)
    if records is None:
        response.set_rcode(dns.rcode.NXDOMAIN)
        _soa(response, zone)
        return response
    wanted = dns.rdatatype.to_text(question.rdtype)
    _fill(response, question.name, records, wanted, zone)
    if not response.answer:
        _soa(response, zone)
    return response


def _fill(response: dns.message.Message, name: dns.name.Name, records: list[Record], wanted: str, zone: Zone) -> None:
    found = [record for record in records if wanted in (record.type, "ANY")]
    alias = next((record for record in records if record.type == "CNAME"), None)
    if alias is not None and not found:
        found = [alias]
    for kind in dict.fromkeys(record.type for record in found):
        values = [record.value + ("." if kind in ("CNAME", "PTR") else "") for record in found if record.type == kind]
        response.answer.append(dns.rrset.from_text(name, TTL_S, "IN", kind, *values))
    for record in found:
        if record.type == "SRV":
            target = record.value.split()[3]
            for extra in zone.find(target.rstrip(".")) or ():
                if extra.type in ("A", "AAAA"):
                    response.additional.append(dns.rrset.from_text(target, TTL_S, "IN", extra.type, extra.value))


def _soa(response: dns.message.Message, zone: Zone) -> None:
    text = f"ns.dns.{zone.domain}. hostmaster.{zone.domain}. 1 7200 1800 86400 {TTL_S}"
    response.authority.append(dns.rrset.from_text(f"{zone.domain}.", TTL_S, "IN", "SOA", text))


def _refused(query: dns.message.Message, code: Any) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(code)
    return response


class DnsServer:
    """Listens at an address; zone(): the names of now; resolvers: "ip" or "ip:port" of who knows the rest."""

    def __init__(self, zone: Callable[[], Zone], resolvers: list[str]) -> None:
        self._zone, self._resolvers = zone, resolvers
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, host: str, port: int) -> int:
        """Listen on UDP and TCP; the port."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._stream, host, port)
        self.port = int(self._tcp.sockets[0].getsockname()[1])
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, self.port))
        return self.port

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in tuple(self._tasks):
            task.cancel()

    def received(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        """One UDP query."""
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        limit = max(UDP_SIZE, query.payload if query.edns >= 0 else 0)
        response = answer(query, self._zone())
        if response is not None:
            reply(_wire(response, limit))
            return
        task = asyncio.create_task(self._forwarded(query, data, limit, reply), name="dns forward")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forwarded(
        self, query: dns.message.Message, data: bytes, limit: int, reply: Callable[[bytes], None]
    ) -> None:
        reply(await self._ask(data) or _wire(_refused(query, dns.rcode.SERVFAIL), limit))

    async def _ask(self, data: bytes) -> bytes | None:
        """The first resolver's answer, one after the other."""
        loop = asyncio.get_running_loop()
        for resolver in self._resolvers:
            host, _, port = resolver.partition(":") if resolver.count(":") == 1 else (resolver, "", "")
            future: asyncio.Future[bytes] = loop.create_future()
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    partial(_OneAnswer, future), remote_addr=(host, int(port or 53))
                )
            except OSError:
                continue
            try:
                transport.sendto(data)
                async with asyncio.timeout(FORWARD_S):
                    return await future
            except (TimeoutError, OSError):
                continue
            finally:
                transport.close()
        return None

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(10.0):
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(size)
                query = dns.message.from_wire(data)
                response = answer(query, self._zone())
                wire = _wire(response, 65535) if response is not None else await self._ask(data)
                if wire is None:
                    wire = _wire(_refused(query, dns.rcode.SERVFAIL), 65535)
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError, dns.exception.DNSException):
            pass
        finally:
            writer.close()


def _wire(message: dns.message.Message, limit: int) -> bytes:
    try:
        return message.to_wire(max_size=limit)
    except dns.exception.TooBig:
        message.answer.clear()
        message.authority.clear()
        message.additional.clear()
        message.flags |= dns.flags.TC
        return message.to_wire()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._server.received(data, lambda reply: self._transport.sendto(reply, addr))


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, future: asyncio.Future[bytes]) -> None:
        self._future = future

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self._future.done():
            self._future.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._future.done():
            self._future.set_exception(exc)
