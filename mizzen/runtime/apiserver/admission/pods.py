"""What admission does to pods: service accounts and their tokens, priorities, tolerations, runtime classes.

Source: kube-apiserver's plug-ins ServiceAccount, Priority, DefaultTolerationSeconds, RuntimeClass, ExtendedResourceToleration.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from .base import Base, Write

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]
MIRROR = "kubernetes.io/config.mirror"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
LETTERS = "bcdfghjklmnpqrstvwxz2456789"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


def is_pod(write: Write) -> bool:
    return write.resource.qualified == "pods" and not write.subresource and write.new is not None


def is_mirror(pod: Object) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def put(spec: Object, **values: Any) -> None:
    """Sets fields of a pod spec in the order in which they are written."""
    from ..schema.facts import struct

    spec |= values
    order = struct("core/v1.PodSpec").fields
    kept = {key: spec[key] for key in order if key in spec}
    spec.clear()
    spec |= kept


class ServiceAccount(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        if not is_pod(write) or write.operation != "CREATE":
            return
        pod = write.new
        assert pod is not None
        if is_mirror(pod):
            self._mirror(write, pod)
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or "default"
        item = parts.item("serviceaccounts", write.namespace, name)
        if item is None:
            raise write.refuse(
                f'error looking up service account {write.namespace}/{name}: serviceaccount "{name}" not found'
            )
        account = item.shared
        put(spec, serviceAccountName=name, serviceAccount=name)
        if self._wants_token(spec, account):
            self._mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            put(spec, imagePullSecrets=[dict(one) for one in account["imagePullSecrets"]])

    def _mirror(self, write: Write, pod: Object) -> None:
        spec = pod["spec"]
        if spec.get("serviceAccountName"):
            raise write.refuse("a mirror pod may not reference service accounts")
        for volume in spec.get("volumes") or ():
            if volume.get("secret") is not None:
                raise write.refuse("a mirror pod may not reference secrets")
            if any(one.get("serviceAccountToken") for one in (volume.get("projected") or {}).get("sources") or ()):
                raise write.refuse("a mirror pod may not use ServiceAccountToken volume projections")

    def _wants_token(self, spec: Object, account: Object) -> bool:
        if spec.get("automountServiceAccountToken") is not None:
            return bool(spec["automountServiceAccountToken"])
        return account.get("automountServiceAccountToken") is not False

    def _mount(self, spec: Object) -> None:
        volumes = spec.get("volumes") or []
        name = next((one["name"] for one in volumes if one["name"].startswith("kube-api-access-")), "")
        fresh = not name
        name = name or "kube-api-access-" + "".join(random.choices(LETTERS, k=5))
        needed = False
        for key in ("initContainers", "containers"):
            for container in spec.get(key) or ():
                mounts = container.get("volumeMounts") or []
                if any(one.get("mountPath") == TOKEN_PATH for one in mounts):
                    continue
                needed = True
                mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
                _put_container(container, volumeMounts=[*mounts, mount])
        if needed and fresh:
            put(spec, volumes=[*volumes, token_volume(name)])


def _put_container(container: Object, **values: Any) -> None:
    from ..schema.facts import struct

    container |= values
    kept = {key: container[key] for key in struct("core/v1.Container").fields if key in container}
    container.clear()
    container |= kept


def token_volume(name: str) -> Object:
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [
                            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                        ]
                    }
                },
            ],
            "defaultMode": 420,
        },
    }


class Priority(Base):
    """Gives pods the priority of their class; keeps one default class."""

    async def mutate(self, write: Write, parts: Parts) -> None:
        if not is_pod(write) or write.operation != "CREATE":
            return
        pod = write.new
        assert pod is not None
        spec = pod["spec"]
        name, value, policy = self._class(write, spec, parts)
        if spec.get("priority") is not None and spec["priority"] != value:
            raise write.refuse(
                f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority admission controller computed {value} "
                "from the given PriorityClass name"
            )
        if spec.get("preemptionPolicy") is not None and spec["preemptionPolicy"] != policy:
            raise write.refuse(
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; priority admission controller "
                f"computed {policy} from the given PriorityClass name"
            )
        put(spec, **({"priorityClassName": name} if name else {}), priority=value, preemptionPolicy=policy)

    def _class(self, write: Write, spec: Object, parts: Parts) -> tuple[str, int, str]:
        classes = parts.registry.get("priorityclasses", "scheduling.k8s.io").collection
        name = spec.get("priorityClassName") or ""
        if name:
            item = classes.items.get(name)
            if item is None:
                raise write.refuse(f"no PriorityClass with name {name} was found")
            return name, item.shared.get("value", 0), item.shared.get("preemptionPolicy") or "PreemptLowerPriority"
        defaults = [item.shared for item in classes.items.values() if item.shared.get("globalDefault")]
        if defaults:
            least = min(defaults, key=lambda one: one.get("value", 0))
            return (
                least["metadata"]["name"],
                least.get("value", 0),
                least.get("preemptionPolicy") or "PreemptLowerPriority",
            )
        return "", 0, "PreemptLowerPriority"

    async def validate(self, write: Write, parts: Parts) -> None:
        if (
            write.resource.qualified != "priorityclasses.scheduling.k8s.io"
            or write.new is None
            or not write.new.get("globalDefault")
        ):
            return
        classes = parts.registry.get("priorityclasses", "scheduling.k8s.io").collection
        for item in classes.items.values():
            if item.shared.get("globalDefault") and item.key != write.name:
                raise write.refuse(f"PriorityClass {item.key} is already marked as default. Only one default can exist")


class DefaultTolerationSeconds(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        if not is_pod(write):
            return
        pod = write.new
        assert pod is not None
        given = list(pod["spec"].get("tolerations") or ())
        for key in (NOT_READY, UNREACHABLE):
            if not any(one.get("key", "") in ("", key) and one.get("effect", "") in ("", "NoExecute") for one in given):
                given.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
        if given != (pod["spec"].get("tolerations") or []):
            put(pod["spec"], tolerations=given)


class RuntimeClass(Base):
    async def mutate(self, write: Write, parts: Parts) -> None:
        if not is_pod(write) or write.operation != "CREATE":
            return
        pod = write.new
        assert pod is not None
        spec = pod["spec"]
        name = spec.get("runtimeClassName")
        if not name:
            if spec.get("overhead"):
                raise write.refuse("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
            return
        item = parts.registry.get("runtimeclasses", "node.k8s.io").collection.items.get(name)
        if item is None:
            raise write.refuse(f'pod rejected: RuntimeClass "{name}" not found')
        overhead = (item.shared.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and spec["overhead"] != overhead:
                raise write.refuse("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            put(spec, overhead=dict(overhead))
        scheduling = item.shared.get("scheduling") or {}
        if scheduling.get("nodeSelector"):
            mine = spec.get("nodeSelector") or {}
            for key, value in scheduling["nodeSelector"].items():
                if mine.get(key, value) != value:
                    raise write.refuse(
                        f"pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {mine[key]}"
                    )
            put(spec, nodeSelector={**mine, **scheduling["nodeSelector"]})
        if scheduling.get("tolerations"):
            put(spec, tolerations=[*(spec.get("tolerations") or ()), *scheduling["tolerations"]])


class TaintNodesByCondition(Base):
    """A node begins as not ready."""

    async def mutate(self, write: Write, parts: Parts) -> None:
        if write.resource.qualified != "nodes" or write.operation != "CREATE" or write.new is None:
            return
        spec = write.new.setdefault("spec", {})
        taints = list(spec.get("taints") or ())
        if not any(one.get("key") == NOT_READY and one.get("effect") == "NoSchedule" for one in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]
