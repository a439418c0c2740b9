"""Runs the garbage collector's graph (garbage.py) against a server: watches every resource, does what the graph says."""

from __future__ import annotations

import asyncio
import logging

from mizzen.kube.client import Client
from mizzen.kube.errors import CONNECTION_ERRORS, ApiError
from mizzen.kube.informer import Change, Informer, Informers
from mizzen.kube.resource import Object, Resource
from mizzen.kube.workqueue import WorkQueue
from mizzen.runtime.controllers.discovery import resources
from mizzen.runtime.controllers.garbage import FOREGROUND, ORPHAN, Graph, Node, Propagation, kept_references

log = logging.getLogger(__name__)
DISCOVERY_S = 5.0  # new kinds (CRDs) are looked for this often


class GarbageCollector:
    """`run` until cancelled. informers: shared with the other controllers; kinds that nobody else watches get their own."""

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client, self._informers = client, informers
        self._graph, self._queue = Graph(), WorkQueue[str]()
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._watched: dict[Resource, Informer] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._discover(), name="garbage collector discovery")
            tasks.create_task(self._work(), name="garbage collector")

    async def _discover(self) -> None:
        while True:
            try:
                for resource in await resources(self._client):
                    if resource not in self._watched:
                        self._watch(resource)
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("garbage collector: discovery: %s", error)
            await asyncio.sleep(DISCOVERY_S)

    def _watch(self, resource: Resource) -> None:
        self._kinds[(resource.api_version, resource.kind)] = resource
        informer = self._watched[resource] = self._informers.of(resource)

        def handler(change: Change) -> None:
            if change.new is not None:
                if change.old is not None and change.old["metadata"]["uid"] != change.new["metadata"]["uid"]:
                    self._add(self._graph.gone(change.old["metadata"]["uid"]))
                self._add(self._graph.changed(resource, change.new))
            elif change.old is not None:
                self._add(self._graph.gone(change.old["metadata"]["uid"]))

        informer.add_handler(handler)

    def _add(self, uids: set[str]) -> None:
        for uid in uids:
            self._queue.add(uid)

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                await self._attend(uid)
            except (ApiError, *CONNECTION_ERRORS) as error:
                delay_s = self._queue.retry(uid)
                log.debug("garbage collector: %s: %s; again in %.2f s", uid, error, delay_s)
            else:
                self._queue.forget(uid)
            finally:
                self._queue.done(uid)

    async def _attend(self, uid: str) -> None:
        node = self._graph.nodes.get(uid)
        if node is None:
            return
        for reference in self._graph.unknown_owners(uid):
            await self._look_up(node, reference)
        verdict = self._graph.judge(uid)
        if verdict.delete:
            await self._delete(node, verdict.delete)
        elif verdict.drop:
            await self._drop_owners(node, verdict.drop)
        elif verdict.orphan_dependents:
            for dependent in list(node.dependents):
                if dependent in self._graph.nodes:
                    await self._drop_owners(self._graph.nodes[dependent], (uid,))
            await self._drop_finalizer(node, ORPHAN)
        elif verdict.release:
            await self._drop_finalizer(node, FOREGROUND)

    async def _look_up(self, node: Node, reference: Object) -> None:
        """Asks the server whether an owner exists that no watch has shown; a namespaced one lives where its dependent does."""
        resource = self._kinds.get((reference["apiVersion"], reference["kind"]))
        if resource is None:
            return  # a kind that is not (yet) served: the dependent is kept
        if resource.namespaced and not node.namespace:
            return
        found = await self._client.find(resource, reference["name"], node.namespace if resource.namespaced else None)
        if found is None or found["metadata"]["uid"] != reference["uid"]:
            self._graph.absent.add(reference["uid"])

    async def _delete(self, node: Node, policy: Propagation) -> None:
        try:
            await self._client.delete(
                node.resource,
                node.name,
                node.namespace or None,
                propagation=policy,
                uid=node.uid,
            )
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise

    async def _drop_owners(self, node: Node, uids: tuple[str, ...]) -> None:
        obj = await self._client.find(node.resource, node.name, node.namespace or None)
        if obj is None or obj["metadata"]["uid"] != node.uid:
            return
        patch = {
            "metadata": {
                "resourceVersion": obj["metadata"]["resourceVersion"],
                "ownerReferences": kept_references(obj, uids) or None,
            }
        }
        await self._client.patch(node.resource, node.name, patch, node.namespace or None)

    async def _drop_finalizer(self, node: Node, finalizer: str) -> None:
        obj = await self._client.find(node.resource, node.name, node.namespace or None)
        if obj is None or obj["metadata"]["uid"] != node.uid:
            return
        rest = [f for f in obj["metadata"].get("finalizers") or () if f != finalizer]
        patch = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": rest or None}}
        try:
            await self._client.patch(node.resource, node.name, patch, node.namespace or None)
        except ApiError as error:
            if not error.not_found:
                raise
