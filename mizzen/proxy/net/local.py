"""This machine's own address, as Envoy's local info has it."""

from __future__ import annotations

import fcntl
import socket
import struct
from functools import cache

SIOCGIFADDR = 0x8915  # linux/sockios.h


_version = "v4"


def use_version(version: str) -> None:
    """v4 or v6: of which version `local_address` is (--local-address-ip-version)."""
    global _version
    _version = version
    local_address.cache_clear()


@cache
def local_address() -> str:
    """The first address of an interface other than loopback; 127.0.0.1 or ::1 when there is none."""
    return _first_v6() if _version == "v6" else _first_v4()


def _first_v6() -> str:
    with open("/proc/net/if_inet6") as file:
        for line in file:
            address, _, _, scope, _, _ = line.split()
            if scope == "00":  # global
                return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address))
    return "::1"


def _first_v4() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # an interface without an address
            text = socket.inet_ntoa(answer[20:24])
            if not text.startswith("127."):
                return text
    return "127.0.0.1"
