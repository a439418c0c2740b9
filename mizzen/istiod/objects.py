"""The objects that a snapshot is made of, in one table per kind, and changes to them.

Takes typed objects (Istio structs, lightkube structs), gives look-ups by kind and (namespace, name). Never written to
after it is built. Not here: where objects come from (config/).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is ""."""

CLUSTER_SCOPED = frozenset({"Jwks", "TrustAnchors", "Namespace", "Node", "GatewayClass", "IngressClass"})
GATEWAY_API = "gateway.networking.k8s.io"


class Change(msgspec.Struct, frozen=True):
    """One object that came, changed or went. obj: None when it went; old: what was there before, None when nothing."""

    kind: str
    key: Key
    obj: Any = None
    old: Any = None


class Objects:
    """One table per kind, in `tables`. A kind of the Gateway API that shares its name with another is called `K8sGateway`."""

    def __init__(self, tables: dict[str, dict[Key, Any]] | None = None) -> None:
        self.tables = tables or {}

    @classmethod
    def of(cls, objects: Iterable[Any]) -> Objects:
        """A table of these objects; of two with one kind, namespace and name the later counts."""
        tables: dict[str, dict[Key, Any]] = {}
        for obj in objects:
            kind = kind_of(obj)
            tables.setdefault(kind, {})[key_of(kind, obj)] = obj
        return cls(tables)

    def table(self, kind: str) -> Mapping[Key, Any]:
        """All objects of a kind by key."""
        return self.tables.get(kind, {})

    def sorted(self, kind: str) -> list[Any]:
        """All objects of a kind, oldest first, then by name and namespace."""
        return by_age(self.table(kind).values())

    def after(self, changes: Iterable[Change]) -> Objects:
        """The table after some changes; kinds that none touches are shared."""
        tables = dict(self.tables)
        copied: set[str] = set()
        for change in changes:
            if change.kind not in copied:
                tables[change.kind] = dict(tables.get(change.kind, {}))
                copied.add(change.kind)
            if change.obj is None:
                tables[change.kind].pop(change.key, None)
            else:
                tables[change.kind][change.key] = change.obj
        return Objects(tables)

    def change_to(self, obj: Any) -> Change:
        """The change that puts this object in."""
        kind = kind_of(obj)
        key = key_of(kind, obj)
        return Change(kind, key, obj, self.table(kind).get(key))

    def removal(self, kind: str, key: Key) -> Change:
        """The change that takes an object out."""
        return Change(kind, key, None, self.table(kind).get(key))


def kind_of(obj: Any) -> str:
    """The name of an object's table: its kind, `K8sGateway` for the Gateway API's Gateway."""
    kind = str(getattr(obj, "kind", None) or type(obj).__name__)
    version = str(getattr(obj, "api_version", None) or getattr(obj, "apiVersion", None) or "")
    return "K8sGateway" if kind == "Gateway" and version.startswith(GATEWAY_API) else kind


def key_of(kind: str, obj: Any) -> Key:
    """(namespace, name) of an object."""
    meta = obj.metadata
    return ("" if kind in CLUSTER_SCOPED else meta.namespace or "default", meta.name)


def by_age(objects: Iterable[Any]) -> list[Any]:
    """Oldest first; objects of one age by name, then namespace."""

    def age(obj: Any) -> tuple[float, str, str]:
        meta = obj.metadata
        stamp = meta.creationTimestamp
        return (stamp.timestamp() if stamp is not None else 0.0, meta.name or "", meta.namespace or "")

    return sorted(objects, key=age)
