"""The messages that the agent itself reads or makes: discovery heads, secrets, certificate requests, name tables.

Field numbers by Envoy's service.discovery.v3, extensions.transport_sockets.tls.v3 and Istio's own protos. Everything
else that passes through the agent stays as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mizzen.agent.protowire import field, fields, present, text
from mizzen.api.errors import PeerError

PREFIX = "type.googleapis.com/"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
SECRET = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
NAME_TABLE = PREFIX + "istio.networking.nds.v1.NameTable"
PROXY_CONFIG = PREFIX + "istio.mesh.v1alpha1.ProxyConfig"
HEALTH = PREFIX + "istio.v1.HealthInformation"
WORKLOAD = PREFIX + "istio.workload.Workload"


class Request(msgspec.Struct, frozen=True):
    """The head of a DiscoveryRequest or DeltaDiscoveryRequest; names: resources asked for (delta: subscribed to)."""

    type_url: str = ""
    version: str = ""
    nonce: str = ""
    names: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    error: str = ""
    node: bytes = b""


def read_request(data: bytes, delta: bool) -> Request:
    """Raises PeerError."""
    numbers = (1, 2, 6, 3, 4, 7, 0) if delta else (2, 4, 5, 3, 0, 6, 1)
    node, type_url, nonce, names, removed, error, version = numbers
    found: dict[int, list[bytes | int]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)

    def one(number: int) -> str:
        return text(found[number][-1]) if number in found else ""

    status = found.get(error, [b""])[-1]
    message = next((text(value) for number, value in fields(status) if number == 2), "") if status else ""  # type: ignore[arg-type]
    raw_node = found.get(node, [b""])[-1]
    return Request(
        type_url=one(type_url),
        version=one(version) if version else "",
        nonce=one(nonce),
        names=tuple(map(text, found.get(names, ()))),
        removed=tuple(map(text, found.get(removed, ()))) if removed else (),
        error=message,
        node=raw_node if isinstance(raw_node, bytes) else b"",
    )


class Response(msgspec.Struct, frozen=True):
    """A DiscoveryResponse or DeltaDiscoveryResponse; resources: the bytes of what each Any holds."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[bytes, ...]


def response_type(data: bytes) -> str:
    """A response's type URL; both protocols have it in field 4."""
    return next((text(value) for number, value in fields(data) if number == 4), "")


def read_response(data: bytes, delta: bool) -> Response:
    """Raises PeerError."""
    type_url = version = nonce = ""
    resources: list[bytes] = []
    for number, value in fields(data):
        if number == 1:
            version = text(value)
        elif number == 4:
            type_url = text(value)
        elif number == 5:
            nonce = text(value)
        elif number == 2 and isinstance(value, bytes):
            resource = last(value, 2) if delta else value
            resources.append(last(resource, 2))
    return Response(type_url, version, nonce, tuple(resources))


def last(data: bytes, number: int) -> bytes:
    """The last length-delimited field with that number; empty when absent."""
    result = b""
    for found, value in fields(data):
        if found == number and isinstance(value, bytes):
            result = value
    return result


def write_request(
    delta: bool,
    type_url: str,
    *,
    version: str = "",
    nonce: str = "",
    names: Sequence[str] = (),
    node: bytes = b"",
    error: tuple[int, str] | None = None,
) -> bytes:
    """A request. error: (gRPC code, message) of a refusal."""
    detail = b"" if error is None else field(1, error[0]) + field(2, error[1])
    if delta:
        parts = [field(1, node), field(2, type_url), *(present(3, name) for name in names), field(6, nonce)]
        return b"".join([*parts, present(7, detail) if error else b""])
    head = field(1, version) + field(2, node)
    listed = b"".join(present(3, name) for name in names)
    return head + listed + field(4, type_url) + field(5, nonce) + (present(6, detail) if error else b"")


def write_response(delta: bool, type_url: str, version: str, nonce: str, resources: dict[str, bytes]) -> bytes:
    """A response with resources by name."""
    items = []
    for name, data in resources.items():
        packed = field(1, type_url) + present(2, data)
        items.append(
            present(2, field(3, name) + field(1, version) + present(2, packed)) if delta else present(2, packed)
        )
    return field(1, version) + b"".join(items) + field(4, type_url) + field(5, nonce)


def key_secret(name: str, chain: bytes, key: bytes) -> bytes:
    """A Secret with a TLS certificate. PEM in."""
    certificate = present(1, present(2, chain)) + present(2, present(2, key))
    return field(1, name) + present(2, certificate)


def root_secret(name: str, roots: bytes, crl_path: str = "") -> bytes:
    """A Secret with a validation context. PEM in."""
    context = present(1, present(2, roots)) + (present(7, present(1, crl_path)) if crl_path else b"")
    return field(1, name) + present(4, context)


def certificate_request(csr: str, ttl_s: int, metadata: dict[str, str]) -> bytes:
    """An IstioCertificateRequest."""
    entries = (present(1, field(1, key) + present(2, present(3, value))) for key, value in metadata.items())
    return field(1, csr) + field(3, ttl_s) + (present(4, b"".join(entries)) if metadata else b"")


def certificate_chain(data: bytes) -> list[str]:
    """The PEM blocks of an IstioCertificateResponse: leaf, intermediates, root bundle. Raises PeerError."""
    chain = [text(value) for number, value in fields(data) if number == 1]
    if len(chain) < 2:
        raise PeerError(f"the CA answered with {len(chain)} certificates; at least a leaf and a root are expected")
    return chain


def trust_anchors(data: bytes) -> list[str]:
    """ProxyConfig.ca_certificates_pem (field 34): what else is trusted. Raises PeerError."""
    return [text(value) for number, value in fields(data) if number == 34]


class NameInfo(msgspec.Struct, frozen=True):
    """What the name table says of one host."""

    ips: tuple[str, ...] = ()
    registry: str = ""
    short_name: str = ""
    namespace: str = ""


def name_table(data: bytes) -> dict[str, NameInfo]:
    """A NameTable. Raises PeerError."""
    result: dict[str, NameInfo] = {}
    for number, entry in fields(data):
        if number != 1 or not isinstance(entry, bytes):
            continue
        host, info = "", b""
        for part, value in fields(entry):
            if part == 1:
                host = text(value)
            elif isinstance(value, bytes):
                info = value
        result[host] = name_info(info)
    return result


def name_info(data: bytes) -> NameInfo:
    ips: list[str] = []
    words = {2: "", 3: "", 4: ""}
    for number, value in fields(data):
        if number == 1:
            ips.append(text(value))
        elif number in words:
            words[number] = text(value)
    return NameInfo(tuple(ips), words[2], words[3], words[4])


def health_request(delta: bool, node: bytes, healthy: bool, message: str = "") -> bytes:
    """A report of the application's health, for workloads outside Kubernetes."""
    return write_request(delta, HEALTH, node=node, error=None if healthy else (13, message))
