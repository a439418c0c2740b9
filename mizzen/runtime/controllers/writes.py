"""Writes that the shared caches see at once: a controller reads what it has just written.

Without this a controller that runs again before its own watch event has arrived would make the same pods twice.
"""

from __future__ import annotations

from typing import Any, Literal

from mizzen.kube.client import Client, PatchType
from mizzen.kube.errors import ApiError
from mizzen.kube.informer import Informers
from mizzen.kube.resource import Key, Object, Resource


class Writer:
    """A client whose answers go into the informers' caches. All methods raise ApiError as the client does."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self.client, self.informers = client, informers

    def get(self, resource: Resource, key: Key) -> Object | None:
        """The cached object."""
        return self.informers.get(resource, key)

    def in_namespace(self, resource: Resource, namespace: str) -> list[Object]:
        """The cached objects of one namespace."""
        informer = self.informers.of(resource)
        informer.ensure_index("namespace", lambda obj: (obj["metadata"].get("namespace") or "",))
        return informer.by_index("namespace", namespace)

    async def create(self, resource: Resource, obj: Object, namespace: str | None = None) -> Object:
        created = await self.client.create(resource, obj, namespace)
        self.informers.of(resource).observe(created)
        return created

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        updated = await self.client.update(resource, obj, subresource=subresource)
        self.informers.of(resource).observe(updated)
        return updated

    async def update_status(self, resource: Resource, obj: Object, status: Object) -> Object | None:
        """Writes a new status when it differs; None when the object is gone meanwhile."""
        if obj.get("status") == status:
            return obj
        try:
            return await self.update(resource, {**obj, "status": status}, subresource="status")
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def patch(
        self, resource: Resource, obj: Object, patch: Any, *, type: PatchType = "strategic", subresource: str = ""
    ) -> Object:
        metadata = obj["metadata"]
        patched = await self.client.patch(
            resource, metadata["name"], patch, metadata.get("namespace"), type=type, subresource=subresource
        )
        self.informers.of(resource).observe(patched)
        return patched

    async def delete(
        self,
        resource: Resource,
        obj: Object,
        *,
        propagation: Literal["", "Background", "Foreground", "Orphan"] = "",
    ) -> None:
        """Deletes this very object (by uid); one that is gone already is fine."""
        metadata = obj["metadata"]
        try:
            answer = await self.client.delete(
                resource, metadata["name"], metadata.get("namespace"), propagation=propagation, uid=metadata["uid"]
            )
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
            return
        if answer.get("kind") == resource.kind and "deletionTimestamp" in answer["metadata"]:
            self.informers.of(resource).observe(answer)
        else:
            self.informers.of(resource).observe_gone(obj)
