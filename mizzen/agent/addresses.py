"""The addresses of this host's interfaces, by what Linux tells without any library.

Not here: which of them counts first (node.py).
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

SIOCGIFADDR = 0x8915


def interface_ips(excluded: Collection[str] = ()) -> list[str]:
    """IPv4 addresses, then IPv6 ones, without loopback, link-local and excluded interfaces."""
    result: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            if name == "lo" or name in excluded:
                continue
            with suppress(OSError):
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                result.append(socket.inet_ntoa(answer[20:24]))
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            address, *_, name = line.split()
            ip = ipaddress.IPv6Address(int(address, 16))
            if name != "lo" and name not in excluded and not ip.is_link_local:
                result.append(str(ip))
    return [ip for ip in result if not ipaddress.ip_address(ip).is_link_local]
