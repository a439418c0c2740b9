"""Which proxies get equal resources: a key of everything about a proxy that its resources may depend on.

Takes a snapshot and a proxy, gives a hashable key. Two proxies with equal keys share one collection, so
the key must hold every input of the translation that is the proxy's own; what only names the proxy (its id,
addresses, pod name) is left out. Not here: the translation.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from mizzen.istiod.node import Node
from mizzen.istiod.registry.model import ServiceTarget
from mizzen.istiod.snapshot import Snapshot

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


def key(snap: Snapshot, node: Node) -> Hashable:
    """The view of a proxy."""
    targets = snap.targets(node)
    return (
        node.type,
        node.namespace,
        node.dns_domain,
        node.supports_ipv4,
        node.supports_ipv6,
        frozenset(node.labels.items()),
        node.locality,
        node.extensions,
        frozen({name: value for name, value in node.metadata.items() if name not in NAMING}),
        tuple(map(_target, targets)),
        own_addresses(node, targets),
    )


def own_addresses(node: Node, targets: Iterable[ServiceTarget]) -> tuple[str, ...]:
    """The proxy's addresses where they show in its resources: without interception, or in a headless service.

    (A sidecar listens for the other endpoints of a headless service, not for its own.)
    """
    if node.interception_mode == "NONE" or any(target.service.is_headless for target in targets):
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
