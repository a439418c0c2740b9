"""Which objects of the configuration made a resource that a proxy was served.

Takes a resource's name and bytes and the snapshot it was made from, gives the objects' keys. Nothing is recorded when
resources are made: Istio's own metadata in them (`istio.config` paths, names of authorization policies and extensions)
and the names say it, and what leaves no trace (patches, Sidecars, key sets) is asked of the snapshot as when the resource
was made. So a push costs nothing for a question that is only asked after a refusal. Not here: refusals (blame.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from mizzen.api import kinds
from mizzen.istiod.gateway_api.gateways import INFIX
from mizzen.istiod.node import Node
from mizzen.istiod.objects import Key, key_of, kind_of
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate.patches.select import patching
from mizzen.istiod.xds.types import CDS, ECDS, EDS, LDS, RDS, SDS, host_of

ObjectKey = tuple[str, Key]

# google.protobuf.Value.string_value: tag, a length of one or two bytes, the text.
PATH = re.compile(rb"\x1a([\x00-\x7f]|[\x80-\xff][\x00-\x7f])(/apis/[a-z0-9./-]+/namespaces/[^/]+/[a-z-]+/)", re.DOTALL)
POLICY = re.compile(rb"ns\[([^\]]+)\]-policy\[([^\]]+)\]-rule\[")
JWT_FILTER, CREDENTIAL = b"envoy.filters.http.jwt_authn", "kubernetes"
EXTENSION_PREFIX = "extensions.istio.io/trafficextension/"
PATCHED = {
    CDS: frozenset({"CLUSTER"}),
    LDS: frozenset({"LISTENER", "LISTENER_FILTER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER"}),
    RDS: frozenset({"ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE"}),
    ECDS: frozenset({"EXTENSION_CONFIG"}),
}
KEBAB = {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.kind).lower(): kind.kind for kind in kinds.ISTIO_KINDS}


class Origins(msgspec.Struct, frozen=True):
    """sure: the resource itself names them; possible: they had a say in every resource of the kind."""

    sure: tuple[ObjectKey, ...] = ()
    possible: tuple[ObjectKey, ...] = ()

    @property
    def every(self) -> tuple[ObjectKey, ...]:
        return (*self.sure, *self.possible)


def origins(snap: Snapshot, node: Node, type_url: str, name: str, packed: bytes) -> Origins:
    """packed: the resource, serialised."""
    sure = dict.fromkeys(real for key in _sure(snap, node, type_url, name, packed) for real in _real(snap, key, packed))
    possible = dict.fromkeys(key for key in _possible(snap, node, type_url, packed) if key not in sure)
    return Origins(tuple(sure), tuple(possible))


def _sure(snap: Snapshot, node: Node, type_url: str, name: str, packed: bytes) -> Iterator[ObjectKey]:
    yield from _patches(snap, node, type_url)
    yield from _paths(packed)
    for namespace, policy in POLICY.findall(packed):
        yield "AuthorizationPolicy", (namespace.decode(), policy.decode())
    if type_url in (CDS, EDS):
        yield from _of_host(snap, node, host_of(name))
    elif type_url == ECDS:
        yield from _of_extension(snap, name)
    elif type_url == SDS and name.startswith(CREDENTIAL):
        namespace, _, secret = name.partition("://")[2].rpartition("/")
        yield "Secret", (namespace or node.namespace, secret)
    elif type_url in (LDS, RDS) and not node.is_sidecar:
        yield from _of_port(snap, node, name)


def _patches(snap: Snapshot, node: Node, type_url: str) -> Iterator[ObjectKey]:
    wanted = PATCHED.get(type_url, frozenset())
    for obj in patching(snap, node):
        if any(patch.apply_to in wanted for patch in obj.spec.config_patches):
            yield "EnvoyFilter", key_of("EnvoyFilter", obj)


def _paths(packed: bytes) -> Iterator[ObjectKey]:
    for match in PATH.finditer(packed):
        head = match[1]
        length = head[0] if len(head) == 1 else (head[0] & 0x7F) | head[1] << 7
        start = match.end(1)
        parts = packed[start : start + length].decode(errors="replace").split("/")
        kind = KEBAB.get(parts[6]) if len(parts) == 8 else None
        if kind is not None:
            yield kind, (parts[5], parts[7])


def _of_host(snap: Snapshot, node: Node, host: str) -> Iterator[ObjectKey]:
    for key, services in snap.registry.sources.items():
        if any(svc.host == host for svc in services):
            yield key
    rule = snap.scope(node).destination_rule(node, host)
    for obj in rule.sources if rule is not None else ():
        yield "DestinationRule", obj


def _of_extension(snap: Snapshot, name: str) -> Iterator[ObjectKey]:
    namespace, _, rest = name.removeprefix(EXTENSION_PREFIX).partition(".")
    for kind in ("TrafficExtension", "WasmPlugin"):
        if (namespace, rest) in snap.objects.table(kind):
            yield kind, (namespace, rest)


def _of_port(snap: Snapshot, node: Node, name: str) -> Iterator[ObjectKey]:
    """Gateways with a server on the port that a gateway's listener or route configuration is named by."""
    numbers = {int(part) for part in re.split(r"[._]", name) if part.isdigit()}
    for gateway in snap.gateways.for_workload(node.labels):
        if any(server.port is not None and server.port.number in numbers for server in gateway.spec.servers):
            yield "Gateway", key_of("Gateway", gateway)


def _possible(snap: Snapshot, node: Node, type_url: str, packed: bytes) -> Iterator[ObjectKey]:
    """What holds for the proxy and leaves no name in what it makes."""
    if type_url == LDS:
        chosen = [*snap.telemetries.for_node(node), *snap.proxy_configs.for_node(node)]
        chosen += snap.request_authentications.for_node(node) if JWT_FILTER in packed else []
        chosen += [*snap.wasm_plugins.for_node(node), *snap.traffic_extensions.for_node(node)]
        for obj in chosen:
            yield kind_of(obj), key_of(kind_of(obj), obj)
    if type_url in (CDS, LDS):
        for policy in snap.peer_authentications.policies.for_node(node):
            yield "PeerAuthentication", key_of("PeerAuthentication", policy)
    sidecar = snap.sidecar_of(node)
    if sidecar is not None:
        yield "Sidecar", key_of("Sidecar", sidecar)


def _real(snap: Snapshot, key: ObjectKey, packed: bytes) -> Iterable[ObjectKey]:
    """The objects that a user wrote: of one that was translated from others, those others."""
    kind, (namespace, name) = key
    if (namespace, name) in snap.objects.table(kind):
        return (key,)
    if kind == "Gateway" and f"~{INFIX}~" in name:
        return (("K8sGateway", (namespace, name.partition("~")[0])),)
    if kind == "VirtualService":
        return tuple(_routes_in(snap, packed)) or (key,)
    return (key,)


def _routes_in(snap: Snapshot, packed: bytes) -> Iterator[ObjectKey]:
    """Routes of the Gateway API whose rules, named <namespace>.<name>.<number>, are in the resource."""
    for kind in ("HTTPRoute", "GRPCRoute"):
        for namespace, name in snap.objects.table(kind):
            if f"{namespace}.{name}.".encode() in packed:
                yield kind, (namespace, name)
