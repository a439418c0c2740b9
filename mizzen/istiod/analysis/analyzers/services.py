"""Services, ServiceEntries, DestinationRules: IST0118, IST0128, IST0129, IST0134, IST0150, IST0173, IST0174, IST0177."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mizzen.api.istio.networking import ClientTLSSettings, DestinationRuleSpec
from mizzen.api.text import PROTOCOLS
from mizzen.istiod.analysis.analyzers.hosts import ALL, Hosts, scopes
from mizzen.istiod.analysis.analyzers.workloads import SYSTEM_NAMESPACES, is_control_plane, selects
from mizzen.istiod.analysis.model import NETWORKING, Mesh, Resource

# Ports that are taken for TCP whatever their name: SMTP, DNS, MySQL, MongoDB.
WELL_KNOWN_TCP = frozenset({25, 53, 3306, 27017})
KUBERNETES_PROTOCOLS = frozenset({"kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss"})
TOPOLOGY = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")


def port_names(mesh: Mesh) -> None:
    """IST0118, IST0150: ports whose protocol cannot be told."""
    for service in mesh.all("Service"):
        if service.namespace in SYSTEM_NAMESPACES or is_control_plane(service):
            continue
        external = service.spec.get("type") == "ExternalName"
        for at, port in enumerate(service.spec.get("ports") or ()):
            name = port.get("name") or ""
            if tells_protocol(port) and not (external and name == "tcp"):
                continue
            path = f"spec.ports[{at}].port"
            if external:
                mesh.report(service, "IST0150", at=path)
            else:
                mesh.report(service, "IST0118", name, port.get("port"), port.get("targetPort", 0), at=path)


def tells_protocol(port: Mapping[str, Any]) -> bool:
    """Whether a Service's port says which protocol it speaks."""
    name = str(port.get("appProtocol") or port.get("name") or "").lower()
    if port.get("protocol") == "UDP" or name in KUBERNETES_PROTOCOLS or name.startswith("grpc-web"):
        return True
    return name.partition("-")[0] in PROTOCOLS or port.get("port") in WELL_KNOWN_TCP


def addresses(mesh: Mesh) -> None:
    """IST0134: TCP ports of ServiceEntries without addresses."""
    config = mesh.config.default_config
    metadata = config.proxy_metadata if config is not None else {}
    flags = ("ISTIO_META_DNS_CAPTURE", "ISTIO_META_DNS_AUTO_ALLOCATE")
    if all(metadata.get(flag) == "true" for flag in flags):
        return
    for resource, entry in mesh.typed("ServiceEntry", NETWORKING):
        for at, port in enumerate(entry.spec.ports if not entry.spec.addresses else ()):
            if port.protocol in ("", "TCP"):
                mesh.report(resource, "IST0134", at=f"spec.ports[{at}].name")


def protocol_conflicts(mesh: Mesh) -> None:
    """IST0177: ServiceEntries that disagree on a port's protocol."""
    index: dict[tuple[str, str, int], list[tuple[str, Resource]]] = {}
    for resource, entry in mesh.typed("ServiceEntry", NETWORKING):
        for scope in scopes(entry.spec.export_to, resource.namespace):
            for host in entry.spec.hosts:
                for port in entry.spec.ports:
                    index.setdefault((scope, host, port.number), []).append((port.protocol.upper(), resource))
    reported = set[str]()
    for (scope, host, number), own in index.items():
        entries = own + (index.get((ALL, host, number), []) if scope != ALL else [])
        protocols = sorted({protocol for protocol, _ in entries})
        names = ", ".join(sorted({resource.full_name for _, resource in entries}))
        for _, resource in entries if len(protocols) > 1 else ():
            if resource.full_name not in reported:
                reported.add(resource.full_name)
                words = ", ".join(protocols)
                mesh.report(resource, "IST0177", names, host, number, words, at="metadata.name")


def verification(mesh: Mesh) -> None:
    """IST0128, IST0129: TLS to a server that is not verified."""
    for resource, rule in mesh.typed("DestinationRule", NETWORKING):
        policy = rule.spec.traffic_policy
        if policy is None:
            continue
        names = resource.full_name, resource.namespace
        if unverified(policy.tls, rule.spec):
            path = "spec.trafficPolicy.tls.caCertificates"
            mesh.report(resource, "IST0128", *names, policy.tls.mode, rule.spec.host, at=path)
        for at, level in enumerate(policy.port_level_settings):
            if unverified(level.tls, rule.spec):
                number = level.port.number if level.port is not None else 0
                path = f"spec.trafficPolicy.portLevelSettings[{at}].tls.caCertificates"
                mesh.report(resource, "IST0129", *names, level.tls.mode, rule.spec.host, number, at=path)


def unverified(tls: ClientTLSSettings | None, spec: DestinationRuleSpec) -> bool:
    """Whether a client has nothing to verify the server by."""
    if tls is None or tls.mode not in ("SIMPLE", "MUTUAL") or tls.ca_certificates:
        return False
    return not (tls.credential_name and spec.workload_selector is not None)


def subset_pods(mesh: Mesh) -> None:
    """IST0173, IST0174: hosts that are there, and subsets that select pods."""
    hosts = Hosts(mesh)
    nodes = {node.name: node.labels for node in mesh.all("Node")}
    pods = [_endpoint_labels(pod, nodes) for pod in mesh.all("Pod")]
    for resource, rule in mesh.typed("DestinationRule", NETWORKING):
        target = hosts.find(rule.spec.host, resource.namespace, rule.spec.export_to)
        if target is None:
            mesh.report(resource, "IST0174", rule.spec.host)
            continue
        for subset in rule.spec.subsets:
            selector = target.labels | dict(subset.labels)
            if not any(selects(selector, labels) for labels in pods):
                mesh.report(resource, "IST0173", subset.name)


def _endpoint_labels(pod: Resource, nodes: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """A pod's labels with its node's place, as its endpoints have them."""
    node = str(pod.spec.get("nodeName") or "")
    if node not in nodes:
        return pod.labels
    place = {key: nodes[node][key] for key in TOPOLOGY if key in nodes[node]}
    return {**pod.labels, **place, "kubernetes.io/hostname": node}
