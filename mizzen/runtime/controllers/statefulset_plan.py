"""What a StatefulSet does next: which ordinal to create, which pod to delete. Pure.

Source: apps/v1 StatefulSet (ordered start, reverse-ordered stop and update, partition, Parallel policy, start ordinal,
persistentVolumeClaimRetentionPolicy).
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from mizzen.runtime.controllers.owners import reference_to
from mizzen.runtime.controllers.pods import available_in
from mizzen.runtime.controllers.revisions import HASH

Object = dict[str, Any]
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"


class Plan(NamedTuple):
    """Ordinals to create (with the revision each is of) and pods to delete, in order."""

    create: list[tuple[int, bool]]  # (ordinal, of the update revision)
    delete: list[Object]


def ordinal(stateful_set: Object, pod: Object) -> int | None:
    """The number at the end of a pod's name; None when it is not one of the set's names."""
    prefix, _, number = str(pod["metadata"]["name"]).rpartition("-")
    return int(number) if prefix == stateful_set["metadata"]["name"] and number.isdigit() else None


def first_ordinal(stateful_set: Object) -> int:
    return int((stateful_set["spec"].get("ordinals") or {}).get("start", 0))


def partition(stateful_set: Object) -> int:
    """Ordinals below this keep the current revision."""
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    return int((strategy.get("rollingUpdate") or {}).get("partition", 0))


def plan(stateful_set: Object, pods: list[Object], current: str, update: str, now: float) -> Plan:
    """current, update: names of the revisions that pods are of, or shall become of."""
    spec = stateful_set["spec"]
    start, replicas = first_ordinal(stateful_set), spec.get("replicas", 1)
    parallel = spec.get("podManagementPolicy") == "Parallel"
    least_s = spec.get("minReadySeconds", 0)
    by_ordinal = {n: pod for pod in pods if (n := ordinal(stateful_set, pod)) is not None}
    wanted = range(start, start + replicas)
    result = Plan([], [])

    def healthy(pod: Object) -> bool:
        return "deletionTimestamp" not in pod["metadata"] and available_in(pod, least_s, now) == 0.0

    for number in wanted:
        pod = by_ordinal.get(number)
        if pod is not None and pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            if "deletionTimestamp" not in pod["metadata"]:
                result.delete.append(pod)
            if not parallel:
                return result
        elif pod is None:
            result.create.append((number, _of_update(stateful_set, number, current, update)))
            if not parallel:
                return result
        elif not healthy(pod) and not parallel:
            return _replace_broken(result, pod, stateful_set, number, update)
    surplus = sorted((n for n in by_ordinal if n not in wanted), reverse=True)
    for number in surplus:
        pod = by_ordinal[number]
        if "deletionTimestamp" in pod["metadata"]:
            if not parallel:
                return result
            continue
        others_well = all(healthy(by_ordinal[n]) for n in wanted if n in by_ordinal)
        if parallel or others_well:
            result.delete.append(pod)
        if not parallel:
            return result
    if surplus and not parallel:
        return result
    return _roll(result, stateful_set, by_ordinal, update, healthy)


def _replace_broken(result: Plan, pod: Object, stateful_set: Object, number: int, update: str) -> Plan:
    """A pod that is not healthy holds up the rest; if it is of an old revision and shall be updated, it goes now."""
    if (stateful_set["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return result
    outdated = (pod["metadata"].get("labels") or {}).get(HASH) != update
    if outdated and number >= partition(stateful_set) and "deletionTimestamp" not in pod["metadata"]:
        result.delete.append(pod)
    return result


def _roll(result: Plan, stateful_set: Object, by_ordinal: dict[int, Object], update: str, healthy: Any) -> Plan:
    if (stateful_set["spec"].get("updateStrategy") or {}).get("type") == "OnDelete" or result.create or result.delete:
        return result
    start, replicas = first_ordinal(stateful_set), stateful_set["spec"].get("replicas", 1)
    for number in range(start + replicas - 1, max(start, partition(stateful_set)) - 1, -1):
        pod = by_ordinal.get(number)
        if pod is None:
            return result
        outdated = (pod["metadata"].get("labels") or {}).get(HASH) != update
        if outdated and "deletionTimestamp" not in pod["metadata"]:
            result.delete.append(pod)
            return result
        if not healthy(pod):
            return result
    return result


def _of_update(stateful_set: Object, number: int, current: str, update: str) -> bool:
    """Whether a missing pod is made of the update revision."""
    if current == update:
        return True
    strategy = stateful_set["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return True
    return number >= partition(stateful_set)


def claims(stateful_set: Object, number: int) -> list[Object]:
    """The PersistentVolumeClaims of one ordinal."""
    metadata = stateful_set["metadata"]
    result = []
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        labels = (stateful_set["spec"].get("selector") or {}).get("matchLabels") or {}
        own = template.get("metadata") or {}
        result.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": f"{own['name']}-{metadata['name']}-{number}",
                    "namespace": metadata["namespace"],
                    "labels": {**(own.get("labels") or {}), **labels},
                    **({"annotations": own["annotations"]} if own.get("annotations") else {}),
                },
                "spec": template["spec"],
            }
        )
    return result


def new_pod(stateful_set: Object, number: int, template: Object, revision: str) -> Object:
    """The pod of one ordinal."""
    metadata, spec = stateful_set["metadata"], stateful_set["spec"]
    name = f"{metadata['name']}-{number}"
    pod_metadata, pod_spec = template.get("metadata") or {}, copy.deepcopy(template.get("spec") or {})
    pod_spec["hostname"] = name
    if spec.get("serviceName"):
        pod_spec["subdomain"] = spec["serviceName"]
    volumes = []
    for claim_template in spec.get("volumeClaimTemplates") or ():
        volume = claim_template["metadata"]["name"]
        volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}"}})
    taken = {volume["name"] for volume in volumes}
    own = [v for v in pod_spec.get("volumes") or () if v["name"] not in taken]
    if volumes or own:
        pod_spec["volumes"] = volumes + own
    labels = {**(pod_metadata.get("labels") or {}), POD_NAME: name, POD_INDEX: str(number), HASH: revision}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            **({"annotations": pod_metadata["annotations"]} if pod_metadata.get("annotations") else {}),
            "ownerReferences": [reference_to(stateful_set, "apps/v1", "StatefulSet")],
        },
        "spec": pod_spec,
    }
