"""Which fields of a pod this node does not do: refused by name before anything is made, never passed over.

Takes a pod (or one container), gives the paths with the reason.
Not here: what the API server refuses (apiserver/kinds), what depends on the node's state (volumes that cannot be made, …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mizzen.kube.resource import Object
from mizzen.runtime.apiserver.schema.facts import Type, struct

RESOURCES = ("cpu", "memory", "ephemeral-storage")
VOLUMES = str.split(
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi ephemeral fc flexVolume flocker gcePersistentDisk gitRepo "
    "glusterfs image iscsi nfs persistentVolumeClaim photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos "
    "vsphereVolume"
)
OWNERS = str.split(
    "ConfigMapVolumeSource.defaultUser SecretVolumeSource.defaultUser DownwardAPIVolumeSource.defaultUser "
    "ProjectedVolumeSource.defaultUser KeyToPath.user DownwardAPIVolumeFile.user ServiceAccountTokenProjection.user"
)


class Rule(NamedTuple):
    """when: whether a value of the field asks for what is not done. reason: for people."""

    when: Callable[[Any], bool]
    reason: str


def _given(value: Any) -> bool:
    return value not in (None, "", [], {})


def _profile(value: Any) -> bool:
    return bool(value) and value.get("type") == "Localhost"


def _app_armor(value: Any) -> bool:
    return bool(value) and value.get("type") != "Unconfined"


def _restarts_all(rules: Any) -> bool:
    return any(rule.get("action") != "Restart" for rule in rules or ())


def unknown_resources(amounts: Any) -> bool:
    """Whether a resource list names more than the node has."""
    return any(name not in RESOURCES for name in amounts or {})


NO_RESOURCE = f"this node has no other resources than {', '.join(RESOURCES)}"
NO_APP_ARMOR = "containers are not confined by AppArmor here"
NO_SELINUX = "there is no SELinux here"
NO_PROFILES = "seccomp profiles of one's own are not supported"

# "Type.field", as Kubernetes' types have them.
REFUSED: dict[str, Rule] = {
    "PodSpec.evictionResponders": Rule(_given, "nobody asks them here"),
    "PodSpec.hostUsers": Rule(lambda value: value is False, "user namespaces are not supported"),
    "PodSpec.os": Rule(lambda value: (value or {}).get("name") not in (None, "linux"), "this node runs linux"),
    "PodSpec.resourceClaims": Rule(_given, "dynamic resource allocation is not supported"),
    "PodSpec.resources": Rule(_given, "resources of a whole pod are not supported, only of its containers"),
    "PodSpec.schedulingGroup": Rule(_given, "pods are scheduled one by one"),
    "Container.volumeDevices": Rule(_given, "there are no block volumes"),
    "Container.restartPolicyRules": Rule(_restarts_all, "the only action is Restart"),
    "EnvVarSource.fileKeyRef": Rule(_given, "variables from files are not supported"),
    "Lifecycle.stopSignal": Rule(_given, "containers are stopped by SIGTERM"),
    "HTTPGetAction.protocol": Rule(_given, "probes speak HTTP/1.1"),
    "GRPCAction.mode": Rule(_given, "probes speak gRPC in plaintext"),
    "ResourceRequirements.claims": Rule(_given, "dynamic resource allocation is not supported"),
    "ResourceRequirements.limits": Rule(unknown_resources, NO_RESOURCE),
    "ResourceRequirements.requests": Rule(unknown_resources, NO_RESOURCE),
    "SecurityContext.appArmorProfile": Rule(_app_armor, NO_APP_ARMOR),
    "SecurityContext.procMount": Rule(lambda value: value == "Unmasked", "/proc is masked"),
    "SecurityContext.seLinuxOptions": Rule(_given, NO_SELINUX),
    "SecurityContext.seccompProfile": Rule(_profile, NO_PROFILES),
    "PodSecurityContext.appArmorProfile": Rule(_app_armor, NO_APP_ARMOR),
    "PodSecurityContext.seLinuxOptions": Rule(_given, NO_SELINUX),
    "PodSecurityContext.seccompProfile": Rule(_profile, NO_PROFILES),
    "VolumeMount.bindMountOptions": Rule(_given, "options of binds are not supported"),
    "VolumeMount.recursiveReadOnly": Rule(
        lambda value: value == "Enabled", "the runtime has no recursive read-only mounts"
    ),
    "EmptyDirVolumeSource.medium": Rule(lambda value: value not in (None, "", "Memory"), "only Memory is supported"),
    "EmptyDirVolumeSource.mode": Rule(_given, "the mode of an emptyDir is 0777"),
    "VolumeProjection.clusterTrustBundle": Rule(lambda value: value is not None, "trust bundles are not supported"),
    "VolumeProjection.podCertificate": Rule(lambda value: value is not None, "certificates of pods are not supported"),
    **{f"Volume.{kind}": Rule(lambda value: value is not None, "volumes of this kind are not supported") for kind in VOLUMES},
    **{name: Rule(_given, "owners of files are not supported") for name in OWNERS},
}  # fmt: skip


def _rule(type_name: str, field: str) -> Rule | None:
    short = type_name.rpartition(".")[2]
    return REFUSED.get(f"{'Container' if short == 'EphemeralContainer' else short}.{field}")


def refusals(value: Object, type_name: str, path: str) -> Iterator[str]:
    """`path: reason` for each field of a struct, and below it, that is refused. type_name: such as core/v1.PodSpec."""
    fields = struct(type_name).fields
    for name, inner in value.items():
        here = f"{path}.{name}"
        rule = _rule(type_name, name)
        if rule is not None and rule.when(inner):
            yield f"{here}: {rule.reason}"
        elif name in fields and inner is not None:
            yield from _below(inner, fields[name].type, here)


def _below(value: Any, type_: Type, path: str) -> Iterator[str]:
    if type_.name == "struct":
        yield from refusals(value, type_.struct, path)
    elif type_.name == "list" and type_.of is not None:
        for place, item in enumerate(value):
            yield from _below(item, type_.of, f"{path}[{place}]")


def of_pod(pod: Object) -> list[str]:
    """Of the pod as it was made; ephemeral containers are looked at one by one (`of_container`)."""
    spec = {key: value for key, value in pod["spec"].items() if key != "ephemeralContainers"}
    return list(refusals(spec, "core/v1.PodSpec", "spec"))


def of_container(container: dict[str, Any], path: str) -> list[str]:
    """Of one container."""
    return list(refusals(container, "core/v1.EphemeralContainer", path))
