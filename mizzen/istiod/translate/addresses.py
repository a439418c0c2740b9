"""Which of a service's addresses one proxy uses, and what it binds to for "any address".

Takes a service and a proxy, gives IP addresses or CIDRs as text. Not here: endpoints' addresses.
"""

from __future__ import annotations

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import UNSPECIFIED, Service

UNSPECIFIED6 = "::"


def address_for(svc: Service, node: Node) -> str:
    """The virtual IP (or CIDR) that clients behind this proxy use; UNSPECIFIED when there is none for them."""
    if svc.is_kubernetes:
        return next((a for a in svc.addresses if _usable(a, node)), UNSPECIFIED)
    if svc.address == UNSPECIFIED and node.dns_capture:
        return next((a for a in svc.auto_addresses if _usable(a, node)), UNSPECIFIED)
    return svc.address


def _usable(address: str, node: Node) -> bool:
    """Of a family that the proxy has; a proxy of both takes either."""
    return node.supports_ipv6 if ":" in address else node.supports_ipv4


def wildcards(node: Node) -> tuple[str, ...]:
    """The unspecified addresses of the proxy's families, IPv4 first."""
    if not node.supports_ipv6:
        return (UNSPECIFIED,)
    return (UNSPECIFIED, UNSPECIFIED6) if node.supports_ipv4 else (UNSPECIFIED6,)


def localhosts(node: Node) -> tuple[str, ...]:
    """The loopback addresses of the proxy's families, IPv4 first."""
    if not node.supports_ipv6:
        return ("127.0.0.1",)
    return ("127.0.0.1", "::1") if node.supports_ipv4 else ("::1",)


def in_authority(address: str) -> str:
    """An address or host as it stands in an authority: IPv6 in brackets."""
    return f"[{address}]" if address.count(":") > 1 else address
