"""What to capture: one frozen value that every rule set is made from.

Takes the words of istio-iptables' flags and environment variables; gives lists, checked.
Not here: where the words come from (commands.py, pod.py) and the rules themselves (tables.py).
"""

from __future__ import annotations

import ipaddress

import msgspec

from mizzen.cni.rules.errors import CaptureError

PROXY_PORT, INBOUND_PORT, TUNNEL_PORT, DNS_PORT = 15001, 15006, 15008, 15053
WILDCARD = "*"


class CaptureConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One pod's interception. Port lists hold numbers as text or the one word `*`; ranges are CIDRs or `*`.

    Empty `inbound_ports` means no inbound capture, empty `outbound_ranges` and `outbound_ports` no outbound capture.
    """

    proxy_port: int = PROXY_PORT
    inbound_port: int = INBOUND_PORT
    tunnel_port: int = TUNNEL_PORT
    proxy_uids: tuple[str, ...] = ("1337",)
    proxy_gids: tuple[str, ...] = ("1337",)
    mode: str = ""  # TPROXY; anything else redirects
    inbound_ports: tuple[str, ...] = ()
    inbound_ports_exclude: tuple[str, ...] = ()
    outbound_ports: tuple[str, ...] = ()
    outbound_ports_exclude: tuple[str, ...] = ()
    outbound_ranges: tuple[str, ...] = ()
    outbound_ranges_exclude: tuple[str, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    virtual_interfaces: tuple[str, ...] = ()  # of virtual machines: their traffic is outbound though it comes in
    tproxy_mark: str = "1337"
    tproxy_route_table: str = "133"
    owner_groups: tuple[str, ...] = (WILDCARD,)
    owner_groups_exclude: tuple[str, ...] = ()
    loopback_cidr: str = "127.0.0.1/32"
    redirect_dns: bool = False
    capture_all_dns: bool = False
    dns_servers_v4: tuple[str, ...] = ()
    dns_servers_v6: tuple[str, ...] = ()
    drop_invalid: bool = False
    ipv6: bool = False
    dual_stack: bool = False

    def __post_init__(self) -> None:
        for field in ("inbound_ports", "outbound_ports", "inbound_ports_exclude", "outbound_ports_exclude"):
            check_ports(field, getattr(self, field), star=field == "inbound_ports")
        check_ranges("outbound_ranges", self.outbound_ranges, star=True)
        check_ranges("outbound_ranges_exclude", self.outbound_ranges_exclude, star=False)

    @property
    def tproxy(self) -> bool:
        return self.mode == "TPROXY"

    @property
    def with_ipv6(self) -> bool:
        """IPv6 rules exist only where the pod has an IPv6 address, or when told so."""
        return self.ipv6 or self.dual_stack

    @property
    def dns_captured(self) -> bool:
        """Without a known resolver there is nothing to capture, unless all of DNS is."""
        return self.redirect_dns and (self.capture_all_dns or bool(self.dns_servers_v4 or self.dns_servers_v6))

    @property
    def ranges_have_loopback(self) -> bool:
        """Whether a loopback range was asked for by name: then what an application sends itself is captured too."""
        return any(ipaddress.ip_network(cidr, strict=False).is_loopback for cidr in self.outbound_ranges if cidr != "*")


def words(text: str) -> tuple[str, ...]:
    """A comma list; empty text is an empty list."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def check_ports(field: str, ports: tuple[str, ...], *, star: bool) -> None:
    """Raises CaptureError for what is no port number, or a star in company or out of place."""
    if star and ports == (WILDCARD,):
        return
    for port in ports:
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise CaptureError(field, f"{port!r} is no port")


def check_ranges(field: str, ranges: tuple[str, ...], *, star: bool) -> None:
    """Raises CaptureError for what is no CIDR, or a star in company or out of place."""
    if star and ranges == (WILDCARD,):
        return
    for cidr in ranges:
        if cidr == WILDCARD:
            raise CaptureError(field, "`*` stands alone, and only among what is included")
        try:
            ipaddress.ip_network(cidr, strict=False)
        except ValueError as error:
            raise CaptureError(field, f"{cidr!r} is no address range") from error
