"""Each field of a pod's spec and who acts on it: what docs/pod-fields.md is made of.

Takes Kubernetes' types as the API server has them, and the refusals of the node. Not here: what each field does on a real
node (tests/node/test_pod_fields.py and the units of each reader).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mizzen.runtime.apiserver.schema.facts import Type, struct
from mizzen.runtime.kubelet.refusals import REFUSED

# By the module (below mizzen/) that acts on them, the fields as "Type: field …"; "Type: *" are all that are not elsewhere.
READERS: dict[str, str] = {
    "runtime/apiserver/admission/pods": "PodSpec: automountServiceAccountToken serviceAccountName priorityClassName",
    "runtime/controllers/nodes": "Toleration: tolerationSeconds",
    "runtime/kubelet/context": "PodSpec: serviceAccountName",
    "runtime/kubelet/criconfig": """
        PodSpec: hostNetwork hostPID hostIPC shareProcessNamespace setHostnameAsFQDN
        Container: image command args workingDir ports volumeMounts stdin stdinOnce tty terminationMessagePath
        ContainerPort: hostPort containerPort protocol hostIP
        VolumeMount: name readOnly mountPath subPath subPathExpr mountPropagation
        ResourceRequirements: limits requests
        SecurityContext: capabilities privileged runAsUser runAsGroup readOnlyRootFilesystem allowPrivilegeEscalation seccompProfile
        Capabilities: *
        SeccompProfile: *
        PodSecurityContext: runAsUser runAsGroup supplementalGroups supplementalGroupsPolicy fsGroup sysctls seccompProfile
        Sysctl: *
    """,
    "runtime/kubelet/environment": """
        PodSpec: enableServiceLinks
        Container: env envFrom
        EnvFromSource: *
        ConfigMapEnvSource: *
        SecretEnvSource: *
        EnvVar: *
        EnvVarSource: *
        ConfigMapKeySelector: *
        SecretKeySelector: *
    """,
    "runtime/kubelet/fields": "ResourceFieldSelector: *",
    "runtime/kubelet/launch": """
        PodSpec: runtimeClassName
        Container: name imagePullPolicy terminationMessagePolicy lifecycle
        EphemeralContainer: targetContainerName
        Lifecycle: postStart
        SecurityContext: runAsNonRoot
        PodSecurityContext: runAsNonRoot
    """,
    "runtime/kubelet/podspec": """
        PodSpec: containers initContainers ephemeralContainers restartPolicy terminationGracePeriodSeconds securityContext
        Container: restartPolicy restartPolicyRules resources securityContext
        ContainerPort: name
        ContainerRestartRule: *
        ContainerRestartRuleOnExitCodes: *
    """,
    "runtime/kubelet/probe": """
        Probe: exec httpGet tcpSocket grpc timeoutSeconds successThreshold failureThreshold
        ExecAction: *
        HTTPGetAction: *
        HTTPHeader: *
        TCPSocketAction: *
        GRPCAction: *
        LifecycleHandler: *
        SleepAction: *
    """,
    "runtime/kubelet/probing": "Probe: initialDelaySeconds periodSeconds\nContainer: readinessProbe startupProbe livenessProbe",
    "runtime/kubelet/resolver": """
        PodSpec: dnsPolicy dnsConfig hostAliases hostname subdomain hostnameOverride
        HostAlias: *
        PodDNSConfig: *
        PodDNSConfigOption: *
    """,
    "runtime/kubelet/status": "PodSpec: readinessGates\nPodReadinessGate: *",
    "runtime/kubelet/storage": "EmptyDirVolumeSource: sizeLimit",
    "runtime/kubelet/volumes": """
        PodSpec: volumes
        Volume: *
        HostPathVolumeSource: *
        EmptyDirVolumeSource: medium
        SecretVolumeSource: *
        ConfigMapVolumeSource: *
        DownwardAPIVolumeSource: *
        DownwardAPIVolumeFile: *
        KeyToPath: *
        ObjectFieldSelector: fieldPath
        ProjectedVolumeSource: *
        VolumeProjection: *
        SecretProjection: *
        ConfigMapProjection: *
        DownwardAPIProjection: *
        ServiceAccountTokenProjection: *
    """,
    "runtime/kubelet/worker": """
        PodSpec: activeDeadlineSeconds
        Lifecycle: preStop
        Probe: terminationGracePeriodSeconds
    """,
    "runtime/scheduler/affinity": """
        PodSpec: affinity nodeSelector
        Affinity: nodeAffinity
        NodeAffinity: *
        NodeSelector: *
        NodeSelectorTerm: *
        NodeSelectorRequirement: *
        PreferredSchedulingTerm: *
        PodAffinity: *
        PodAntiAffinity: *
        PodAffinityTerm: labelSelector namespaces namespaceSelector matchLabelKeys mismatchLabelKeys
        WeightedPodAffinityTerm: *
        TopologySpreadConstraint: matchLabelKeys labelSelector
        Toleration: operator value
    """,
    "runtime/scheduler/decide": "PodSpec: priority preemptionPolicy",
    "runtime/scheduler/filters": """
        PodSpec: tolerations topologySpreadConstraints
        Affinity: podAffinity podAntiAffinity
        PodAffinityTerm: topologyKey
        Toleration: key effect
        TopologySpreadConstraint: maxSkew topologyKey whenUnsatisfiable minDomains nodeAffinityPolicy nodeTaintsPolicy
    """,
    "runtime/scheduler/resources": "PodSpec: overhead",
    "runtime/scheduler/scheduler": "PodSpec: nodeName schedulerName schedulingGates",
    "runtime/apiserver/selectors": "LabelSelector: *\nLabelSelectorRequirement: *",
}
# What may be set and changes nothing here, with the reason.
NO_EFFECT = {
    "PodSpec.serviceAccount": "the old name of serviceAccountName, which the API server keeps equal to it",
    "PodSpec.os": "this node runs linux, and other names are refused",
    "PodSpec.hostUsers": "only `true` is left: pods share the node's users, and `false` is refused",
    "PodSpec.imagePullSecrets": "images are on the node; with another runtime one that would have to be fetched is refused",
    "PodSchedulingGate.name": "a gate holds the pod back whatever its name is",
    "PodSecurityContext.fsGroupChangePolicy": "files are given to the group once, when the volume is made",
    "PodSecurityContext.seLinuxChangePolicy": "there is no SELinux here",
    "PodSecurityContext.appArmorProfile": "only `Unconfined` is left; others are refused",
    "PodSecurityContext.windowsOptions": "for Windows nodes",
    "SecurityContext.windowsOptions": "for Windows nodes",
    "SecurityContext.appArmorProfile": "only `Unconfined` is left; others are refused",
    "SecurityContext.procMount": "only `Default` is left; others are refused",
    "Container.resizePolicy": "a resize is refused by the pod's condition, whatever it would restart",
    "VolumeMount.recursiveReadOnly": "only `Disabled` and `IfPossible` are left, which ask for nothing that is not there",
    "ObjectFieldSelector.apiVersion": "pods have one version",
}  # fmt: skip
UNUSED_TYPES = ("WindowsSecurityContextOptions", "AppArmorProfile", "ContainerResizePolicy", "PodOS")  # of the above


class Row(NamedTuple):
    """field: `Type.field`. where: path in a pod. reader: module or ""; why: of no effect; refused: why, where it is in part or whole."""

    field: str
    where: str
    reader: str
    why: str
    refused: str
    always: bool


def readers() -> dict[str, str]:
    """`Type.field` or `Type.*` → module."""
    out: dict[str, str] = {}
    for module, text in READERS.items():
        for line in filter(None, map(str.strip, text.splitlines())):
            kind, _, fields = line.partition(": ")
            for field in fields.split():
                out.setdefault(f"{kind}.{field}", module)
    return out


def rows(name: str = "core/v1.PodSpec", where: str = "spec", seen: set[str] | None = None) -> Iterator[Row]:
    """Every field that a pod's spec may have, each type once, where it first occurs."""
    seen = set() if seen is None else seen
    if name in seen:
        return
    seen.add(name)
    kind = name.rpartition(".")[2]
    known = readers()
    for field, found in struct(name).fields.items():
        own = f"{kind}.{field}"
        as_container = f"Container.{field}" if kind == "EphemeralContainer" else own
        rule = REFUSED.get(as_container)
        named = known.get(own) or known.get(as_container) or ""
        reader = named or known.get(f"{kind}.*", "")
        path = f"{where}.{field}"
        why = NO_EFFECT.get(as_container, "")
        always = rule is not None and not why and not named
        if always or why:
            reader = ""
        yield Row(own, path, reader, why, rule.reason if rule is not None else "", always)
        inner = element(found.type)
        if inner.name == "struct" and not always and not why:
            yield from rows(inner.struct, path + ("[]" if found.type.name == "list" else ""), seen)


def element(kind: Type) -> Type:
    while kind.of is not None:
        kind = kind.of
    return kind


def page() -> str:
    """docs/pod-fields.md."""
    head = """# Fields of a pod

What the node, the scheduler and the controllers do with each field of a pod's spec; types are listed where they first occur. A
refused field keeps the pod from being made: the event `UnsupportedField` names it. This page is made by
`python -m tests.support.pod_fields`, and a test holds it.

| field | state |
| --- | --- |
"""
    return head + "".join(f"| `{row.where}` | {state(row)} |\n" for row in rows())


def state(row: Row) -> str:
    if row.always:
        return f"refused: {row.refused}"
    if row.why:
        return f"no effect: {row.why}"
    return "honoured" + (f"; refused in part: {row.refused}" if row.refused else "")


if __name__ == "__main__":
    print(page(), end="")
