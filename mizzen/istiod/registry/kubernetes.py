"""Kubernetes Services and EndpointSlices as services and endpoints of the model.

Takes lightkube structs. Not here: ServiceEntries (entries.py), merging the two (registry.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mizzen.istiod.registry.model import (
    PERSISTENT_SESSION,
    UNSPECIFIED,
    Endpoint,
    Health,
    Resolution,
    Service,
    ServicePort,
    ServiceTarget,
)
from mizzen.istiod.registry.protocol import Protocol, kubernetes_protocol
from mizzen.istiod.registry.workloads import Identity, Workload, selects

SERVICE_NAME = "kubernetes.io/service-name"
EXPORT_TO = "networking.istio.io/exportTo"


def created(meta: Any) -> float:
    """Seconds since 1970 of an object's creation; 0 when it has no time."""
    stamp = meta.creationTimestamp
    return stamp.timestamp() if stamp is not None else 0.0


def service_host(name: str, namespace: str, domain: str) -> str:
    """The host of a Kubernetes Service."""
    return f"{name}.{namespace}.svc.{domain}"


def service(obj: Any, identity: Identity) -> Service:
    """The service that a Kubernetes Service is."""
    meta, spec = obj.metadata, obj.spec
    namespace = meta.namespace or "default"
    annotations = dict(meta.annotations or {})
    external_name = spec.externalName or "" if spec.type == "ExternalName" else ""
    resolution, addresses = Resolution.CLIENT_SIDE_LB, _addresses(spec)
    if external_name:
        resolution, addresses = Resolution.ALIAS, (UNSPECIFIED,)
    elif not addresses:
        headless = "None" in (spec.clusterIP, *(spec.clusterIPs or ()))
        resolution = Resolution.PASSTHROUGH if headless or not spec.clusterIP else Resolution.CLIENT_SIDE_LB
        addresses = (UNSPECIFIED,)
    exports = frozenset(p.strip() for p in annotations.get(EXPORT_TO, "").split(",") if p.strip())
    distribution = annotations.get("networking.istio.io/traffic-distribution") or spec.trafficDistribution or ""
    return Service(
        host=service_host(meta.name, namespace, identity.domain),
        namespace=namespace,
        name=meta.name,
        object_name=meta.name,
        ports=tuple(_port(port, identity.target_ports) for port in spec.ports or ()),
        addresses=addresses,
        resolution=resolution,
        export_to=exports,
        created=created(meta),
        service_accounts=_accounts(annotations, namespace, identity),
        selector=dict(spec.selector or {}),
        labels=dict(meta.labels or {}),
        annotations=annotations,
        publish_not_ready=bool(spec.publishNotReadyAddresses),
        node_local=spec.internalTrafficPolicy == "Local",
        traffic_distribution=distribution,
        external_name=external_name,
    )


def _addresses(spec: Any) -> tuple[str, ...]:
    given = tuple(spec.clusterIPs or ()) or ((spec.clusterIP,) if spec.clusterIP else ())
    return tuple(ip for ip in given if ip and ip != "None")


def _port(port: Any, defaulted: bool) -> ServicePort:
    target = port.targetPort
    number = target if isinstance(target, int) else port.port if target is None and defaulted else 0
    return ServicePort(
        name=port.name or "",
        number=port.port,
        protocol=kubernetes_protocol(port.port, port.name or "", port.protocol or "TCP", port.appProtocol),
        target_port=number,
        target_name=target if isinstance(target, str) else "",
    )


def _accounts(annotations: Mapping[str, str], namespace: str, identity: Identity) -> tuple[str, ...]:
    canonical = annotations.get("alpha.istio.io/canonical-serviceaccounts", "")
    local = annotations.get("alpha.istio.io/kubernetes-serviceaccounts", "")
    full = [f"spiffe://{name.strip()}" for name in canonical.split(",") if name.strip()]
    return (*full, *(identity.spiffe(namespace, name.strip()) for name in local.split(",") if name.strip()))


def slice_endpoints(
    svc: Service, slices: Iterable[Any], pods: Mapping[tuple[str, str], Workload], identity: Identity
) -> list[Endpoint]:
    """The endpoints that a service's EndpointSlices list; those whose pod is not known are left out."""
    out: list[Endpoint] = []
    seen: set[tuple[str, str]] = set()
    for piece in slices:
        if piece.addressType == "FQDN":
            continue
        ports = [(port.name or "", port.port) for port in piece.ports or () if port.port]
        for entry in piece.endpoints or ():
            health = _health(entry.conditions, svc)
            pod = _pod_of(entry, piece.metadata.namespace or "default", pods)
            if pod is None and entry.targetRef is not None and entry.targetRef.kind == "Pod":
                continue
            for address in entry.addresses or ():
                for name, number in ports:
                    if (address, name) not in seen:
                        seen.add((address, name))
                        out.append(_endpoint(address, number, name, health, pod, entry, svc, identity))
    return out


def _pod_of(entry: Any, namespace: str, pods: Mapping[tuple[str, str], Workload]) -> Workload | None:
    ref = entry.targetRef
    if ref is None or ref.kind != "Pod":
        return None
    return pods.get((ref.namespace or namespace, ref.name))


def _health(conditions: Any, svc: Service) -> Health:
    """What is not said (as in slices made by hand) counts as said: an endpoint that is not ready then ends."""
    if conditions is None or conditions.ready is None or conditions.ready:
        return Health.HEALTHY
    sticky = svc.labels.get(PERSISTENT_SESSION) or svc.labels.get(f"{PERSISTENT_SESSION}-header")
    if conditions.terminating is not False:
        return Health.DRAINING if sticky and conditions.serving is not False else Health.TERMINATING
    return Health.UNHEALTHY


def _endpoint(
    address: str,
    port: int,
    name: str,
    health: Health,
    pod: Workload | None,
    entry: Any,
    svc: Service,
    identity: Identity,
) -> Endpoint:
    if pod is None:
        return Endpoint(
            address=address,
            port=port,
            port_name=name,
            network=identity.network,
            health=health,
            node_name=entry.nodeName or "",
            cluster_id=identity.cluster_id,
            labels={"topology.istio.io/cluster": identity.cluster_id},
        )
    return workload_endpoint(pod, name, port, health, address)


def workload_endpoint(w: Workload, name: str, port: int, health: Health | None = None, address: str = "") -> Endpoint:
    """The endpoint of a workload for one service port. name: of the service port; port: where the workload listens."""
    return Endpoint(
        address=address or w.address,
        port=port,
        port_name=name,
        labels=w.labels,
        service_account=w.service_account,
        network=w.network,
        locality=w.locality,
        weight=w.weight,
        tls_mode=w.tls_mode,
        health=w.health if health is None else health,
        workload=w.workload,
        namespace=w.namespace,
        host_name=w.host_name,
        sub_domain=w.sub_domain,
        node_name=w.node_name,
        cluster_id=w.cluster_id,
    )


def entry_endpoints(svc: Service, entries: Iterable[Workload]) -> list[Endpoint]:
    """Endpoints of a Kubernetes Service that its selector finds among WorkloadEntries."""
    if not svc.selector or svc.resolution is Resolution.ALIAS:
        return []
    out = []
    for entry in entries:
        if entry.namespace != svc.namespace or not entry.ips or not selects(svc.selector, entry.own_labels):
            continue
        for port in svc.ports:
            number = None if port.protocol is Protocol.UDP else entry_port(port, entry)
            if number is not None:
                out.append(workload_endpoint(entry, port.name, number))
    return out


def entry_port(port: ServicePort, entry: Workload) -> int | None:
    """Where a WorkloadEntry listens for a Kubernetes service port; None when a named target port is not among
    its ports.
    """
    if port.target_name:
        return entry.port_map.get(port.target_name)
    return entry.port_map.get(port.name) or port.target_port or port.number


def pod_targets(svc: Service, pod: Workload) -> list[ServiceTarget]:
    """The ports of a service that a pod listens on, one for each target port and protocol."""
    out: dict[tuple[int, Protocol], ServiceTarget] = {}
    for port in svc.ports:
        number = _container_port(port, pod)
        if number is not None and (number, port.protocol) not in out:
            out[number, port.protocol] = ServiceTarget(svc, port, number)
    return list(out.values())


def _container_port(port: ServicePort, pod: Workload) -> int | None:
    if not port.target_name:
        return port.target_port
    transport = "UDP" if port.protocol is Protocol.UDP else "TCP"
    for name, protocol, number in pod.container_ports:
        if name == port.target_name and protocol == transport:
            return number
    return None
