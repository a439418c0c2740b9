"""Workloads: pods and WorkloadEntries as one kind of thing that endpoints are made of.

Takes lightkube Pods and Nodes and Istio WorkloadEntries, gives Workload. Not here: which service they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mizzen.api.istio.networking import WorkloadEntrySpec
from mizzen.istiod.registry.model import Health

TLS_MODE = "security.istio.io/tlsMode"
NETWORK = "topology.istio.io/network"
CLUSTER = "topology.istio.io/cluster"
REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
HOSTNAME = "kubernetes.io/hostname"


class Identity(msgspec.Struct, frozen=True):
    """What turns local names into mesh-wide ones: the trust domain, the cluster and its default network.

    target_ports: a Service port without targetPort means its own number, as the API server defaults it.
    """

    trust_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    network: str = ""
    domain: str = "cluster.local"
    target_ports: bool = True

    def spiffe(self, namespace: str, service_account: str) -> str:
        """The SPIFFE URI of a service account."""
        return f"spiffe://{self.trust_domain}/ns/{namespace}/sa/{service_account}"


class Workload(msgspec.Struct, frozen=True):
    """A pod or WorkloadEntry.

    kind: Pod or WorkloadEntry; own_labels: as written on it; labels: with its place added; service_account: SPIFFE URI;
    port_map: port name → number; name: of the object; workload: of what it belongs to (a Deployment's name, say).
    """

    kind: str
    name: str
    namespace: str
    ips: tuple[str, ...]
    own_labels: dict[str, str]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    service_account: str = ""
    network: str = ""
    locality: str = ""
    weight: int = 0
    tls_mode: str = "disabled"
    port_map: dict[str, int] = {}
    container_ports: tuple[tuple[str, str, int], ...] = ()
    workload: str = ""
    node_name: str = ""
    ready: bool = True
    host_name: str = ""
    sub_domain: str = ""
    cluster_id: str = ""

    @property
    def address(self) -> str:
        return self.ips[0] if self.ips else ""

    @property
    def health(self) -> Health:
        """What is known of it: a WorkloadEntry in force tells nothing."""
        if self.kind != "Pod":
            return Health.UNKNOWN
        return Health.HEALTHY if self.ready else Health.UNHEALTHY


def node_locality(labels: Mapping[str, str] | None) -> str:
    """`region/zone/subzone` of a Kubernetes Node's labels, "" when they tell nothing."""
    labels = labels or {}
    region = labels.get(REGION) or labels.get("failure-domain.beta.kubernetes.io/region") or ""
    zone = labels.get(ZONE) or labels.get("failure-domain.beta.kubernetes.io/zone") or ""
    subzone = labels.get(SUBZONE) or ""
    return f"{region}/{zone}/{subzone}" if region or zone or subzone else ""


def augmented(labels: Mapping[str, str], identity: Identity, locality: str, node: str, network: str) -> dict[str, str]:
    """Labels with the place of the workload added, for subset and failover matching."""
    out = dict(labels)
    region, zone, subzone = (*locality.split("/", 2), "", "", "")[:3]
    extra = {
        REGION: region,
        ZONE: zone,
        SUBZONE: subzone,
        CLUSTER: identity.cluster_id,
        NETWORK: network,
        HOSTNAME: node,
    }
    out.update({key: value for key, value in extra.items() if value})
    return out


def pod_workload(pod: Any, localities: Mapping[str, str], identity: Identity) -> Workload | None:
    """The workload that a pod is; None for one that has ended or has no address yet.

    localities: Node name → `region/zone/subzone`.
    """
    meta, spec, status = pod.metadata, pod.spec, pod.status
    if status is None or (status.phase or "") in ("Succeeded", "Failed"):
        return None
    ips = tuple(ip.ip for ip in status.podIPs or () if ip.ip) or ((status.podIP,) if status.podIP else ())
    if not ips:
        return None
    labels = dict(meta.labels or {})
    node_name = (spec.nodeName if spec else None) or ""
    override = labels.get("topology.istio.io/locality") or labels.get("istio-locality") or ""
    locality = (override if "/" in override else override.replace(".", "/")) or localities.get(node_name, "")
    network = labels.get(NETWORK) or identity.network
    ports = tuple(
        (port.name or "", port.protocol or "TCP", port.containerPort)
        for container in _containers(spec)
        for port in container.ports or ()
    )
    account = (spec.serviceAccountName if spec else None) or ""
    return Workload(
        kind="Pod",
        name=meta.name,
        namespace=meta.namespace or "default",
        ips=ips,
        own_labels=labels,
        labels=augmented(labels, identity, locality, node_name, network),
        annotations=dict(meta.annotations or {}),
        service_account=identity.spiffe(meta.namespace or "default", account) if account else "",
        network=network,
        locality=locality,
        tls_mode=labels.get(TLS_MODE) or "disabled",
        port_map={name: number for name, _, number in ports if name},
        container_ports=ports,
        workload=workload_name(pod),
        node_name=node_name,
        ready=any(c.type == "Ready" and c.status == "True" for c in status.conditions or ()),
        host_name=(spec.hostname if spec else None) or "",
        sub_domain=(spec.subdomain if spec else None) or "",
        cluster_id=identity.cluster_id,
    )


def _containers(spec: Any) -> list[Any]:
    """Containers whose ports count: the plain ones and init containers that keep running."""
    if spec is None:
        return []
    native = [c for c in spec.initContainers or () if c.restartPolicy == "Always"]
    return [*(spec.containers or ()), *native]


def workload_name(pod: Any) -> str:
    """The name of what owns a pod: its Deployment, CronJob, other controller, or the pod itself."""
    meta = pod.metadata
    owner = next((ref for ref in meta.ownerReferences or () if ref.controller), None)
    if owner is None:
        return meta.name or ""
    template_hash = (meta.labels or {}).get("pod-template-hash", "")
    name: str = owner.name
    if owner.kind == "ReplicaSet" and template_hash and name.endswith(template_hash):
        return name.removesuffix(template_hash).rstrip("-")
    if owner.kind == "Job":
        head, _, tail = name.rpartition("-")
        if head and tail.isdigit() and len(tail) >= 8:
            return head
    return name


def entry_workload(
    name: str, namespace: str, spec: WorkloadEntrySpec, identity: Identity, annotations: Mapping[str, str] | None = None
) -> Workload:
    """The workload that a WorkloadEntry is, one of its own or one listed in a ServiceEntry."""
    labels = dict(spec.labels)
    network = spec.network or labels.get(NETWORK) or identity.network
    return Workload(
        kind="WorkloadEntry",
        name=name,
        namespace=namespace,
        ips=(spec.address,) if spec.address else (),
        own_labels=labels,
        labels=augmented(labels, identity, spec.locality, "", network),
        annotations=dict(annotations or {}),
        service_account=identity.spiffe(namespace, spec.service_account) if spec.service_account else "",
        network=network,
        locality=spec.locality,
        weight=spec.weight,
        tls_mode=labels.get(TLS_MODE) or ("istio" if spec.service_account else "disabled"),
        port_map=dict(spec.ports),
        workload=labels.get("service.istio.io/workload-name") or name,
        cluster_id=identity.cluster_id,
    )


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label of the selector is among the labels with the same value."""
    return all(labels.get(key) == value for key, value in selector.items())
