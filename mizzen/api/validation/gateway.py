"""What Istio's admission demands of Gateway and Sidecar beyond their schemas.

Takes the typed objects, reports errors and warnings by path.
"""

from __future__ import annotations

import re

from mizzen.api import text
from mizzen.api.istio.networking import (
    Gateway,
    IstioEgressListener,
    IstioIngressListener,
    OutboundTrafficPolicy,
    Server,
    ServerTLSSettings,
    Sidecar,
    SidecarPort,
)
from mizzen.api.validation.common import destination, label_selector
from mizzen.api.validation.destination_rule import connection_pool
from mizzen.api.validation.report import Report

CIPHERS = frozenset(
    [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "DES-CBC3-SHA",
    ]
)


def gateway(obj: Gateway, report: Report) -> None:
    """Checks the whole object."""
    name = obj.metadata.name or ""
    report.need(text.label(name), "metadata.name", f"{name!r} is not a DNS label, as a Gateway's name has to be")
    report.need(bool(obj.spec.servers), "spec.servers", "at least one server is needed")
    names: set[str] = set()
    for at, server in enumerate(obj.spec.servers):
        path = f"spec.servers[{at}]"
        gateway_server(server, path, report)
        report.need(server.port.name not in names, f"{path}.port.name", f"{server.port.name!r} stands twice")
        names.add(server.port.name)
        if server.tls is not None and server.tls.https_redirect and not text.is_http(server.port.protocol):
            report.warn(f"{path}.tls.httpsRedirect", "is only meant for HTTP servers")


def gateway_server(server: Server, path: str, report: Report) -> None:
    """Hosts, port, bind address and TLS of one server."""
    report.need(bool(server.hosts), f"{path}.hosts", "at least one host is needed")
    for at, host in enumerate(server.hosts):
        namespace, slash, name = host.partition("/")
        here = f"{path}.hosts[{at}]"
        if slash and namespace not in ("*", "."):
            report.need(text.label(namespace), here, f"{namespace!r} is not a namespace, * or .")
        report.take(here, listed_host(name if slash else host, addresses=True))
    port, unix = server.port, server.bind.startswith(text.UNIX)
    known = port.protocol.lower() in text.PROTOCOLS
    sound = report.need(known, f"{path}.port.protocol", f"unknown protocol {port.protocol!r}")
    if port.number > 0 or not unix:
        wrong = text.port(port.number)
        report.take(f"{path}.port.number", wrong)
        sound = sound and not wrong
    sound &= report.need(port.target_port == 0, f"{path}.port.targetPort", "has no effect at a Gateway")
    sound &= report.need(port.name != "", f"{path}.port.name", "is required")
    if unix:
        report.take(f"{path}.bind", text.unix_path(server.bind.removeprefix(text.UNIX)))
        report.need(port.number == 0, f"{path}.port.number", "has to be 0 for a socket file")
    elif server.bind:
        report.take(f"{path}.bind", text.address(server.bind))
    server_tls(server.tls, f"{path}.tls", report)
    if sound:
        tls_of_protocol(server, f"{path}.tls", report)


def tls_of_protocol(server: Server, path: str, report: Report) -> None:
    """TLS where the protocol has it; on HTTP only a redirect."""
    tls, protocol = server.tls, server.port.protocol
    if text.is_tls(protocol):
        report.need(tls is not None, path, f"is required for {protocol}")
    elif tls is not None:
        passes = tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH")
        files = tls.ca_certificates or tls.private_key or tls.server_certificate
        if not text.is_http(protocol) or not passes or files:
            report.error(path, f"there are no TLS settings for {protocol} (but httpsRedirect for HTTP)")


def listed_host(name: str, *, addresses: bool) -> str:
    """A host in a Gateway (addresses too) or a Sidecar: no short name, no partial wildcard."""
    if name != "*" and "." not in name:
        return f"{name!r} is a short name; a full one is needed"
    wrong = text.wildcard_domain(name)
    if wrong and not (addresses and text.is_address(name)):
        return wrong
    return text.partial_wildcard(name)


def server_tls(tls: ServerTLSSettings | None, path: str, report: Report) -> None:
    """Where certificates come from, in each mode."""
    if tls is None:
        return
    ciphers(tls, path, report)
    sources = {
        "serverCertificate": tls.server_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "tlsCertificates": tls.tls_certificates,
        "credentialName": tls.credential_name,
        "credentialNames": tls.credential_names,
    }
    if tls.mode == "ISTIO_MUTUAL":
        for field, value in sources.items():
            report.need(not value, f"{path}.{field}", "is not used in mode ISTIO_MUTUAL")
        return
    if tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH") and (tls.ca_crl or any(sources.values())):
        report.warn(path, f"certificates have no effect in mode {tls.mode}")
    by_name = bool(tls.credential_name or tls.credential_names)
    files = bool(tls.server_certificate and tls.private_key)
    if files + bool(tls.credential_name) + bool(tls.credential_names) + bool(tls.tls_certificates) > 1:
        report.error(path, "credentialName, credentialNames, certificate files and tlsCertificates exclude each other")
    terminates = tls.mode in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
    if terminates and by_name:
        return
    if terminates:
        certificate_files(tls, path, report)
    if tls.ca_crl:
        report.need(not tls.credential_name, f"{path}.caCrl", "belongs into the credential")
        report.need(tls.mode != "SIMPLE", f"{path}.caCrl", "no client's certificate is checked in mode SIMPLE")


def certificate_files(tls: ServerTLSSettings, path: str, report: Report) -> None:
    """Certificates, keys and the clients' CA by file."""
    if tls.mode != "SIMPLE":
        report.need(tls.ca_certificates != "", f"{path}.caCertificates", f"is required in mode {tls.mode}")
    if not tls.tls_certificates:
        report.need(tls.server_certificate != "", f"{path}.serverCertificate", f"is required in mode {tls.mode}")
        report.need(tls.private_key != "", f"{path}.privateKey", f"is required in mode {tls.mode}")
    for at, pair in enumerate(tls.tls_certificates):
        here = f"{path}.tlsCertificates[{at}]"
        report.need(pair.server_certificate != "", f"{here}.serverCertificate", "is required")
        report.need(pair.private_key != "", f"{here}.privateKey", "is required")


def ciphers(tls: ServerTLSSettings, path: str, report: Report) -> None:
    """Old versions need ciphers of their own; unknown and doubled ones are ignored."""
    if tls.min_protocol_version in ("TLSV1_0", "TLSV1_1") and not tls.cipher_suites:
        report.warn(path, "versions below TLSV1_2 need cipherSuites that go with them")
    unknown = [name for name in tls.cipher_suites if not is_cipher(name)]
    known = [name for name in tls.cipher_suites if is_cipher(name)]
    if unknown:
        report.warn(f"{path}.cipherSuites", f"unknown ciphers are ignored: {', '.join(sorted(set(unknown)))}")
    if len(set(known)) < len(known):
        report.warn(f"{path}.cipherSuites", "ciphers that stand twice are ignored")


def is_cipher(name: str) -> bool:
    """A known name, or something with an operator such as "!MD5"."""
    return name in ("", "ALL") or not name[0].isalnum() or name in CIPHERS


def sidecar(obj: Sidecar, report: Report) -> None:
    """Checks the whole object."""
    spec = obj.spec
    label_selector(spec.workload_selector, "spec.workloadSelector", report)
    if report.errors:
        return
    parts = (spec.outbound_traffic_policy, spec.inbound_connection_pool)
    if not spec.egress and not spec.ingress and all(part is None for part in parts):
        report.error("spec", "configures nothing")
        return
    ports: set[int] = set()
    for at, ingress in enumerate(spec.ingress):
        sidecar_ingress(ingress, f"spec.ingress[{at}]", ports, report)
    connection_pool(spec.inbound_connection_pool, "spec.inboundConnectionPool", report)
    ports, sockets = set(), set[str]()
    for at, egress in enumerate(spec.egress):
        path = f"spec.egress[{at}]"
        if egress.port is None:
            report.need(at == len(spec.egress) - 1, f"{path}.port", "only the last listener may do without a port")
        else:
            sidecar_egress(egress, egress.port, path, ports, sockets, report)
        egress_hosts(egress, path, obj.metadata.namespace or "default", report)
    outbound(spec.outbound_traffic_policy, "spec.outboundTrafficPolicy", report)


def sidecar_port(port: SidecarPort, path: str, report: Report) -> None:
    """What every Sidecar's port has to be."""
    report.need(port.target_port == 0, f"{path}.targetPort", "has no effect at a Sidecar")
    if port.name:
        report.take(f"{path}.name", text.port_name(port.name))
    report.take(f"{path}.protocol", text.protocol(port.protocol))


def sidecar_ingress(listener: IstioIngressListener, path: str, ports: set[int], report: Report) -> None:
    """A listener towards the workload."""
    port = listener.port
    sidecar_port(port, f"{path}.port", report)
    report.take(f"{path}.port.number", text.port(port.number))
    if listener.bind:
        report.take(f"{path}.bind", text.address(listener.bind))
    report.need(port.number not in ports, f"{path}.port.number", f"port {port.number} stands twice")
    ports.add(port.number)
    default_endpoint(listener.default_endpoint, f"{path}.defaultEndpoint", report)
    if listener.tls is not None:
        sidecar_tls(listener.tls, port, f"{path}.tls", report)
    connection_pool(listener.connection_pool, f"{path}.connectionPool", report)
    pool = listener.connection_pool
    if pool is not None and pool.http is not None and not text.is_http(port.protocol):
        report.warn(f"{path}.connectionPool.http", "has no effect: the port's protocol is not HTTP")


def sidecar_tls(tls: ServerTLSSettings, port: SidecarPort, path: str, report: Report) -> None:
    """TLS of a listener towards the workload: by files alone."""
    for field, value in (
        ("subjectAltNames", tls.subject_alt_names),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
        ("tlsCertificates", tls.tls_certificates),
    ):
        report.need(not value, f"{path}.{field}", "is not supported at a Sidecar")
    report.need(tls.mode not in ("ISTIO_MUTUAL", "AUTO_PASSTHROUGH"), f"{path}.mode", "is not supported at a Sidecar")
    report.need(text.is_tls(port.protocol), path, "the port's protocol is neither HTTPS nor TLS")
    server_tls(tls, path, report)


def default_endpoint(value: str, path: str, report: Report) -> None:
    """Where the workload listens: a loopback or any address with a port, or a socket file."""
    if not value:
        return
    if value.startswith(text.UNIX):
        report.take(path, text.unix_path(value.removeprefix(text.UNIX)))
        return
    parts = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([^:\[\]]*)", value)
    if parts is None or (parts[1] or parts[2] or "") not in ("", "127.0.0.1", "0.0.0.0", "::1", "::"):
        report.error(path, "is not of the form 127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port or unix:///path")
    elif not re.fullmatch(r"[+-]?[0-9]{1,18}", parts[3]):
        report.error(path, f"{parts[3]!r} is not a port")
    else:
        report.take(path, text.port(int(parts[3])))


def sidecar_egress(
    listener: IstioEgressListener, port: SidecarPort, path: str, ports: set[int], sockets: set[str], report: Report
) -> None:
    """A listener towards the mesh, on a port or a socket file."""
    sidecar_port(port, f"{path}.port", report)
    if port.number:
        report.take(f"{path}.port.number", text.port(port.number))
        if listener.bind:
            report.take(f"{path}.bind", text.address(listener.bind))
        report.need(port.number not in ports, f"{path}.port.number", f"port {port.number} stands twice")
        ports.add(port.number)
        return
    if report.need(listener.bind.startswith(text.UNIX), f"{path}.bind", "port 0 needs a socket file (unix://…)"):
        report.take(f"{path}.bind", text.unix_path(listener.bind.removeprefix(text.UNIX)))
    captured = listener.capture_mode == "IPTABLES"
    report.need(not captured, f"{path}.captureMode", "traffic to a socket file cannot be captured")
    report.need(listener.bind not in sockets, f"{path}.bind", f"{listener.bind!r} stands twice")
    sockets.add(listener.bind)


def egress_hosts(listener: IstioEgressListener, path: str, own: str, report: Report) -> None:
    """namespace/host, each once."""
    report.need(bool(listener.hosts), f"{path}.hosts", "at least one host is needed")
    seen: dict[str, set[str]] = {}
    for at, value in enumerate(listener.hosts):
        here = f"{path}.hosts[{at}]"
        namespace, slash, name = value.partition("/")
        if not slash:
            report.error(here, f"{value!r} is not of the form namespace/host")
            continue
        names = seen.setdefault(own if namespace == "." else namespace, set())
        if (name == "*" and names) or (name != "*" and (name in names or "*" in names)):
            report.warn(here, f"{value!r} is already there")
        names.add(name)
        excluded = namespace.removeprefix("~")
        known = namespace in ("*", ".", "~") or text.label(excluded)
        report.need(known, here, f"{namespace!r} is not a namespace, *, . or ~")
        report.take(here, listed_host(name, addresses=False))
    if "*" in seen.get("*", ()) and len(seen) > 1:
        report.warn(f"{path}.hosts", "*/* is everything; the other hosts add nothing")


def outbound(policy: OutboundTrafficPolicy | None, path: str, report: Report) -> None:
    """An egress proxy is for unknown traffic that is let through."""
    if policy is None:
        return
    report.need(policy.mode != "ALLOW_ANY_DYNAMIC_DNS", f"{path}.mode", "is not supported at a Sidecar")
    proxy = policy.egress_proxy
    if proxy is None:
        return
    if report.need(policy.mode == "ALLOW_ANY", path, "egressProxy needs mode ALLOW_ANY"):
        report.take(f"{path}.egressProxy.host", text.fqdn(proxy.host))
        if report.need(proxy.port is not None, f"{path}.egressProxy.port", "is required"):
            destination(proxy, f"{path}.egressProxy", report)
