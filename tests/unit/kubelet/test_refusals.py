"""What a node refuses of a pod: by the path of the field, before anything is made."""

from __future__ import annotations

from typing import Any

import pytest

from mizzen.runtime.kubelet import podspec, refusals
from mizzen.runtime.kubelet.criconfig import ConfigError, host_name
from tests.unit.kubelet.pods import pod


def container(**fields: Any) -> dict[str, Any]:
    made = pod("a")
    made["spec"]["containers"][0] |= fields
    return made


def volume(**source: Any) -> dict[str, Any]:
    return pod("a", volumes=[{"name": "v", **source}])


ITEM = {"key": "k", "path": "p", "user": 7}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "PodSpec.evictionResponders": (pod("a", evictionResponders=[{"name": "x"}]), "spec.evictionResponders"),
    "PodSpec.hostUsers": (pod("a", hostUsers=False), "spec.hostUsers"),
    "PodSpec.os": (pod("a", os={"name": "windows"}), "spec.os"),
    "PodSpec.resourceClaims": (pod("a", resourceClaims=[{"name": "x"}]), "spec.resourceClaims"),
    "PodSpec.resources": (pod("a", resources={"limits": {"cpu": "1"}}), "spec.resources"),
    "PodSpec.schedulingGroup": (pod("a", schedulingGroup={"podGroupName": "x"}), "spec.schedulingGroup"),
    "Container.volumeDevices": (container(volumeDevices=[{"name": "v", "devicePath": "/d"}]), "spec.containers[0].volumeDevices"),
    "Container.restartPolicyRules": (
        container(restartPolicyRules=[{"action": "RestartAllContainers"}]), "spec.containers[0].restartPolicyRules",
    ),
    "EnvVarSource.fileKeyRef": (
        container(env=[{"name": "A"}, {"name": "B", "valueFrom": {"fileKeyRef": {"key": "k"}}}]),
        "spec.containers[0].env[1].valueFrom.fileKeyRef",
    ),
    "Lifecycle.stopSignal": (container(lifecycle={"stopSignal": "SIGINT"}), "spec.containers[0].lifecycle.stopSignal"),
    "HTTPGetAction.protocol": (
        container(livenessProbe={"httpGet": {"port": 1, "protocol": "HTTP2"}}), "spec.containers[0].livenessProbe.httpGet.protocol",
    ),
    "GRPCAction.mode": (
        container(readinessProbe={"grpc": {"port": 1, "mode": "TLS"}}), "spec.containers[0].readinessProbe.grpc.mode",
    ),
    "ResourceRequirements.claims": (container(resources={"claims": [{"name": "x"}]}), "spec.containers[0].resources.claims"),
    "ResourceRequirements.limits": (
        container(resources={"limits": {"hugepages-2Mi": "2Mi"}}), "spec.containers[0].resources.limits",
    ),
    "ResourceRequirements.requests": (
        container(resources={"requests": {"example.com/gpu": "1"}}), "spec.containers[0].resources.requests",
    ),
    "SecurityContext.appArmorProfile": (
        container(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}}),
        "spec.containers[0].securityContext.appArmorProfile",
    ),
    "SecurityContext.procMount": (container(securityContext={"procMount": "Unmasked"}), "spec.containers[0].securityContext.procMount"),
    "SecurityContext.seLinuxOptions": (
        container(securityContext={"seLinuxOptions": {"level": "s0"}}), "spec.containers[0].securityContext.seLinuxOptions",
    ),
    "SecurityContext.seccompProfile": (
        container(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}}),
        "spec.containers[0].securityContext.seccompProfile",
    ),
    "PodSecurityContext.appArmorProfile": (
        pod("a", securityContext={"appArmorProfile": {"type": "Localhost"}}), "spec.securityContext.appArmorProfile",
    ),
    "PodSecurityContext.seLinuxOptions": (
        pod("a", securityContext={"seLinuxOptions": {"level": "s0"}}), "spec.securityContext.seLinuxOptions",
    ),
    "PodSecurityContext.seccompProfile": (
        pod("a", securityContext={"seccompProfile": {"type": "Localhost"}}), "spec.securityContext.seccompProfile",
    ),
    "VolumeMount.bindMountOptions": (
        container(volumeMounts=[{"name": "v", "mountPath": "/v", "bindMountOptions": ["noexec"]}]),
        "spec.containers[0].volumeMounts[0].bindMountOptions",
    ),
    "VolumeMount.recursiveReadOnly": (
        container(volumeMounts=[{"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}]),
        "spec.containers[0].volumeMounts[0].recursiveReadOnly",
    ),
    "EmptyDirVolumeSource.medium": (volume(emptyDir={"medium": "HugePages"}), "spec.volumes[0].emptyDir.medium"),
    "EmptyDirVolumeSource.mode": (volume(emptyDir={"mode": 0o700}), "spec.volumes[0].emptyDir.mode"),
    "VolumeProjection.clusterTrustBundle": (
        volume(projected={"sources": [{"clusterTrustBundle": {"path": "p"}}]}), "spec.volumes[0].projected.sources[0].clusterTrustBundle",
    ),
    "VolumeProjection.podCertificate": (
        volume(projected={"sources": [{"podCertificate": {"signerName": "s"}}]}), "spec.volumes[0].projected.sources[0].podCertificate",
    ),
    "ConfigMapVolumeSource.defaultUser": (volume(configMap={"name": "c", "defaultUser": 7}), "spec.volumes[0].configMap.defaultUser"),
    "SecretVolumeSource.defaultUser": (volume(secret={"secretName": "c", "defaultUser": 7}), "spec.volumes[0].secret.defaultUser"),
    "DownwardAPIVolumeSource.defaultUser": (volume(downwardAPI={"defaultUser": 7}), "spec.volumes[0].downwardAPI.defaultUser"),
    "ProjectedVolumeSource.defaultUser": (volume(projected={"sources": [], "defaultUser": 7}), "spec.volumes[0].projected.defaultUser"),
    "KeyToPath.user": (volume(configMap={"name": "c", "items": [ITEM]}), "spec.volumes[0].configMap.items[0].user"),
    "DownwardAPIVolumeFile.user": (volume(downwardAPI={"items": [{"path": "p", "user": 7}]}), "spec.volumes[0].downwardAPI.items[0].user"),
    "ServiceAccountTokenProjection.user": (
        volume(projected={"sources": [{"serviceAccountToken": {"path": "t", "user": 7}}]}),
        "spec.volumes[0].projected.sources[0].serviceAccountToken.user",
    ),
    **{f"Volume.{kind}": (volume(**{kind: {}}), f"spec.volumes[0].{kind}") for kind in refusals.VOLUMES},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(refusals.REFUSED))
def test_what_is_refused_is_named(name: str) -> None:
    made, path = REFUSED[name]
    assert refusals.of_pod(made) == [f"{path}: {refusals.REFUSED[name].reason}"]


def test_what_is_not_refused() -> None:
    made = container(
        securityContext={"appArmorProfile": {"type": "Unconfined"}, "seccompProfile": {"type": "RuntimeDefault"}, "procMount": "Default"},
        resources={"limits": {"cpu": "1", "memory": "1Mi", "ephemeral-storage": "1Gi"}},
        restartPolicyRules=[{"action": "Restart"}],
    )  # fmt: skip
    made["spec"] |= {
        "hostUsers": True,
        "os": {"name": "linux"},
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
    }
    made["spec"]["ephemeralContainers"] = [{"name": "e", "lifecycle": {"stopSignal": "SIGINT"}}]
    assert refusals.of_pod(made) == []
    found = refusals.of_container(made["spec"]["ephemeralContainers"][0], "e")
    assert found == ["e.lifecycle.stopSignal: containers are stopped by SIGTERM"]


@pytest.mark.parametrize(
    ("operator", "values", "code", "expected"),
    [("In", [3], 3, True), ("In", [3], 4, False), ("NotIn", [3], 4, True), ("NotIn", [3], 3, False)],
)
def test_rules_of_restarting(operator: str, values: list[int], code: int, expected: bool) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": operator, "values": values}}]
    assert podspec.rule_restarts({"name": "a", "restartPolicyRules": rules}, code) is expected


def test_a_containers_own_restart_policy_counts_before_the_pods() -> None:
    made = container(restartPolicy="Never")
    assert podspec.restart_policy(made, made["spec"]["containers"][0]) == "Never"


def test_host_names_in_full() -> None:
    made = pod("a", subdomain="sub", setHostnameAsFQDN=True)
    assert host_name(made, "cluster.local") == "web.sub.shop.svc.cluster.local"
    assert host_name(pod("a", subdomain="sub"), "cluster.local") == "web"
    assert host_name(pod("a", hostnameOverride="mine.example", hostname="x"), "cluster.local") == "mine.example"
    made["metadata"]["name"] = "w" * 50
    with pytest.raises(ConfigError, match="64 characters is the max"):
        host_name(made, "cluster.local")
