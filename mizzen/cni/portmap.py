"""The chained plugin `mizzen-portmap`: ports of the host that lead to a pod (`hostPort`).

Takes the runtime's `portMappings` and the address that the plugins before gave the pod; writes DNAT rules in chains of the home,
each marked with the container's id, so that DEL finds them without any record. Not here: which pod may have a port (the scheduler).
Source: CNI's conventions, capability `portMappings`: {hostPort, containerPort, protocol, hostIP}.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mizzen.cni.hostrules import run
from mizzen.cni.names import chain_prefix

LOCAL = "-m addrtype --dst-type LOCAL"
LOOPBACK = "127.0.0.0/8"
PROTOCOLS = ("tcp", "udp", "sctp")
PortMapping = Mapping[str, Any]


def add(tag: str, bridge: str, container: str, address: str, mappings: Sequence[PortMapping], folder: Path) -> None:
    """Lead the mapped ports to a pod. Raises OSError, and ValueError for a mapping that is none."""
    wanted = rules(tag, container, address, mappings)
    if not wanted:
        return
    # A connection from this host to its own loopback address leaves through the bridge.
    Path("/proc/sys/net/ipv4/conf", bridge, "route_localnet").write_text("1")
    with _one_at_a_time(folder):
        saved = run(["iptables-save", "-t", "nat"])
        _restore([*_chains(tag, saved), *(f"-D {rule}" for rule in of_container(tag, container, saved)), *wanted])


def delete(tag: str, container: str, folder: Path) -> None:
    """Take a pod's ports back; none is fine."""
    with _one_at_a_time(folder):
        if found := of_container(tag, container, run(["iptables-save", "-t", "nat"])):
            _restore([f"-D {rule}" for rule in found])


def missing(tag: str, container: str, mappings: Sequence[PortMapping]) -> bool:
    """Whether a mapping of a pod is not in force."""
    found = of_container(tag, container, run(["iptables-save", "-t", "nat"]))
    return sum("-j DNAT" in rule for rule in found) < len([one for one in mappings if one.get("hostPort")])


def collect(tag: str, attached: set[str], folder: Path) -> None:
    """Take back the ports of all containers that are not attached any more."""
    with _one_at_a_time(folder):
        saved = run(["iptables-save", "-t", "nat"])
        known = set(re.findall(rf'{chain_prefix(tag)}HOST[A-Z]* .*--comment "?([0-9a-zA-Z._-]+)', saved))
        gone = [rule for container in known - attached for rule in of_container(tag, container, saved)]
        if gone:
            _restore([f"-D {rule}" for rule in gone])


def rules(tag: str, container: str, address: str, mappings: Sequence[PortMapping]) -> list[str]:
    """The rules for a pod's mappings: to the pod, and with this host's address where the answer would not come back."""
    prefix, mark = chain_prefix(tag), f"-m comment --comment {container}"
    out = []
    for mapping in mappings:
        host_port, port = mapping.get("hostPort") or 0, mapping.get("containerPort") or 0
        protocol, ip = mapping.get("protocol") or "tcp", mapping.get("hostIP") or ""
        if not host_port:
            continue
        if protocol not in PROTOCOLS or not 0 < host_port < 65536 or not 0 < port < 65536:
            raise ValueError(f"portMappings: {protocol} {host_port} to {port} is no mapping of ports")
        if ":" in ip:
            raise ValueError(f"portMappings: hostIP {ip}: only IPv4 pods are made")
        to = f"-d {ip}/32 " if ip and ip != "0.0.0.0" else ""
        out.append(
            f"-A {prefix}HOSTPORT {to}-p {protocol} -m {protocol} --dport {host_port} {mark} -j DNAT "
            f"--to-destination {address}:{port}"
        )
        for source in (LOOPBACK, f"{address}/32"):
            out.append(
                f"-A {prefix}HOSTSNAT -s {source} -d {address}/32 -p {protocol} -m {protocol} --dport {port} {mark} "
                "-j MASQUERADE"
            )
    return out


def of_container(tag: str, container: str, saved: str) -> list[str]:
    """The rules of a container as iptables-save has them, without `-A `."""
    prefix = chain_prefix(tag)
    marks = (f"--comment {container} ", f'--comment "{container}" ')
    lines = (line for line in saved.splitlines() if line.startswith(f"-A {prefix}HOST"))
    return [line.removeprefix("-A ") for line in lines if any(mark in line for mark in marks)]


def _chains(tag: str, saved: str) -> Iterator[str]:
    """What declares the chains and jumps to them, unless they are there."""
    prefix = chain_prefix(tag)
    for chain, froms, match in (
        ("HOSTPORT", ("PREROUTING", "OUTPUT"), f" {LOCAL}"),
        ("HOSTSNAT", ("POSTROUTING",), ""),
    ):
        if f":{prefix}{chain} " not in saved:
            yield f":{prefix}{chain} - [0:0]"
        for origin in froms:
            if not re.search(rf"^-A {origin} .*-j {prefix}{chain}$", saved, re.MULTILINE):
                yield f"-I {origin} 1{match} -j {prefix}{chain}"


def _restore(lines: Sequence[str]) -> None:
    run(["iptables-restore", "-w", "5", "--noflush"], "\n".join(["*nat", *lines, "COMMIT", ""]))


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Plugins run side by side; what one reads another must not change before it has written."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "ports.lock", "a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
