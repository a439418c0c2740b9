"""Namespaces that are going: their contents are deleted, then the finalizer "kubernetes" is taken away.

Source: core/v1 NamespaceSpec.finalizers and NamespaceStatus.conditions.
"""

from __future__ import annotations

import time
from typing import Any

from mizzen.kube.controller import After, itself
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import NAMESPACES, PODS, Key, Resource
from mizzen.runtime.controllers.discovery import deletable
from mizzen.runtime.controllers.events import timestamp
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
AGAIN_S = 0.5
MESSAGES = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}


class NamespaceController:
    """A key is a Namespace's name."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {NAMESPACES: itself}

    async def reconcile(self, key: Key) -> After | None:
        namespace = self._writer.get(NAMESPACES, key)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return None
        finalizers = namespace["spec"].get("finalizers") or []
        if "kubernetes" not in finalizers:
            return None
        if namespace.get("status", {}).get("phase") != "Terminating":
            status = {**namespace.get("status", {}), "phase": "Terminating"}
            namespace = await self._writer.update_status(NAMESPACES, namespace, status) or namespace
        left = await self._empty(key.name)
        if any(left.values()):
            await self._tell(namespace, left)
            return After(AGAIN_S)
        rest = [name for name in finalizers if name != "kubernetes"]
        body = {**namespace, "spec": {**namespace["spec"], "finalizers": rest}}
        try:
            await self._writer.client.update(NAMESPACES, body, subresource="finalize")
        except ApiError as error:
            if not error.not_found:
                raise
        return None

    async def _empty(self, namespace: str) -> dict[Resource, list[Object]]:
        """Asks everything in the namespace to go; what is still there afterwards. Pods go first: others may serve them."""
        client = self._writer.client
        left: dict[Resource, list[Object]] = {}
        resources = sorted(await deletable(client), key=lambda resource: resource != PODS)
        for resource in resources:
            try:
                items = (await client.list(resource, namespace)).items
                for item in items:
                    if "deletionTimestamp" not in item["metadata"]:
                        await client.delete(resource, item["metadata"]["name"], namespace, propagation="Background")
                left[resource] = (await client.list(resource, namespace)).items if items else []
            except ApiError as error:
                if error.code not in (404, 405, 409):
                    raise
        return left

    async def _tell(self, namespace: Object, left: dict[Resource, list[Object]]) -> None:
        parts: list[str] = []
        finalizers: dict[str, int] = {}
        for resource, items in sorted(left.items(), key=lambda pair: str(pair[0])):
            if items:
                name = f"{resource.plural}.{resource.group}"
                parts.append(f"{name} has {len(items)} resource instances")
            for item in items:
                for finalizer in item["metadata"].get("finalizers") or ():
                    finalizers[finalizer] = finalizers.get(finalizer, 0) + 1
        remaining = {
            "NamespaceContentRemaining": ("SomeResourcesRemain", "Some resources are remaining: " + ", ".join(parts))
        }
        if finalizers:
            text = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
            message = "Some content in the namespace has finalizers remaining: " + text
            remaining["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", message)
        before = {c["type"]: c for c in namespace.get("status", {}).get("conditions") or ()}
        conditions = []
        for kind, (good_reason, good_message) in MESSAGES.items():
            bad = remaining.get(kind)
            status = "True" if bad else "False"
            reason, message = bad or (good_reason, good_message)
            old = before.get(kind)
            since = old["lastTransitionTime"] if old and old["status"] == status else timestamp(time.time())
            conditions.append(
                {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
            )
        await self._writer.update_status(NAMESPACES, namespace, {"phase": "Terminating", "conditions": conditions})
