"""A small rtnetlink client: links, addresses, routes; one synchronous request at a time.

Takes interface names and addresses, talks to the namespace that the calling thread was in when the socket was made.
Raises OSError with the kernel's errno. Rejected: `ip -batch` (3 ms a process, and one more per namespace),
pyroute2 (0.1 s and 15 MB to import).
Source: rtnetlink(7), linux/if_link.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_network
from typing import Self

NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, GETADDR, NEWROUTE = 20, 22, 24
REQUEST, ACK, EXCL, CREATE, REPLACE, DUMP = 0x1, 0x4, 0x200, 0x400, 0x100, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
IFF_UP = 0x1

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 12, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER, IFLA_BRPORT_MODE = 1, 2, 1, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5


def attr(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = 4 + len(value)
    return struct.pack("HH", size, kind) + value + b"\0" * (-size % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attr(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in data by kind; of two of one kind the last."""
    found, at = {}, 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("HH", data, at)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found


def _name(name: str) -> bytes:
    return name.encode() + b"\0"


class Netlink:
    """A socket in the current thread's network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, kind: int, flags: int, payload: bytes) -> list[bytes]:
        """Send one message and give the payloads that answer it; raises OSError when the kernel refuses."""
        self._sequence += 1
        head = struct.pack("IHHII", 16 + len(payload), kind, flags | REQUEST, self._sequence, 0)
        self._socket.send(head + payload)
        answers: list[bytes] = []
        while True:
            data, at = self._socket.recv(1 << 17), 0
            while at + 16 <= len(data):
                size, what, _, sequence, _ = struct.unpack_from("IHHII", data, at)
                body = data[at + 16 : at + size]
                at += (size + 3) & ~3
                if sequence != self._sequence:
                    continue
                if what == NLMSG_ERROR:
                    if code := -struct.unpack_from("i", body)[0]:
                        raise OSError(code, os.strerror(code))
                    return answers
                if what == NLMSG_DONE:
                    return answers
                answers.append(body)
                if not flags & (ACK | DUMP):
                    return answers

    def index(self, name: str) -> int:
        """An interface's index; raises OSError(ENODEV)."""
        body = self.request(GETLINK, 0, struct.pack("BxHiII", 0, 0, 0, 0, 0) + attr(IFLA_IFNAME, _name(name)))[0]
        return int(struct.unpack_from("BxHiII", body)[2])

    def links(self) -> dict[str, int]:
        """All interfaces here: name to index."""
        found = {}
        for body in self.request(GETLINK, DUMP, struct.pack("BxHiII", 0, 0, 0, 0, 0)):
            name = attributes(body[16:])[IFLA_IFNAME].rstrip(b"\0").decode()
            found[name] = int(struct.unpack_from("BxHiII", body)[2])
        return found

    def mac(self, name: str) -> str:
        """An interface's hardware address, `02:00:…`."""
        body = self.request(GETLINK, 0, struct.pack("BxHiII", 0, 0, 0, 0, 0) + attr(IFLA_IFNAME, _name(name)))[0]
        return attributes(body[16:])[IFLA_ADDRESS].hex(":")

    def addresses(self, index: int) -> list[str]:
        """The IPv4 addresses of an interface, as `address/prefix`."""
        found = []
        for body in self.request(GETADDR, DUMP, struct.pack("BBBBI", socket.AF_INET, 0, 0, 0, 0)):
            _, prefix, _, _, where = struct.unpack_from("BBBBI", body)
            if where == index and (local := attributes(body[8:]).get(IFA_LOCAL)):
                found.append(f"{IPv4Address(local)}/{prefix}")
        return found

    def add_bridge(self, name: str) -> None:
        """Make a bridge; raises OSError(EEXIST) when the name is taken."""
        info = nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"bridge"))
        payload = struct.pack("BxHiII", 0, 0, 0, 0, 0) + attr(IFLA_IFNAME, _name(name)) + info
        self.request(NEWLINK, ACK | CREATE | EXCL, payload)

    def add_veth(self, name: str, peer: str, netns_fd: int, mtu: int, master: int) -> None:
        """Make a veth pair: `name` here on bridge `master` and up, `peer` in the namespace of netns_fd."""
        base = struct.pack("BxHiII", 0, 0, 0, 0, 0)
        there = base + attr(IFLA_IFNAME, _name(peer)) + attr(IFLA_NET_NS_FD, struct.pack("I", netns_fd))
        there += attr(IFLA_MTU, struct.pack("I", mtu))
        data = nest(IFLA_INFO_DATA, attr(VETH_INFO_PEER, there))
        payload = struct.pack("BxHiII", 0, 0, 0, IFF_UP, IFF_UP) + attr(IFLA_IFNAME, _name(name))
        payload += attr(IFLA_MTU, struct.pack("I", mtu)) + attr(IFLA_MASTER, struct.pack("I", master))
        payload += nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"veth"), data)
        self.request(NEWLINK, ACK | CREATE | EXCL, payload)

    def hairpin(self, index: int) -> None:
        """Let a bridge port send a frame back where it came from."""
        payload = struct.pack("BxHiII", socket.AF_BRIDGE, 0, index, 0, 0)
        self.request(SETLINK, ACK, payload + nest(IFLA_PROTINFO, attr(IFLA_BRPORT_MODE, b"\1")))

    def up(self, index: int) -> None:
        """Set an interface up."""
        self.request(NEWLINK, ACK, struct.pack("BxHiII", 0, 0, index, IFF_UP, IFF_UP))

    def set_mac(self, index: int, mac: bytes) -> None:
        """Set a hardware address (six bytes)."""
        self.request(NEWLINK, ACK, struct.pack("BxHiII", 0, 0, index, 0, 0) + attr(IFLA_ADDRESS, mac))

    def delete(self, name: str) -> bool:
        """Delete an interface; False when there is none of that name."""
        try:
            self.request(DELLINK, ACK, struct.pack("BxHiII", 0, 0, 0, 0, 0) + attr(IFLA_IFNAME, _name(name)))
        except OSError as error:
            if error.errno == 19:  # ENODEV
                return False
            raise
        return True

    def add_address(self, index: int, address: str) -> None:
        """Give an interface an address `a.b.c.d/prefix`; having it already is fine."""
        value: IPv4Interface | IPv6Interface = (IPv6Interface if ":" in address else IPv4Interface)(address)
        family = socket.AF_INET6 if value.version == 6 else socket.AF_INET
        payload = struct.pack("BBBBI", family, value.network.prefixlen, 0, 0, index)
        payload += attr(IFA_LOCAL, value.ip.packed) + attr(IFA_ADDRESS, value.ip.packed)
        self.request(NEWADDR, ACK | CREATE | REPLACE, payload)

    def add_route(self, index: int, destination: str, gateway: str | None = None) -> None:
        """Route a network (`0.0.0.0/0`) over an interface, on-link when there is no gateway."""
        network = ip_network(destination)
        family = socket.AF_INET6 if network.version == 6 else socket.AF_INET
        scope = 0 if gateway else 253  # universe, link
        payload = struct.pack("BBBBBBBBI", family, network.prefixlen, 0, 0, 254, 3, scope, 1, 0)
        if network.prefixlen:
            payload += attr(RTA_DST, network.network_address.packed)
        if gateway:
            payload += attr(RTA_GATEWAY, IPv4Address(gateway).packed)
        self.request(NEWROUTE, ACK | CREATE | REPLACE, payload + attr(RTA_OIF, struct.pack("I", index)))
