"""ReplicaSets: keeps each one's number of pods. The rules are in replicaset_plan.py."""

from __future__ import annotations

import time

from mizzen.api.labels import from_message
from mizzen.kube.controller import After, itself, owner
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import PODS, REPLICA_SETS, Key, Object
from mizzen.runtime.controllers.events import Recorder, timestamp
from mizzen.runtime.controllers.orphans import wakes
from mizzen.runtime.controllers.owners import adoption, claim, controller_of, reference_to, releasing
from mizzen.runtime.controllers.replicaset_plan import new_pod, plan, status
from mizzen.runtime.controllers.writes import Writer

API_VERSION, KIND = "apps/v1", "ReplicaSet"


class ReplicaSetController:
    """A key is a ReplicaSet's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self.watches = {REPLICA_SETS: itself, PODS: wakes(owner(KIND), writer, REPLICA_SETS)}

    async def reconcile(self, key: Key) -> After | None:
        replica_set = self._writer.get(REPLICA_SETS, key)
        if replica_set is None:
            return None
        pods = await self._claimed(replica_set)
        failure = None
        if "deletionTimestamp" not in replica_set["metadata"]:
            failure = await self._resize(replica_set, pods)
            pods = self._owned(replica_set)
        counted = status(replica_set, pods, failure, time.time())
        _stamp(replica_set, counted.status)
        await self._writer.update_status(REPLICA_SETS, replica_set, counted.status)
        return After(counted.again_s) if counted.again_s is not None else None

    def _owned(self, replica_set: Object) -> list[Object]:
        uid = replica_set["metadata"]["uid"]
        every = self._writer.in_namespace(PODS, replica_set["metadata"]["namespace"])
        return [pod for pod in every if (ref := controller_of(pod)) is not None and ref["uid"] == uid]

    async def _claimed(self, replica_set: Object) -> list[Object]:
        every = self._writer.in_namespace(PODS, replica_set["metadata"]["namespace"])
        claims = claim(replica_set, every, from_message(replica_set["spec"].get("selector")))
        for pod in claims.release:
            await self._writer.patch(PODS, pod, releasing(replica_set, pod))
        adopted = [
            await self._writer.patch(PODS, pod, adoption(replica_set, API_VERSION, KIND, pod)) for pod in claims.adopt
        ]
        return claims.owned + adopted

    async def _resize(self, replica_set: Object, pods: list[Object]) -> tuple[str, str] | None:
        spec = replica_set["spec"]
        todo = plan(spec.get("replicas", 1), pods, self._siblings(replica_set) if pods else pods)
        reference = reference_to(replica_set, API_VERSION, KIND)
        for _ in range(todo.create):
            try:
                pod = await self._writer.create(PODS, new_pod(replica_set, spec["template"], reference))
            except ApiError as error:
                if error.not_found:  # the namespace is going
                    return None
                message = f"Error creating: {error.message}"
                await self._recorder.event(replica_set, "Warning", "FailedCreate", message)
                await self._status_now(replica_set, ("FailedCreate", error.message))
                raise
            await self._recorder.event(
                replica_set, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"
            )
        for pod in todo.delete:
            await self._writer.delete(PODS, pod)
            await self._recorder.event(
                replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}"
            )
        return None

    async def _status_now(self, replica_set: Object, failure: tuple[str, str]) -> None:
        counted = status(replica_set, self._owned(replica_set), failure, time.time())
        _stamp(replica_set, counted.status)
        await self._writer.update_status(REPLICA_SETS, replica_set, counted.status)

    def _siblings(self, replica_set: Object) -> list[Object]:
        """Pods of all ReplicaSets of the same Deployment: where they run decides who goes first."""
        deployment = controller_of(replica_set)
        namespace = replica_set["metadata"]["namespace"]
        if deployment is None:
            return self._owned(replica_set)
        sets = {
            rs["metadata"]["uid"]
            for rs in self._writer.in_namespace(REPLICA_SETS, namespace)
            if (ref := controller_of(rs)) is not None and ref["uid"] == deployment["uid"]
        }
        pods = self._writer.in_namespace(PODS, namespace)
        return [pod for pod in pods if (ref := controller_of(pod)) is not None and ref["uid"] in sets]


def _stamp(replica_set: Object, fresh: Object) -> None:
    """Gives conditions their transition times: kept where the status is the same."""
    before = {c["type"]: c for c in replica_set.get("status", {}).get("conditions") or ()}
    for entry in fresh.get("conditions") or ():
        old = before.get(entry["type"])
        same = old is not None and old["status"] == entry["status"] and "lastTransitionTime" in old
        entry.setdefault("lastTransitionTime", old["lastTransitionTime"] if same and old else timestamp(time.time()))
