"""Gateways and what serves them: IST0101, IST0138, IST0145, IST0161, IST0162."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mizzen.api.istio.networking import ServerTLSSettings
from mizzen.api.text import matches
from mizzen.istiod.analysis.analyzers.workloads import selects
from mizzen.istiod.analysis.model import NETWORKING, Mesh, Resource


def selector_text(selector: Mapping[str, str]) -> str:
    """A selector as Kubernetes writes it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def selector_path(path: str, selector: Mapping[str, str]) -> str:
    """The path of a selector's first label."""
    return f"{path}[{min(selector)}]" if selector else path


def ports(mesh: Mesh) -> None:
    """IST0101, IST0162: gateways without pods, and ports that no Service of the pods has."""
    for resource, gateway in mesh.typed("Gateway", NETWORKING):
        selector = gateway.spec.selector
        path = selector_path("spec.selector", selector)
        pods = [pod for pod in mesh.all("Pod") if selects(selector, pod.labels)]
        if not pods:
            mesh.report(resource, "IST0101", "selector", selector_text(selector), at=path)
            continue
        served = {
            port.get("port")
            for service in mesh.all("Service")
            if any(
                pod.namespace == service.namespace and selects(service.spec.get("selector") or {}, pod.labels)
                for pod in pods
            )
            for port in service.spec.get("ports") or ()
            if (port.get("protocol") or "TCP") == "TCP"
        }
        for server in gateway.spec.servers:
            if server.port.number not in served:
                mesh.report(resource, "IST0162", server.port.number, selector_text(selector), at=path)


def credentials(mesh: Mesh) -> None:
    """IST0101, IST0161: credentials that are there, beside the pods, and good."""
    for resource, gateway in mesh.typed("Gateway", NETWORKING):
        namespace = next((p.namespace for p in mesh.all("Pod") if selects(gateway.spec.selector, p.labels)), None)
        if namespace is None:
            continue  # reported by `ports`
        for at, server in enumerate(gateway.spec.servers):
            name = server.tls.credential_name if server.tls is not None else ""
            if not name:
                continue
            path = f"spec.servers[{at}].tls.credentialName"
            owner, slash, own = name.partition("/")
            secret = mesh.find("Secret", owner if slash else namespace, own if slash else name)
            if secret is None:
                mesh.report(resource, "IST0101", "credentialName", name, at=path)
            elif not good_certificate(secret):
                mesh.report(resource, "IST0161", resource.name, namespace, at=path)


def good_certificate(secret: Resource) -> bool:
    """Whether a Secret has a certificate chain that is valid now, and the key of its first certificate."""
    data = _data(secret)
    for chain, key in (("cert", "key"), ("tls.crt", "tls.key")):
        if data.get(chain) and data.get(key):
            return _fit(data[chain], data[key])
    return False


def _fit(chain: bytes, key: bytes) -> bool:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificates = x509.load_pem_x509_certificates(chain)
        own = load_pem_private_key(key, None).public_key() == certificates[0].public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    now = datetime.now(UTC)
    return own and all(c.not_valid_before_utc <= now <= c.not_valid_after_utc for c in certificates)


def _data(secret: Resource) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key, value in (secret.object.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            found[key] = b""
    strings: Mapping[str, Any] = secret.object.get("stringData") or {}
    return found | {key: str(value).encode() for key, value in strings.items()}


def conflicts(mesh: Mesh) -> None:
    """IST0145: gateways with one selector that serve the same hosts on the same port."""
    served: dict[tuple[str, int, str], dict[str, tuple[str, ...]]] = {}
    for resource, gateway in mesh.typed("Gateway", NETWORKING):
        for server in gateway.spec.servers:
            key = selector_text(gateway.spec.selector), server.port.number, server.bind
            hosts = served.setdefault(key, {})
            hosts[resource.full_name] = hosts.get(resource.full_name, ()) + server.hosts
    for resource, gateway in mesh.typed("Gateway", NETWORKING):
        selector = selector_text(gateway.spec.selector)
        for server in gateway.spec.servers:
            others = [
                name
                for name, hosts in served[selector, server.port.number, server.bind].items()
                if name != resource.full_name and any(matches(own, host) for own in server.hosts for host in hosts)
            ]
            if others:
                names = ",".join(others)
                mesh.report(resource, "IST0145", names, selector, server.port.number, ",".join(server.hosts))


def duplicate_certificates(mesh: Mesh) -> None:
    """IST0138: gateways on the same pods with the same certificate."""
    gateways = mesh.typed("Gateway", NETWORKING)
    for resource, gateway in gateways:
        for other, peer in gateways:
            if other is resource or not gateway.spec.selector.items() <= peer.spec.selector.items():
                continue
            pairs = [(mine.tls, theirs.tls) for mine in gateway.spec.servers for theirs in peer.spec.servers]
            if any(mine is not None and theirs is not None and same(mine, theirs) for mine, theirs in pairs):
                names = [resource.full_name, other.full_name]
                mesh.report(resource, "IST0138", names, at="metadata.name")


def same(one: ServerTLSSettings, other: ServerTLSSettings) -> bool:
    """Whether two servers have the same certificate."""
    if one.credential_name or other.credential_name:
        return one.credential_name == other.credential_name
    files = (one.server_certificate, one.private_key)
    return all(files) and files == (other.server_certificate, other.private_key)
