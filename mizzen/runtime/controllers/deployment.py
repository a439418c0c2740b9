"""Deployments: moves each from its old ReplicaSets to the new one. The rules are in deployment_plan.py."""

from __future__ import annotations

import time
from typing import Any

from mizzen.api.labels import from_message
from mizzen.kube.controller import After, itself, owner
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import DEPLOYMENTS, PODS, REPLICA_SETS, Key
from mizzen.runtime.controllers import deployment_plan as rules
from mizzen.runtime.controllers.deployment_status import conditions
from mizzen.runtime.controllers.events import Recorder
from mizzen.runtime.controllers.hashes import stable_hash
from mizzen.runtime.controllers.orphans import wakes
from mizzen.runtime.controllers.owners import adoption, claim, controller_of, reference_to, releasing
from mizzen.runtime.controllers.pods import moment
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
API_VERSION, KIND = "apps/v1", "Deployment"


class DeploymentController:
    """A key is a Deployment's."""

    def __init__(self, writer: Writer, recorder: Recorder) -> None:
        self._writer, self._recorder = writer, recorder
        self.watches = {DEPLOYMENTS: itself, REPLICA_SETS: wakes(owner(KIND), writer, DEPLOYMENTS), PODS: self._of_pod}

    def _of_pod(self, pod: Object) -> list[Key]:
        """Only Recreate waits for pods that are gone; other rollouts hear of pods through ReplicaSet status."""
        reference = controller_of(pod)
        if reference is None or reference["kind"] != "ReplicaSet":
            return []
        namespace = pod["metadata"]["namespace"]
        replica_set = self._writer.get(REPLICA_SETS, Key(namespace, reference["name"]))
        parent = controller_of(replica_set) if replica_set else None
        return [Key(namespace, parent["name"])] if parent is not None and parent["kind"] == KIND else []

    async def reconcile(self, key: Key) -> After | None:
        deployment = self._writer.get(DEPLOYMENTS, key)
        if deployment is None:
            return None
        mine = await self._claimed(deployment)
        if "deletionTimestamp" in deployment["metadata"]:
            return await self._write_status(deployment, rules.find_new(deployment, mine), mine)
        paused = bool(deployment["spec"].get("paused"))
        scaling = rules.is_scaling(deployment, mine)
        new = rules.find_new(deployment, mine)
        if not (paused or scaling):
            deployment, new = await self._new_replica_set(deployment, new, mine)
            mine = [rs for rs in mine if rs["metadata"]["uid"] != new["metadata"]["uid"]] + [new]
        if paused or scaling or new is None:
            mine = await self._scale(deployment, new, mine)
        elif (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            mine = await self._recreate(deployment, new, mine)
        else:
            mine = await self._roll(deployment, new, mine)
        new = rules.find_new(deployment, mine)
        return await self._write_status(deployment, new, mine)

    async def _claimed(self, deployment: Object) -> list[Object]:
        every = self._writer.in_namespace(REPLICA_SETS, deployment["metadata"]["namespace"])
        claims = claim(deployment, every, from_message(deployment["spec"].get("selector")))
        for rs in claims.release:
            await self._writer.patch(REPLICA_SETS, rs, releasing(deployment, rs))
        adopt = [
            await self._writer.patch(REPLICA_SETS, rs, adoption(deployment, API_VERSION, KIND, rs))
            for rs in claims.adopt
        ]
        return claims.owned + adopt

    async def _new_replica_set(
        self, deployment: Object, new: Object | None, mine: list[Object]
    ) -> tuple[Object, Object]:
        """The ReplicaSet of the present template, made or brought up to date, and the Deployment with its revision."""
        old = [rs for rs in mine if new is None or rs["metadata"]["uid"] != new["metadata"]["uid"]]
        revision = str(max((rules.revision_of(rs) for rs in old), default=0) + 1)
        annotations = rules.handed_down(deployment)
        if new is None:
            new = await self._create(deployment, mine, revision, annotations)
        else:
            merged = rules.revised(new, revision, annotations)
            least = deployment["spec"].get("minReadySeconds", 0)
            if merged is not None or new["spec"].get("minReadySeconds", 0) != least:
                metadata = {**new["metadata"], "annotations": merged or new["metadata"].get("annotations")}
                spec = {**new["spec"], "minReadySeconds": least}
                new = await self._writer.update(REPLICA_SETS, {**new, "metadata": metadata, "spec": spec})
        shown = rules.revision_text(new)
        if (deployment["metadata"].get("annotations") or {}).get(rules.REVISION) != shown:
            patch = {"metadata": {"annotations": {rules.REVISION: shown}}}  # by its status: generation stays
            deployment = await self._writer.patch(DEPLOYMENTS, deployment, patch, type="merge", subresource="status")
        return deployment, new

    async def _create(
        self, deployment: Object, mine: list[Object], revision: str, annotations: dict[str, str]
    ) -> Object:
        spec, metadata = deployment["spec"], deployment["metadata"]
        status = deployment.get("status", {})
        template_hash = stable_hash(rules.bare_template(spec["template"]), status.get("collisionCount", 0))
        template = rules.labelled(spec["template"], template_hash)
        selector = spec["selector"]
        new: Object = {
            "apiVersion": API_VERSION,
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{metadata['name']}-{template_hash}",
                "namespace": metadata["namespace"],
                "labels": template["metadata"]["labels"],
                "ownerReferences": [reference_to(deployment, API_VERSION, KIND)],
            },
            "spec": {
                "replicas": 0,
                "minReadySeconds": spec.get("minReadySeconds", 0),
                "selector": {
                    **selector,
                    "matchLabels": {**(selector.get("matchLabels") or {}), rules.HASH: template_hash},
                },
                "template": template,
            },
        }
        new["spec"]["replicas"] = size = rules.new_size(deployment, new, [*mine, new])
        new["metadata"]["annotations"] = {**annotations, **rules.size_notes(deployment), rules.REVISION: revision}
        try:
            created = await self._writer.create(REPLICA_SETS, new)
        except ApiError as error:
            if error.already_exists:
                count = status.get("collisionCount", 0) + 1
                await self._writer.update_status(DEPLOYMENTS, deployment, {**status, "collisionCount": count})
            raise
        if size:
            await self._recorder.event(
                deployment,
                "Normal",
                "ScalingReplicaSet",
                f"Scaled up replica set {new['metadata']['name']} from 0 to {size}",
            )
        return created

    async def _resize(self, deployment: Object, rs: Object, size: int) -> Object:
        notes = rules.size_notes(deployment)
        annotations = rs["metadata"].get("annotations") or {}
        before = rules.replicas_of(rs)
        if before == size and all(annotations.get(k) == v for k, v in notes.items()):
            return rs
        metadata = {**rs["metadata"], "annotations": {**annotations, **notes}}
        updated = await self._writer.update(
            REPLICA_SETS, {**rs, "metadata": metadata, "spec": {**rs["spec"], "replicas": size}}
        )
        if before != size:
            way = "up" if size > before else "down"
            text = f"Scaled {way} replica set {rs['metadata']['name']} from {before} to {size}"
            await self._recorder.event(deployment, "Normal", "ScalingReplicaSet", text)
        return updated

    async def _resized(self, deployment: Object, sets: list[Object], sizes: dict[str, int]) -> list[Object]:
        return [
            await self._resize(deployment, rs, sizes[rs["metadata"]["name"]]) if rs["metadata"]["name"] in sizes else rs
            for rs in sets
        ]

    async def _roll(self, deployment: Object, new: Object, mine: list[Object]) -> list[Object]:
        size = rules.new_size(deployment, new, mine)
        grown = await self._resize(deployment, new, size)
        mine = [grown if rs["metadata"]["uid"] == new["metadata"]["uid"] else rs for rs in mine]
        if size == rules.replicas_of(new):
            old = [rs for rs in mine if rs is not grown and rules.replicas_of(rs) > 0]
            mine = await self._resized(deployment, mine, rules.scale_down_old(deployment, grown, old))
        return await self._cleaned(deployment, grown, mine)

    async def _recreate(self, deployment: Object, new: Object, mine: list[Object]) -> list[Object]:
        old = [rs for rs in mine if rs["metadata"]["uid"] != new["metadata"]["uid"]]
        running = [rs for rs in old if rules.replicas_of(rs) > 0]
        if running:
            return await self._resized(deployment, mine, {rs["metadata"]["name"]: 0 for rs in running})
        uids = {rs["metadata"]["uid"] for rs in old}
        for pod in self._writer.in_namespace(PODS, deployment["metadata"]["namespace"]):
            reference = controller_of(pod)
            if reference is not None and reference["uid"] in uids and pod.get("status", {}).get("phase") not in (
                "Succeeded", "Failed",
            ):  # fmt: skip
                return mine  # an old pod still runs
        grown = await self._resize(deployment, new, rules.replicas_of(deployment))
        mine = [grown if rs["metadata"]["uid"] == new["metadata"]["uid"] else rs for rs in mine]
        return await self._cleaned(deployment, grown, mine)

    async def _scale(self, deployment: Object, new: Object | None, mine: list[Object]) -> list[Object]:
        """Only sizes change: spec.replicas was changed in mid-rollout, or the Deployment is paused."""
        active = [rs for rs in mine if rules.replicas_of(rs) > 0]
        if len(active) <= 1:
            target = active[0] if active else new or next(reversed(rules.oldest_first(mine)), None)
            if target is None:
                return mine
            return await self._resized(deployment, mine, {target["metadata"]["name"]: rules.replicas_of(deployment)})
        if new is not None and rules.saturated(deployment, new):
            others = [rs for rs in active if rs["metadata"]["uid"] != new["metadata"]["uid"]]
            return await self._resized(deployment, mine, {rs["metadata"]["name"]: 0 for rs in others})
        if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
            return mine
        return await self._resized(deployment, mine, rules.proportional(deployment, active))

    async def _cleaned(self, deployment: Object, new: Object, mine: list[Object]) -> list[Object]:
        if not rules.is_complete(deployment, rules.counts(deployment, new, mine)):
            return mine
        old = [rs for rs in mine if rs["metadata"]["uid"] != new["metadata"]["uid"]]
        gone = rules.to_clean_up(deployment, old)
        for rs in gone:
            await self._writer.delete(REPLICA_SETS, rs)
        names = {rs["metadata"]["name"] for rs in gone}
        return [rs for rs in mine if rs["metadata"]["name"] not in names]

    async def _write_status(self, deployment: Object, new: Object | None, mine: list[Object]) -> After | None:
        now = time.time()
        status = rules.counts(deployment, new, mine)
        if (collisions := deployment.get("status", {}).get("collisionCount")) is not None:
            status["collisionCount"] = collisions
        status["conditions"] = conditions(deployment, status, new, mine, now)
        await self._writer.update_status(DEPLOYMENTS, deployment, status)
        progressing = next((c for c in status["conditions"] if c["type"] == "Progressing"), None)
        if progressing is None or progressing["status"] != "True" or progressing["reason"] == "NewReplicaSetAvailable":
            return None
        left = moment(progressing["lastUpdateTime"]) + deployment["spec"].get("progressDeadlineSeconds", 600) - now
        return After(max(left, 0.0) + 1.0) if left < 2**31 - 1000 else None
