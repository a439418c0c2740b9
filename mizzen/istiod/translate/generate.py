"""The table of resource types and what generates each.

Takes a snapshot, a proxy and the names it subscribes to, gives named protobuf messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from google.protobuf.message import Message

from mizzen.istiod.node import Node
from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.translate import proxyless
from mizzen.istiod.translate.clusters import clusters
from mizzen.istiod.translate.endpoints import load_assignments
from mizzen.istiod.translate.extensions import extensions
from mizzen.istiod.translate.listeners import listeners
from mizzen.istiod.translate.name_table import name_table
from mizzen.istiod.translate.patches import (
    patch_clusters,
    patch_listeners,
    patch_route_configuration,
    patched_extensions,
)
from mizzen.istiod.translate.routes import route_configuration
from mizzen.istiod.translate.secrets import secret
from mizzen.istiod.translate.trust_anchors import trust_anchors
from mizzen.istiod.xds import types

Named = tuple[str, Message | bytes]
Generator = Callable[[Snapshot, Node, tuple[str, ...]], list[Named]]


def _routes(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    return [(name, patch_route_configuration(snap, node, route_configuration(snap, node, name))) for name in names]


def _listeners(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    return [(listener.name, listener) for listener in patch_listeners(snap, node, listeners(snap, node))]


def _secrets(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    found = ((name, secret(snap, node, name)) for name in names)
    return [(name, message) for name, message in found if message is not None]


def _clusters(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    return [(cluster.name, cluster) for cluster in patch_clusters(snap, node, clusters(snap, node))]


def _extensions(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    return [*extensions(snap, node, names), *patched_extensions(snap, node, names)]


def _trust_anchors(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    message = trust_anchors(snap)
    return [("", message)] if message is not None else []


def _name_table(snap: Snapshot, node: Node, names: tuple[str, ...]) -> list[Named]:
    return [("", name_table(snap, node))]


TYPES: dict[str, Generator] = {
    types.CDS: _clusters,
    types.ECDS: _extensions,
    types.EDS: load_assignments,
    types.LDS: _listeners,
    types.NDS: _name_table,
    types.PCDS: _trust_anchors,
    types.RDS: _routes,
    types.SDS: _secrets,
}
"""Type URL → generator. Wildcard types (LDS, CDS, NDS) ignore the names; the others answer only what they know."""


def generate(snap: Snapshot, node: Node, type_url: str, names: Iterable[str] | None = None) -> list[Named]:
    """The resources of one type for a proxy, by name.

    names: what the proxy subscribes to, None for everything of a wildcard type. A type that is not served, or a name
    that is not known, is simply not in the answer. node is completed from the registry (Snapshot.place) here.
    """
    if node.text("GENERATOR") == proxyless.GENERATOR:
        return proxyless.generate(snap, snap.place(node), type_url, tuple(names or ()))
    generator = TYPES.get(type_url)
    if generator is None:
        return []
    return generator(snap, snap.place(node), tuple(names or ()))
