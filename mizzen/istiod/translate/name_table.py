"""NDS: the names that a proxy's DNS server answers.

Takes a snapshot and a proxy, gives one istio.networking.nds.v1.NameTable. Not here: the DNS server (agent).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import UNSPECIFIED, Endpoint, Health, Resolution, Service
from mizzen.istiod.snapshot import Snapshot
from mizzen.wire.istio import NameTable


def name_table(snap: Snapshot, node: Node) -> Any:
    """Every service that the proxy imports (not what its routes lead to besides) and that has an address, by host."""
    out = NameTable()
    if not node.is_sidecar:
        return out
    for svc in (svc for listener in snap.scope(node).egress for svc in listener.services):
        ips = _addresses(snap, node, svc)
        if svc.is_headless and node.supports_ipv4:
            _pods(snap, svc, out)
        if not ips:
            continue
        known = svc.host in out.table
        if known and not svc.is_kubernetes:
            if out.table[svc.host].registry == "External":
                out.table[svc.host].ips.extend(ips)
            continue
        entry = out.table[svc.host]
        entry.Clear()
        entry.registry = "Kubernetes" if svc.is_kubernetes else "External"
        entry.ips.extend(ips)
        if svc.is_kubernetes and not svc.host.endswith(".svc.clusterset.local"):
            entry.shortname = svc.name
            entry.namespace = svc.namespace
    return out


def _addresses(snap: Snapshot, node: Node, svc: Service) -> Sequence[str]:
    if svc.resolution is Resolution.ALIAS:
        return ()
    if svc.is_headless:
        if not node.supports_ipv4:  # such services have no IPv6 address of their own to be seen by
            return ()
        return list(dict.fromkeys(endpoint.address for endpoint in _ready(snap, svc)))
    given = [ip for ip in svc.addresses if ip != UNSPECIFIED and "/" not in ip]
    if svc.is_kubernetes:
        return _of_family(given, node)[:1]
    if not given and svc.auto_addresses and node.dns_capture:
        return svc.auto_addresses
    return given


def _of_family(ips: list[str], node: Node) -> list[str]:
    """Virtual IPs that a proxy can use: of its one family, or any when it has both or IPv4."""
    return ips if node.supports_ipv4 else [ip for ip in ips if ":" in ip]


def _ready(snap: Snapshot, svc: Service) -> list[Endpoint]:
    """Endpoints whose addresses a headless service's name stands for."""
    every = snap.endpoints(svc)
    return [e for e in every if svc.publish_not_ready or e.health is Health.HEALTHY]


def _pods(snap: Snapshot, svc: Service, out: Any) -> None:
    """Names of the single pods of a headless service: `<hostname>.<subdomain>.<rest of the host>`."""
    _, _, rest = svc.host.partition(".")
    for endpoint in _ready(snap, svc):
        if not endpoint.sub_domain or not endpoint.host_name:
            continue
        entry = out.table[f"{endpoint.host_name}.{endpoint.sub_domain}.{rest}"]
        if not entry.registry:
            entry.registry = "Kubernetes"
            entry.shortname = f"{endpoint.host_name}.{svc.name}"
            entry.namespace = svc.namespace
        if endpoint.address not in entry.ips:
            entry.ips.append(endpoint.address)
