"""What Istio's admission demands of ServiceEntry, WorkloadEntry, WorkloadGroup and ProxyConfig beyond their schemas.

Takes the typed objects, reports errors and warnings by path.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from mizzen.api import text
from mizzen.api.istio.networking import (
    ProxyConfig,
    ReadinessProbe,
    ServiceEntry,
    ServiceEntrySpec,
    WorkloadEntry,
    WorkloadEntrySpec,
    WorkloadGroup,
)
from mizzen.api.validation.common import export_to, label_selector, selector, source_labels
from mizzen.api.validation.report import Report

_PROBE_HEADER = re.compile(r"[-A-Za-z0-9]+")


def service_entry(obj: ServiceEntry, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    label_selector(spec.workload_selector, "spec.workloadSelector", report)
    if report.errors:
        return
    if spec.workload_selector is not None and spec.endpoints:
        report.error("spec", "workloadSelector and endpoints exclude each other")
    report.need(bool(spec.hosts), "spec.hosts", "at least one host is needed")
    for at, host in enumerate(spec.hosts):
        if report.need(host != "*", f"spec.hosts[{at}]", "* is no service"):
            report.take(f"spec.hosts[{at}]", text.wildcard_domain(host))
            if text.partial_wildcard(host):
                report.warn(f"spec.hosts[{at}]", text.partial_wildcard(host))
    for at, address in enumerate(spec.addresses):
        report.take(f"spec.addresses[{at}]", text.subnet(address))
        if "/" in address and spec.resolution not in ("NONE", "STATIC"):
            report.error(f"spec.addresses[{at}]", f"a range of addresses does not go with resolution {spec.resolution}")
    ports(obj, report)
    RESOLUTIONS[spec.resolution](spec, report)
    told_apart(spec, report)
    export_to(spec.export_to, obj.metadata.namespace or "default", "spec.exportTo", report, to_no_one=True)


def ports(obj: ServiceEntry, report: Report) -> None:
    """Numbers and names, each once."""
    spec = obj.spec
    names, numbers = set[str](), set[int]()
    for at, port in enumerate(spec.ports):
        path = f"spec.ports[{at}]"
        report.need(port.name not in names, f"{path}.name", f"{port.name!r} stands twice")
        report.need(port.number not in numbers, f"{path}.number", f"{port.number} stands twice")
        names.add(port.name)
        numbers.add(port.number)
        if port.target_port:
            report.take(f"{path}.targetPort", text.port(port.target_port))
        report.take(f"{path}.name", text.port_name(port.name))
        report.take(f"{path}.protocol", text.protocol(port.protocol))
        report.take(f"{path}.number", text.port(port.number))
        if not spec.addresses and port.protocol in ("", "TCP") and not auto_allocates(obj):
            report.warn(path, "a TCP port needs addresses where none are allocated automatically", "addresses")


def auto_allocates(obj: ServiceEntry) -> bool:
    """Whether the object's hosts get virtual addresses of their own."""
    opted_out = (obj.metadata.labels or {}).get("networking.istio.io/enable-autoallocate-ip", "").lower() == "false"
    return not opted_out and obj.spec.resolution != "NONE" and not obj.spec.addresses


def no_resolution(spec: ServiceEntrySpec, report: Report) -> None:
    """NONE: connections go where they went."""
    report.need(not spec.endpoints, "spec.endpoints", "there are none with resolution NONE")
    if spec.workload_selector is not None:
        report.warn("spec.workloadSelector", "has no effect with resolution NONE")


def static(spec: ServiceEntrySpec, report: Report) -> None:
    """STATIC: endpoints by address."""
    names = {port.name for port in spec.ports}
    for at, endpoint in enumerate(spec.endpoints):
        workload_entry_spec(endpoint, f"spec.endpoints[{at}]", report, service_ports=names, names=False)


def by_dns(spec: ServiceEntrySpec, report: Report) -> None:
    """DNS, DNS_ROUND_ROBIN: endpoints, or else the hosts, are looked up."""
    if not spec.endpoints:
        for at, host in enumerate(spec.hosts):
            if text.fqdn(host):
                report.error(f"spec.hosts[{at}]", f"{host!r} cannot be looked up, and no endpoint is given instead")
    if spec.resolution == "DNS_ROUND_ROBIN":
        report.need(len(spec.endpoints) <= 1, "spec.endpoints", "there is one at most with resolution DNS_ROUND_ROBIN")
    names = {port.name for port in spec.ports}
    for at, endpoint in enumerate(spec.endpoints):
        path = f"spec.endpoints[{at}]"
        if not text.is_address(endpoint.address):
            report.take(f"{path}.address", text.fqdn(endpoint.address))
        source_labels(endpoint.labels, f"{path}.labels", report)
        entry_ports(endpoint, path, names, report)
    if spec.addresses and len(spec.hosts) > 1:
        tcp = ("tcp", "https", "tls", "mongo", "redis", "mysql")
        if any(port.protocol.lower() in tcp for port in spec.ports):
            report.warn("spec.hosts", "several hosts with addresses and a TCP port cannot be told apart")


def dynamic_dns(spec: ServiceEntrySpec, report: Report) -> None:
    """DYNAMIC_DNS: the host that a client names is looked up."""
    report.need(not spec.addresses, "spec.addresses", "there are none with resolution DYNAMIC_DNS")
    report.need(not spec.endpoints, "spec.endpoints", "there are none with resolution DYNAMIC_DNS")
    for at, host in enumerate(spec.hosts):
        report.need(host.startswith("*"), f"spec.hosts[{at}]", f"{host!r} is no wildcard, which DYNAMIC_DNS needs")
    for at, port in enumerate(spec.ports):
        named = text.is_http(port.protocol) or text.is_tls(port.protocol)
        report.need(named, f"spec.ports[{at}].protocol", "DYNAMIC_DNS needs HTTP or TLS, which name the host")


RESOLUTIONS = {
    "NONE": no_resolution,
    "STATIC": static,
    "DNS": by_dns,
    "DNS_ROUND_ROBIN": by_dns,
    "DYNAMIC_DNS": dynamic_dns,
}


def told_apart(spec: ServiceEntrySpec, report: Report) -> None:
    """Several hosts on a port can be told apart by what the protocol says, or need not be."""
    if spec.resolution == "NONE" or len(spec.hosts) <= 1:
        return
    for at, port in enumerate(spec.ports):
        if not text.is_http(port.protocol) and not text.is_tls(port.protocol):
            report.error(f"spec.ports[{at}].protocol", "several hosts cannot be told apart but by HTTP or TLS")
            return


def entry_ports(entry: WorkloadEntrySpec, path: str, service_ports: Collection[str] | None, report: Report) -> None:
    """Ports by the name of the service's port."""
    for name, number in entry.ports.items():
        here = f"{path}.ports[{name}]"
        if service_ports is not None and name not in service_ports:
            report.error(here, "the ServiceEntry has no port of this name")
        report.take(here, text.port_name(name))
        report.take(here, text.port(number))


def workload_entry(obj: WorkloadEntry, report: Report) -> None:
    """Checks the whole object."""
    workload_entry_spec(obj.spec, "spec", report)


def workload_entry_spec(
    entry: WorkloadEntrySpec,
    path: str,
    report: Report,
    *,
    service_ports: Collection[str] | None = None,
    names: bool = True,
) -> None:
    """One workload. service_ports: the ports that there are, None for any; names: whether the address may be a host."""
    address = entry.address
    if not address:
        if not report.need(entry.network != "", path, "one of address and network is needed"):
            return
        report.warn(f"{path}.address", "is not set")
    unix = address.startswith(text.UNIX)
    if unix:
        report.take(f"{path}.address", text.unix_path(address.removeprefix(text.UNIX)))
        report.need(not entry.ports, path, "a socket file has no ports")
    elif address and not text.is_address(address):
        wrong = text.fqdn(address) if names else f"{address!r} is not an IP address"
        report.take(f"{path}.address", wrong)
    entry_ports(entry, path, service_ports, report)
    source_labels(entry.labels, f"{path}.labels", report)
    if unix and service_ports is not None:
        report.need(len(service_ports) == 1, path, "a socket file needs a service with exactly one port")


def workload_group(obj: WorkloadGroup, report: Report) -> None:
    """Checks the whole object."""
    if obj.spec.metadata is not None:
        source_labels(obj.spec.metadata.labels, "spec.metadata.labels", report)
    if obj.spec.probe is not None and not report.errors:
        probe(obj.spec.probe, "spec.probe", report)


def probe(value: ReadinessProbe, path: str, report: Report) -> None:
    """One of HTTP, TCP and a command."""
    if value.http_get is not None:
        report.take(f"{path}.httpGet.port", text.port(value.http_get.port))
        scheme = value.http_get.scheme
        report.need(scheme in ("", "HTTP", "HTTPS"), f"{path}.httpGet.scheme", "is neither HTTP nor HTTPS")
        for at, header in enumerate(value.http_get.http_headers):
            here = f"{path}.httpGet.httpHeaders[{at}].name"
            report.need(bool(_PROBE_HEADER.fullmatch(header.name)), here, f"{header.name!r} is not a header's name")
    elif value.tcp_socket is not None:
        report.take(f"{path}.tcpSocket.port", text.port(value.tcp_socket.port))
    elif value.exec is not None:
        report.need(bool(value.exec.command), f"{path}.exec.command", "is required")
    elif value.grpc is not None:
        report.error(f"{path}.grpc", "not supported")
    else:
        report.error(path, "one of httpGet, tcpSocket and exec is needed")


def proxy_config(obj: ProxyConfig, report: Report) -> None:
    """Checks the whole object."""
    selector(obj.spec.selector, "spec.selector", report)
