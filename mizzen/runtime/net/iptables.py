"""Service virtual IPs as iptables rules: one text for `iptables-restore` from Services and their endpoints. Pure.

Kube-proxy's semantics: ClusterIP, external IPs, NodePort, session affinity by client, traffic policies Local, REJECT where there
is no endpoint, masquerade where a reply would take another way. Chains carry the home's prefix. IPv4 only.
Source: Service and EndpointSlice; KEP-1669 (terminating endpoints serve when nothing else does). Not here: applying (proxier.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Object = dict[str, Any]
MARK = "0x4000/0x4000"


class Port(NamedTuple):
    """One port of a Service: what leads to it and where it leads. endpoints, local: "ip:port"."""

    name: str  # namespace/service:port, for comments and hashes
    protocol: str
    addresses: tuple[str, ...]
    port: int
    node_port: int
    endpoints: tuple[str, ...]
    local: tuple[str, ...]
    affinity_s: int
    internal_local: bool
    external_local: bool


def ports_of(service: Object, slices: Iterable[Object], node: str) -> list[Port]:
    """The ports of a Service on this node."""
    spec, metadata = service["spec"], service["metadata"]
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return []
    slices = [s for s in slices if s["addressType"] == "IPv4"]
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", 10800)
    ingress = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or ()
    every = [*(spec.get("clusterIPs") or [spec["clusterIP"]]), *(spec.get("externalIPs") or ())]
    every += [entry["ip"] for entry in ingress if entry.get("ip")]
    result = []
    for port in spec.get("ports") or ():
        name = port.get("name") or ""
        ready, near = _endpoints(slices, name, port.get("protocol", "TCP"), node)
        result.append(
            Port(
                name=f"{metadata['namespace']}/{metadata['name']}:{name or port['port']}",
                protocol=port.get("protocol", "TCP").lower(),
                addresses=tuple(ip for ip in every if ":" not in ip),
                port=port["port"],
                node_port=port.get("nodePort", 0),
                endpoints=ready,
                local=near,
                affinity_s=affinity,
                internal_local=spec.get("internalTrafficPolicy") == "Local",
                external_local=spec.get("externalTrafficPolicy") == "Local",
            )
        )
    return result


def _endpoints(slices: list[Object], name: str, protocol: str, node: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ready endpoints of a port (or, when there is none, those that still serve while they end), all and this node's."""
    ready, serving = set(), set()
    for entry in slices:
        number = next(
            (
                p["port"]
                for p in entry.get("ports") or ()
                if (p.get("name") or "") == name and p.get("protocol", "TCP") == protocol and p.get("port")
            ),
            None,
        )
        if number is None:
            continue
        for endpoint in entry.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            where = (f"{endpoint['addresses'][0]}:{number}", endpoint.get("nodeName") == node)
            if conditions.get("ready", True):
                ready.add(where)
            elif conditions.get("serving") and conditions.get("terminating"):
                serving.add(where)
    chosen = ready or serving
    return tuple(sorted(ip for ip, _ in chosen)), tuple(sorted(ip for ip, near in chosen if near))


def _hash(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12].upper()


def rules(ports: Iterable[Port], prefix: str, services_cidr: str = "") -> str:
    """The text for `iptables-restore --noflush` that makes the prefix's service chains so. Jumps into them: `jumps`."""
    nat: list[str] = []
    chains: dict[str, list[str]] = {f"{prefix}SVC": [], f"{prefix}NP": [], f"{prefix}POST": []}
    rejects: list[str] = []
    for port in sorted(ports):
        _port_rules(port, prefix, chains, rejects)
    chains[f"{prefix}SVC"].append(f"-m addrtype --dst-type LOCAL -j {prefix}NP")
    chains[f"{prefix}POST"] += [f"-m mark ! --mark {MARK} -j RETURN", "-j MARK --xor-mark 0x4000", "-j MASQUERADE"]
    nat += [f":{name} - [0:0]" for name in chains]
    nat += [f"-A {name} {rule}" for name, lines in chains.items() for rule in lines]
    filters = [f":{prefix}REJ - [0:0]", *(f"-A {prefix}REJ {rule}" for rule in rejects)]
    return "\n".join(["*nat", *nat, "COMMIT", "*filter", *filters, "COMMIT", ""])


def _port_rules(port: Port, prefix: str, chains: dict[str, list[str]], rejects: list[str]) -> None:
    comment = f'-m comment --comment "{port.name}"'
    inside = port.local if port.internal_local else port.endpoints
    outside = port.local if port.external_local else port.endpoints
    match = f"-p {port.protocol} -m {port.protocol} --dport"
    if inside:
        target = _balance(port, inside, prefix, chains)
        chains[f"{prefix}SVC"] += [f"-d {ip}/32 {match} {port.port} {comment} -j {target}" for ip in port.addresses]
    else:
        rejects += [f"-d {ip}/32 {match} {port.port} {comment} -j REJECT" for ip in port.addresses]
    if not port.node_port:
        return
    if not outside:
        local = "-m addrtype --dst-type LOCAL"
        rejects.append(f"{local} {match} {port.node_port} {comment} -j REJECT")
        return
    target = _balance(port, outside, prefix, chains)
    node_port = chains[f"{prefix}NP"]
    if not port.external_local:
        node_port.append(f"{match} {port.node_port} {comment} -j MARK --or-mark 0x4000")
    node_port.append(f"{match} {port.node_port} {comment} -j {target}")


def _balance(port: Port, endpoints: tuple[str, ...], prefix: str, chains: dict[str, list[str]]) -> str:
    """The chain that spreads a port's connections over endpoints; made once for each set of them."""
    name = f"{prefix}S{_hash(port.name, port.protocol, *endpoints)}"
    if name in chains:
        return name
    lines = chains[name] = []
    ends = [(f"{prefix}E{_hash(port.name, port.protocol, where)}", where) for where in endpoints]
    if port.affinity_s:
        lines += [
            f"-m recent --name {end} --rcheck --seconds {port.affinity_s} --reap --rsource -j {end}" for end, _ in ends
        ]
    for at, (end, where) in enumerate(ends):
        left = len(ends) - at
        share = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        lines.append(f"{share}-j {end}")
        remember = f"-m recent --name {end} --set --rsource " if port.affinity_s else ""
        chains[end] = [
            # A pod that reaches itself through its Service must see another address, or it answers itself directly.
            f"-s {where.rpartition(':')[0]}/32 -j MARK --or-mark 0x4000",
            f"{remember}-p {port.protocol} -m {port.protocol} -j DNAT --to-destination {where}",
        ]
    return name


JUMPS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "nat": (("PREROUTING", "SVC"), ("OUTPUT", "SVC"), ("POSTROUTING", "POST")),
    "filter": (("INPUT", "REJ"), ("FORWARD", "REJ"), ("OUTPUT", "REJ")),
}


def jumps(prefix: str, saved: str) -> str:
    """The text that leads the built-in chains into ours where `saved` (iptables-save) does not yet."""
    out = []
    for table, pairs in JUMPS.items():
        lines = []
        for chain, name in pairs:
            if f"-A {chain} -j {prefix}{name}" not in saved:
                lines.append(f"-I {chain} 1 -j {prefix}{name}")
        if lines:
            targets = dict.fromkeys(name for _, name in pairs)
            out += [f"*{table}", *(f":{prefix}{name} - [0:0]" for name in targets), *lines, "COMMIT"]
    return "\n".join([*out, ""]) if out else ""


def stale(prefix: str, saved: str, text: str) -> str:
    """The text that removes service and endpoint chains that `text` has no use for any more."""
    wanted = {line[1:].split()[0] for line in text.splitlines() if line.startswith(":")}
    have = [line[1:].split()[0] for line in saved.splitlines() if line.startswith((f":{prefix}S", f":{prefix}E"))]
    gone = [name for name in have if name not in wanted]
    if not gone:
        return ""
    flush = [f"-F {name}" for name in gone]
    return "\n".join(
        ["*nat", *(f":{name} - [0:0]" for name in gone), *flush, *(f"-X {name}" for name in gone), "COMMIT", ""]
    )
