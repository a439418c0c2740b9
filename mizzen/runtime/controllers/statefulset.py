"""StatefulSets: pods with names and claims of their own, one after the other. The rules are in statefulset_plan.py."""

from __future__ import annotations

import time
from typing import Any

from mizzen.kube.controller import After, itself, owner
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import PODS, STATEFUL_SETS, Key, core
from mizzen.runtime.controllers import statefulset_plan as rules
from mizzen.runtime.controllers.events import Recorder
from mizzen.runtime.controllers.owners import is_controlled_by
from mizzen.runtime.controllers.pods import available_in, is_ready
from mizzen.runtime.controllers.revisions import CONTROLLER_REVISIONS, HASH, History, RevisionKeeper
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
CLAIMS = core("persistentvolumeclaims", "PersistentVolumeClaim")
KIND = "StatefulSet"


class StatefulSetController:
    """A key is a StatefulSet's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self._revisions = RevisionKeeper(writer, KIND)
        self.watches = {STATEFUL_SETS: itself, PODS: owner(KIND), CONTROLLER_REVISIONS: owner(KIND)}

    async def reconcile(self, key: Key) -> After | None:
        stateful_set = self._writer.get(STATEFUL_SETS, key)
        if stateful_set is None or "deletionTimestamp" in stateful_set["metadata"]:
            return None
        history = await self._revisions.sync(stateful_set)
        update = history.current["metadata"]["name"]
        known = {r["metadata"]["name"]: r for r in [*history.others, history.current]}
        current = stateful_set.get("status", {}).get("currentRevision") or update
        if current not in known:
            current = update
        todo = rules.plan(stateful_set, self._pods(stateful_set), current, update, time.time())
        for pod in todo.delete:
            await self._writer.delete(PODS, pod)
            await self._tell(stateful_set, "SuccessfulDelete", f"delete Pod {pod['metadata']['name']} in StatefulSet")
        for number, of_update in todo.create:
            await self._create(stateful_set, number, known[update if of_update else current])
        pods = self._pods(stateful_set)
        live = {(pod["metadata"].get("labels") or {}).get(HASH, "") for pod in pods} | {current, update}
        await self._revisions.truncate(stateful_set, history, live)
        return await self._status(stateful_set, pods, current, history)

    def _pods(self, stateful_set: Object) -> list[Object]:
        every = self._writer.in_namespace(PODS, stateful_set["metadata"]["namespace"])
        return [pod for pod in every if is_controlled_by(pod, stateful_set)]

    async def _create(self, stateful_set: Object, number: int, revision: Object) -> None:
        for claim in rules.claims(stateful_set, number):
            try:
                await self._writer.client.create(CLAIMS, claim)
            except ApiError as error:
                if not error.already_exists:
                    raise
        template = {k: v for k, v in revision["data"]["spec"]["template"].items() if k != "$patch"}
        pod = rules.new_pod(stateful_set, number, template, revision["metadata"]["name"])
        await self._writer.create(PODS, pod)
        await self._tell(stateful_set, "SuccessfulCreate", f"create Pod {pod['metadata']['name']} in StatefulSet")

    async def _tell(self, stateful_set: Object, reason: str, what: str) -> None:
        text = f"{what} {stateful_set['metadata']['name']} successful"
        await self._recorder.event(stateful_set, "Normal", reason, text)

    async def _status(self, stateful_set: Object, pods: list[Object], current: str, history: History) -> After | None:
        update, now = history.current["metadata"]["name"], time.time()
        least_s = stateful_set["spec"].get("minReadySeconds", 0)
        living = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

        def of(revision: str) -> int:
            return sum((pod["metadata"].get("labels") or {}).get(HASH) == revision for pod in living)

        waits = [available_in(pod, least_s, now) for pod in living]
        replicas = stateful_set["spec"].get("replicas", 1)
        rolled = of(update) == len(living) == replicas and sum(is_ready(pod) for pod in living) == replicas
        whole = rules.partition(stateful_set) == 0
        if rolled and whole and (stateful_set["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
            current = update
        status: Object = {
            "observedGeneration": stateful_set["metadata"].get("generation", 0),
            "replicas": len(pods),
            "readyReplicas": sum(is_ready(pod) for pod in living),
            "currentReplicas": of(current),
            "updatedReplicas": of(update),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": stateful_set.get("status", {}).get("collisionCount", 0),
            "availableReplicas": sum(wait == 0.0 for wait in waits),
        }
        for name in ("readyReplicas", "currentReplicas", "updatedReplicas"):
            if not status[name]:
                del status[name]
        await self._writer.update_status(STATEFUL_SETS, stateful_set, status)
        pending = [wait for wait in waits if wait]
        return After(min(pending)) if pending else None
