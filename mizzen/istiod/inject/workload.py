"""The workload that a pod belongs to, read off its controller and labels.

Source: Istio's owner detection. A pod whose name is not generated speaks for itself.
"""

from __future__ import annotations

import re

import msgspec

from mizzen.istiod.inject.config import Object

CRON_JOB_NAME = re.compile(r"(.+)-\d{8,10}")


class Workload(msgspec.Struct, frozen=True):
    """kind and api_version of the workload, its name ("" when unknown) and namespace ("" for the default one)."""

    kind: str
    api_version: str
    name: str
    namespace: str


def workload_of_pod(metadata: Object, namespace: str = "") -> Workload:
    """The workload of a pod. namespace: what an admission request says, for pods that do not say it themselves."""
    place = metadata.get("namespace") or namespace
    kind, api_version, name = "Pod", "v1", ""
    if metadata.get("generateName"):
        owner = next((ref for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None)
        if owner is not None:
            kind, api_version, name = controller(owner, metadata.get("labels") or {})
    return Workload(kind, api_version, name or metadata.get("name") or "", place)


def controller(owner: Object, labels: dict[str, str]) -> tuple[str, str, str]:
    """(kind, apiVersion, name) of what stands behind a controller."""
    kind, api_version, name = owner.get("kind", ""), owner.get("apiVersion", ""), owner.get("name", "")
    if kind == "ReplicaSet":
        for label, above, version in (
            ("pod-template-hash", "Deployment", api_version),
            ("rollouts-pod-template-hash", "Rollout", "v1alpha1"),
        ):
            suffix = labels.get(label)
            if suffix and name.endswith(suffix):
                return above, version, name.removesuffix(f"-{suffix}")
    if kind == "ReplicationController" and labels.get("deploymentconfig"):
        return "DeploymentConfig", api_version, labels["deploymentconfig"]
    if kind == "Job" and (found := CRON_JOB_NAME.fullmatch(name)):
        return "CronJob", "batch/v1", found[1]
    return kind, api_version, name
