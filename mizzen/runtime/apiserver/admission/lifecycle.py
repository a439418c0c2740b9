"""NamespaceLifecycle: nothing is made in a namespace that is not there or is going; system namespaces stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import StatusError, not_found
from .base import Base, Write

if TYPE_CHECKING:
    from ..parts import Parts

IMMORTAL = ("default", "kube-system", "kube-public")


class NamespaceLifecycle(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        if write.operation == "DELETE" and write.resource.qualified == "namespaces" and write.name in IMMORTAL:
            raise write.refuse("this namespace may not be deleted")
        if not write.resource.namespaced or write.operation == "DELETE" or write.operation == "UPDATE":
            return
        if write.resource.plural.endswith("accessreviews"):
            return
        namespace = write.namespace
        item = parts.item("namespaces", "", namespace)
        if item is None:
            raise not_found("", "namespaces", namespace)
        if b'"Terminating"' in item.data and (item.shared.get("status") or {}).get("phase") == "Terminating":
            raise self._terminating(write, namespace)

    def _terminating(self, write: Write, namespace: str) -> StatusError:
        error = write.refuse(f"unable to create new content in namespace {namespace} because it is being terminated")
        details = dict(error.details or {})
        causes = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        error.details = {**details, "causes": causes}
        return error
