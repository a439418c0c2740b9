"""Which proxies get equal resources: keys of everything about a proxy that its resources may depend on.

Takes a snapshot and a proxy, gives a `View`. Two proxies with equal keys share one collection, so a key must
hold every input of the translation that is the proxy's own; what only names the proxy (its id, addresses, pod
name) is left out. A sidecar's outbound clusters, endpoints and routes do not depend on which namespace it is in,
as long as that namespace is plain: nothing is configured in it and nothing names it (namespaces.py). Not here:
the translation.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import ServiceTarget
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.xds.types import CDS, EDS, RDS, SDS

# Metadata that tells which proxy it is, not what it needs. LABELS are in Node.labels, completed from the registry.
NAMING = frozenset(
    {
        "INSTANCE_IPS",
        "LABELS",
        "STATIC_LABELS",
        "NAME",
        "NAMESPACE",
        "POD_PORTS",
        "APP_CONTAINERS",
        "PLATFORM_METADATA",
        "ISTIO_PROXY_SHA",
        "ISTIO_REVISION",
        "PILOT_SAN",
        "WORKLOAD_IDENTITY_SOCKET_FILE",
    }
)
# Types that do not depend on a plain namespace. (Listeners do: a tracing provider names the namespace.)
ANYWHERE = frozenset({CDS, EDS, RDS})


class View(NamedTuple):
    """own: for types that depend on the proxy's namespace; anywhere: for the others; identity: what secrets
    depend on.
    """

    own: Hashable
    anywhere: Hashable
    identity: Hashable

    def key(self, type_url: str) -> Hashable:
        """What a proxy's resources of the type depend on."""
        if type_url in ANYWHERE:
            return self.anywhere
        return (self.own, self.identity) if type_url == SDS else self.own


def view(snap: Snapshot, node: Node, identity: Hashable, named_namespaces: Collection[str]) -> View:
    """The view of a proxy. named_namespaces: those that are not plain."""
    targets = snap.targets(node)
    inputs = (
        node.type,
        node.supports_ipv4,
        node.supports_ipv6,
        frozenset(node.labels.items()),
        node.locality,
        node.extensions,
        frozen({name: value for name, value in node.metadata.items() if name not in NAMING}),
        tuple(map(_target, targets)),
        own_addresses(snap, node, targets),
    )
    own = (node.namespace, node.dns_domain, inputs)
    prefix = f"{node.namespace}.svc."
    plain = node.is_sidecar and node.namespace not in named_namespaces and node.dns_domain.startswith(prefix)
    return View(own, (None, node.dns_domain.removeprefix(prefix), inputs) if plain else own, identity)


def own_addresses(snap: Snapshot, node: Node, targets: Iterable[ServiceTarget]) -> tuple[str, ...]:
    """The proxy's addresses where they show in its resources, else ().

    They do without interception, for the ingress listeners of a Sidecar resource, and in a headless service (a
    sidecar listens for the other endpoints of it, not for its own).
    """
    sidecar = snap.sidecar_of(node)
    shown = node.interception_mode == "NONE" or (sidecar is not None and sidecar.spec.ingress)
    if shown or any(target.service.is_headless for target in targets):
        return node.ips
    return ()


def _target(target: ServiceTarget) -> tuple[str, str, int, int]:
    return target.service.host, target.service.namespace, target.port.number, target.target_port


def frozen(value: Any) -> Hashable:
    """A JSON value as something hashable; equal values give equal keys."""
    if isinstance(value, Mapping):
        return tuple(sorted((name, frozen(entry)) for name, entry in value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return value  # type: ignore[no-any-return]
