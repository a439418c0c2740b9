"""PersistentVolumes and the claims that take them: binding, release, protection. Nothing is provisioned.

Source: core/v1 PersistentVolumeClaim and PersistentVolume; the documented matching: class, modes, size (smallest that fits), selector.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mizzen.api.labels import everything, from_message
from mizzen.api.quantities import parse_quantity
from mizzen.kube.controller import After, itself
from mizzen.kube.errors import ApiError
from mizzen.kube.resource import PODS, Key, Resource, core, key_of
from mizzen.runtime.controllers.writes import Writer

Object = dict[str, Any]
CLAIMS = core("persistentvolumeclaims", "PersistentVolumeClaim")
VOLUMES = Resource("", "v1", "persistentvolumes", False, "PersistentVolume")
BOUND, BY_US = "pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"
PROTECTION = "kubernetes.io/pvc-protection"


def matching(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """The smallest volume that is free, or meant for this claim, and fits it."""
    spec = claim["spec"]
    asked = parse_quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
    takes = from_message(spec["selector"]) if spec.get("selector") else everything
    found = []
    for volume in volumes:
        own, reference = volume["spec"], volume["spec"].get("claimRef")
        if spec.get("volumeName") and spec["volumeName"] != volume["metadata"]["name"]:
            continue
        if reference is not None:
            same = (reference.get("namespace"), reference.get("name")) == (
                claim["metadata"]["namespace"],
                claim["metadata"]["name"],
            )
            if not same or reference.get("uid") not in (None, "", claim["metadata"]["uid"]):
                continue
        fits = (
            own.get("storageClassName", "") == spec.get("storageClassName", "")
            and own.get("volumeMode", "Filesystem") == spec.get("volumeMode", "Filesystem")
            and set(spec.get("accessModes") or ()) <= set(own.get("accessModes") or ())
            and parse_quantity(own["capacity"]["storage"]) >= asked
            and takes(volume["metadata"].get("labels") or {})
            and "deletionTimestamp" not in volume["metadata"]
        )
        if fits:
            found.append(volume)
    return min(
        found, key=lambda v: (parse_quantity(v["spec"]["capacity"]["storage"]), v["metadata"]["name"]), default=None
    )


class VolumeBinder:
    """A key is a claim's."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {CLAIMS: itself, VOLUMES: self._of_volume, PODS: self._of_pod}

    def _of_volume(self, volume: Object) -> Iterable[Key]:
        reference = volume["spec"].get("claimRef")
        if reference:
            return [Key(reference["namespace"], reference["name"])]
        return [
            key_of(c) for c in self._writer.informers.of(CLAIMS).all() if c.get("status", {}).get("phase") != "Bound"
        ]

    def _of_pod(self, pod: Object) -> Iterable[Key]:
        return [Key(pod["metadata"]["namespace"], name) for name in _claims_of(pod)]

    async def reconcile(self, key: Key) -> After | None:
        claim = self._writer.get(CLAIMS, key)
        await self._released(key, claim)
        if claim is None:
            return None
        if "deletionTimestamp" in claim["metadata"]:
            await self._unprotect(claim)
            return None
        volume = matching(claim, self._writer.informers.of(VOLUMES).all())
        if volume is None:
            if claim.get("status", {}).get("phase") not in ("Pending", "Lost"):
                phase = "Lost" if claim["spec"].get("volumeName") else "Pending"
                await self._writer.update_status(CLAIMS, claim, {"phase": phase})
            return None
        await self._bind(claim, volume)
        return None

    async def _bind(self, claim: Object, volume: Object) -> None:
        metadata = claim["metadata"]
        reference = {
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": metadata["namespace"],
            "name": metadata["name"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        }  # fmt: skip
        if (volume["spec"].get("claimRef") or {}).get("uid") != metadata["uid"]:
            annotations = {**(volume["metadata"].get("annotations") or {})}
            if not volume["spec"].get("claimRef"):
                annotations[BY_US] = "yes"
            patched = {
                **volume,
                "metadata": {**volume["metadata"], "annotations": annotations},
                "spec": {**volume["spec"], "claimRef": reference},
            }
            volume = await self._writer.update(VOLUMES, patched)
        if volume.get("status", {}).get("phase") != "Bound":
            volume = await self._writer.update_status(VOLUMES, volume, {"phase": "Bound"}) or volume
        annotations = {**(metadata.get("annotations") or {}), BOUND: "yes"}
        if not claim["spec"].get("volumeName"):
            annotations[BY_US] = "yes"
        if claim["spec"].get("volumeName") != volume["metadata"]["name"] or annotations != metadata.get("annotations"):
            claim = await self._writer.update(
                CLAIMS,
                {
                    **claim,
                    "metadata": {**metadata, "annotations": annotations},
                    "spec": {**claim["spec"], "volumeName": volume["metadata"]["name"]},
                },
            )
        status = {
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        }
        await self._writer.update_status(CLAIMS, claim, status)

    async def _released(self, key: Key, claim: Object | None) -> None:
        """Volumes of a claim that is gone are Released; with reclaim policy Delete they go too."""
        for volume in self._writer.informers.of(VOLUMES).all():
            reference = volume["spec"].get("claimRef") or {}
            if (reference.get("namespace"), reference.get("name")) != (key.namespace, key.name) or not reference.get(
                "uid"
            ):
                continue
            if claim is not None and claim["metadata"]["uid"] == reference["uid"]:
                continue
            if volume.get("status", {}).get("phase") != "Released":
                await self._writer.update_status(VOLUMES, volume, {"phase": "Released"})
            if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
                await self._writer.delete(VOLUMES, volume)

    async def _unprotect(self, claim: Object) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        if PROTECTION not in finalizers:
            return
        users = [
            pod for pod in self._writer.in_namespace(PODS, namespace)
            if name in _claims_of(pod) and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]  # fmt: skip
        if users:
            return
        rest = [f for f in finalizers if f != PROTECTION]
        try:
            await self._writer.client.patch(CLAIMS, name, {"metadata": {"finalizers": rest or None}}, namespace)
        except ApiError as error:
            if not error.not_found:
                raise


class VolumeStatus:
    """A key is a volume's name: a new one is Available; one that goes loses its protection once it is not bound."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {VOLUMES: itself}

    async def reconcile(self, key: Key) -> After | None:
        volume = self._writer.get(VOLUMES, key)
        if volume is None:
            return None
        phase = volume.get("status", {}).get("phase")
        if "deletionTimestamp" in volume["metadata"] and phase != "Bound":
            finalizers = volume["metadata"].get("finalizers") or []
            if "kubernetes.io/pv-protection" in finalizers:
                rest = [f for f in finalizers if f != "kubernetes.io/pv-protection"]
                await self._writer.patch(VOLUMES, volume, {"metadata": {"finalizers": rest or None}}, type="merge")
        elif phase in (None, "Pending") and not volume["spec"].get("claimRef"):
            await self._writer.update_status(VOLUMES, volume, {"phase": "Available"})
        return None


def _claims_of(pod: Object) -> list[str]:
    return [
        v["persistentVolumeClaim"]["claimName"]
        for v in pod["spec"].get("volumes") or ()
        if v.get("persistentVolumeClaim")
    ]
