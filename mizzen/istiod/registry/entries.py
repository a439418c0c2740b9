"""ServiceEntries as services and endpoints of the model.

Takes Istio ServiceEntries and the workloads that they may select. Not here: allocation of virtual IPs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from mizzen.api.istio.networking import ServiceEntrySpec
from mizzen.api.istio.networking import ServicePort as EntryPort
from mizzen.istiod.registry.kubernetes import created, workload_endpoint
from mizzen.istiod.registry.model import UNSPECIFIED, Endpoint, Health, Resolution, Service, ServicePort
from mizzen.istiod.registry.protocol import parse_protocol
from mizzen.istiod.registry.workloads import Identity, Workload, entry_workload, selects

RESOLUTIONS = {
    "NONE": Resolution.PASSTHROUGH,
    "STATIC": Resolution.CLIENT_SIDE_LB,
    "DNS": Resolution.DNS_LB,
    "DNS_ROUND_ROBIN": Resolution.DNS_ROUND_ROBIN_LB,
    "DYNAMIC_DNS": Resolution.DYNAMIC_DNS,
}


def services(obj: Any) -> list[Service]:
    """The services that a ServiceEntry declares: one for each host and address."""
    meta, spec = obj.metadata, obj.spec
    allocated = _allocated(obj)
    ports = tuple(
        ServicePort(name=p.name, number=p.number, protocol=parse_protocol(p.protocol), target_port=p.target_port)
        for p in spec.ports
    )
    return [
        Service(
            host=host,
            namespace=meta.namespace or "default",
            name=host,
            object_name=meta.name,
            ports=ports,
            registry="External",
            addresses=(address,),
            auto_addresses=() if spec.addresses else tuple(allocated.get(host, ())),
            resolution=RESOLUTIONS[spec.resolution or "NONE"],
            mesh_external=spec.location != "MESH_INTERNAL",
            export_to=frozenset(spec.export_to),
            created=created(meta),
            service_accounts=tuple(spec.subject_alt_names),
            selector=dict(spec.workload_selector.labels) if spec.workload_selector else {},
            labels=dict(meta.labels or {}),
            annotations=dict(meta.annotations or {}),
            kind="ServiceEntry",
        )
        for host in spec.hosts
        for address in _addresses(spec)
    ]


def _addresses(spec: ServiceEntrySpec) -> list[str]:
    """Addresses as written, a range of one address as that address; UNSPECIFIED when there is none."""
    out = []
    for text in spec.addresses:
        if "/" in text:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                continue
            text = str(network.network_address) if network.num_addresses == 1 else text
        out.append(text)
    return out or [UNSPECIFIED]


def _allocated(obj: Any) -> dict[str, list[str]]:
    """Host → virtual IPs written to the object's status."""
    out: dict[str, list[str]] = {}
    for address in (obj.status.addresses if obj.status is not None else None) or ():
        out.setdefault(address.host, []).append(address.value)
    return out


def endpoints(obj: Any, svc: Service, workloads: Iterable[Workload], identity: Identity) -> list[Endpoint]:
    """The endpoints of one of a ServiceEntry's services.

    workloads: WorkloadEntries and pods of its namespace, of which the workloadSelector chooses.
    """
    spec: ServiceEntrySpec = obj.spec
    if spec.workload_selector is not None:
        chosen = [w for w in workloads if w.ips and w.ready and selects(spec.workload_selector.labels, w.own_labels)]
    elif spec.endpoints:
        name = obj.metadata.name
        chosen = [
            entry_workload(f"{name}-{index}", svc.namespace, e, identity) for index, e in enumerate(spec.endpoints)
        ]
    elif svc.resolution.is_dns:
        return [
            Endpoint(
                svc.host,
                port.target_port or port.number,
                port.name,
                namespace=svc.namespace,
                workload=obj.metadata.name,
                cluster_id=identity.cluster_id,
                health=Health.UNKNOWN,
            )
            for port in spec.ports
        ]
    else:
        return []
    return [_endpoint(w, port) for port in spec.ports for w in chosen]


def _endpoint(w: Workload, port: EntryPort) -> Endpoint:
    path = socket_path(w.address)
    if path:
        return workload_endpoint(w, port.name, 0, address=path)
    return workload_endpoint(w, port.name, listen_port(w, port))


def listen_port(w: Workload, port: EntryPort) -> int:
    """Where a workload listens for a ServiceEntry's port."""
    return w.port_map.get(port.name) or port.target_port or port.number


def socket_path(address: str) -> str:
    """The path of a `unix://` address; "" for any other."""
    return address.removeprefix("unix://") if address.startswith("unix://") else ""
