"""Small plug-ins: protection of volumes, default storage and ingress classes, image pull policies left alone.

Source: kube-apiserver's StorageObjectInUseProtection, DefaultStorageClass, DefaultIngressClass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Base, Write

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]
PROTECTED = {
    "persistentvolumeclaims": "kubernetes.io/pvc-protection",
    "persistentvolumes": "kubernetes.io/pv-protection",
}


def _created(write: Write, qualified: str) -> Object | None:
    return (
        write.new
        if write.operation == "CREATE" and not write.subresource and write.resource.qualified == qualified
        else None
    )


class VolumeProtection(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        finalizer = PROTECTED.get(write.resource.qualified)
        if finalizer is None or write.operation != "CREATE" or write.subresource or write.new is None:
            return
        given = write.new["metadata"].get("finalizers") or []
        if finalizer not in given:
            write.new["metadata"]["finalizers"] = [*given, finalizer]


def _default_of(parts: Parts, plural: str, group: str, note: str) -> Object | None:
    """The class marked as default: the newest of several."""
    marked = [
        item.shared for item in parts.registry.get(plural, group).collection.items.values()
        if (item.shared["metadata"].get("annotations") or {}).get(note) == "true"
    ]  # fmt: skip
    return max(marked, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]), default=None)


class DefaultStorageClass(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        claim = _created(write, "persistentvolumeclaims")
        if claim is None or claim["spec"].get("storageClassName") is not None:
            return
        if "volume.beta.kubernetes.io/storage-class" in (claim["metadata"].get("annotations") or {}):
            return
        found = _default_of(parts, "storageclasses", "storage.k8s.io", "storageclass.kubernetes.io/is-default-class")
        if found is not None:
            claim["spec"]["storageClassName"] = found["metadata"]["name"]


class DefaultIngressClass(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        ingress = _created(write, "ingresses.networking.k8s.io")
        if ingress is None or ingress["spec"].get("ingressClassName") is not None:
            return
        if "kubernetes.io/ingress.class" in (ingress["metadata"].get("annotations") or {}):
            return
        classes = parts.registry.get("ingressclasses", "networking.k8s.io").collection.items.values()
        note = "ingressclass.kubernetes.io/is-default-class"
        marked = [
            item.shared for item in classes if (item.shared["metadata"].get("annotations") or {}).get(note) == "true"
        ]
        if marked:
            newest = max(marked, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))
            ingress["spec"]["ingressClassName"] = newest["metadata"]["name"]
