"""This machine's own address, as Envoy's local info has it."""

from __future__ import annotations

import fcntl
import socket
import struct
from functools import cache

SIOCGIFADDR = 0x8915  # linux/sockios.h


@cache
def local_address() -> str:
    """The first IPv4 address of an interface other than loopback; 127.0.0.1 when there is none."""
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
