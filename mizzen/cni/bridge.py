"""The bridge plugin: a veth pair from the pod's namespace to the home's bridge, an address, and routes.

A pod's address is a /32 and all its traffic goes to the gateway on the bridge, also to pods beside it: so a Service's
address is translated back on every reply, whatever bridge-nf-call-iptables says. The pod's hardware address follows from
its IP, so that a reused address never meets a stale neighbour entry.
Takes a `Bridge` (what the network configuration says) and a namespace path; gives CNI results. IPv4 only.
Source: CNI specification 1.0.0.
"""

from __future__ import annotations

import contextlib
import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec

from mizzen.cni import netns as ns
from mizzen.cni.hostrules import apply_host_rules, remove_chains
from mizzen.cni.ipam import Ipam
from mizzen.cni.names import bridge_name, chain_prefix, veth_name
from mizzen.cni.netlink import Netlink

Result = dict[str, Any]


class Bridge(msgspec.Struct, frozen=True):
    """A pod network: `tag` names the home, `subnet` its addresses, `data_dir` where they are kept."""

    tag: str
    subnet: str
    data_dir: str
    mtu: int = 1500

    @property
    def name(self) -> str:
        """The bridge's interface name."""
        return bridge_name(self.tag)

    @property
    def ipam(self) -> Ipam:
        """The network's address book."""
        return Ipam(Path(self.data_dir), self.subnet)


def _sysctl(path: str, value: str) -> None:
    file = Path("/proc/sys", path)
    if file.read_text().strip() != value:
        file.write_text(value)


def ensure(net: Bridge) -> int:
    """Make the bridge, its address, forwarding and the host's rules; the bridge's index. Cheap when all is there."""
    with Netlink() as link:
        with contextlib.suppress(FileExistsError):
            link.add_bridge(net.name)
        index = link.index(net.name)
        address = f"{net.ipam.gateway}/{net.ipam.subnet.prefixlen}"
        if address not in link.addresses(index):
            link.add_address(index, address)
        link.up(index)
    _sysctl("net/ipv4/ip_forward", "1")
    _sysctl(f"net/ipv4/conf/{net.name}/send_redirects", "0")
    # Host processes reach Services by 127.0.0.1's NodePorts too, and replies must come back in over the bridge.
    _sysctl(f"net/ipv4/conf/{net.name}/route_localnet", "1")
    apply_host_rules(chain_prefix(net.tag), net.name, net.subnet)
    return index


def mac_of(address: IPv4Address) -> bytes:
    """The hardware address of a pod's interface: 0a:58 and the four octets."""
    return b"\x0a\x58" + address.packed


def add(net: Bridge, container: str, netns: str, ifname: str, bridge_index: int | None = None) -> Result:
    """CNI ADD. bridge_index: what `ensure` gave, when the caller keeps it."""
    index = bridge_index if bridge_index is not None else ensure(net)
    address = net.ipam.add(container, ifname)
    host = veth_name(net.tag, container + ifname)
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with Netlink() as link:
            link.delete(host)  # a half-done ADD before a crash
            link.add_veth(host, ifname, fd, net.mtu, index)
            link.hairpin(link.index(host))
            host_mac = link.mac(host)
    except OSError:
        net.ipam.release(container, ifname)
        raise
    finally:
        os.close(fd)
    gateway = str(net.ipam.gateway)
    with ns.inside(netns), Netlink() as link:
        link.up(link.index("lo"))
        pod = link.index(ifname)
        link.set_mac(pod, mac_of(address))
        link.add_address(pod, f"{address}/32")
        link.up(pod)
        link.add_route(pod, f"{gateway}/32")
        link.add_route(pod, "0.0.0.0/0", gateway)
    return {
        "interfaces": [
            {"name": net.name},
            {"name": host, "mac": host_mac},
            {"name": ifname, "mac": mac_of(address).hex(":"), "sandbox": netns},
        ],
        "ips": [{"address": f"{address}/32", "gateway": gateway, "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0", "gw": gateway}],
        "dns": {},
    }


def delete(net: Bridge, container: str, ifname: str) -> None:
    """CNI DEL: idempotent, works without the namespace."""
    with Netlink() as link:
        link.delete(veth_name(net.tag, container + ifname))
    net.ipam.release(container, ifname)


def verify(net: Bridge, container: str, netns: str, ifname: str) -> None:
    """CNI CHECK. Raises OSError that says what is not as ADD left it."""
    address = net.ipam.owned(container, ifname)
    if address is None:
        raise OSError(f"no address is reserved for {container}")
    with Netlink() as link:
        link.index(net.name)
        link.index(veth_name(net.tag, container + ifname))
    with ns.inside(netns), Netlink() as link:
        if f"{address}/32" not in link.addresses(link.index(ifname)):
            raise OSError(f"{ifname} does not have {address}")


def collect(net: Bridge, containers: set[str]) -> None:
    """CNI GC: free what belongs to none of containers."""
    net.ipam.keep_only(containers)


def remove(net: Bridge) -> None:
    """Take the whole network away: pods' veths, the bridge, the host's rules."""
    remove_interfaces(net.tag)
    remove_chains(chain_prefix(net.tag))


def remove_interfaces(tag: str) -> None:
    """Delete the bridge and every veth end of a home."""
    with Netlink() as link:
        for name in link.links():
            if name == bridge_name(tag) or (name.startswith(f"mz{tag}") and len(name) == 15):
                link.delete(name)
