"""From a pod to what CRI is asked for: sandbox and container configurations. Pure but for subPath directories.

Source: the kubelet's own translation; labels and annotations are the ones that crictl and runtimes know.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mizzen.api.quantities import milli, parse_quantity, whole
from mizzen.kube.resource import Object
from mizzen.runtime.kubelet import podspec
from mizzen.runtime.kubelet.expand import expand
from mizzen.runtime.kubelet.resolver import Dns, hostname
from mizzen.runtime.kubelet.volumes import Volumes, sub_path
from mizzen.wire import cri

POD_NAME, POD_NAMESPACE, POD_UID = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
HASH, RESTARTS = "io.kubernetes.container.hash", "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MIN_SHARES, PERIOD_US = 2, 100_000
MAX_HOST_NAME = 64  # Linux' sethostname(2)
PROPAGATION = {"HostToContainer": 1, "Bidirectional": 2}


class ConfigError(Exception):
    """A container cannot be configured (CreateContainerConfigError)."""


def container_hash(container: dict[str, Any]) -> str:
    """Changes when a running container must be replaced: its name and image (the other fields cannot change)."""
    text = json.dumps([container["name"], container.get("image")])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def log_directory(logs: Path, pod: Object) -> Path:
    """`LOGS/NAMESPACE_NAME_UID`."""
    meta = pod["metadata"]
    return logs / f"{meta.get('namespace')}_{meta['name']}_{meta['uid']}"


def namespaces(pod: Object) -> Any:
    """CRI's NamespaceOption."""
    spec = pod["spec"]
    pid = cri.NODE if spec.get("hostPID") else cri.POD if spec.get("shareProcessNamespace") else cri.CONTAINER
    return cri.NamespaceOption(
        network=cri.NODE if spec.get("hostNetwork") else cri.POD,
        ipc=cri.NODE if spec.get("hostIPC") else cri.POD,
        pid=pid,
    )


def _profile(value: dict[str, Any] | None) -> Any:
    kinds = {"RuntimeDefault": cri.RuntimeDefault, "Unconfined": cri.Unconfined, "Localhost": cri.Localhost}
    kind = (value or {}).get("type", "Unconfined")
    return cri.SecurityProfile(profile_type=kinds[kind], localhost_ref=(value or {}).get("localhostProfile", ""))


def _groups(pod: Object) -> list[int]:
    context = pod["spec"].get("securityContext") or {}
    groups = [int(value) for value in context.get("supplementalGroups") or ()]
    return groups + ([int(context["fsGroup"])] if context.get("fsGroup") is not None else [])


def _groups_policy(pod: Object) -> Any:
    """Whether the image's own groups of the user count too."""
    policy = (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy")
    return cri.Strict if policy == "Strict" else cri.Merge


def host_name(pod: Object, cluster_domain: str) -> str:
    """What the pod calls itself: its full name when it asks for that. Raises ConfigError when that is too long."""
    name = hostname(pod)
    if not pod["spec"].get("setHostnameAsFQDN") or not pod["spec"].get("subdomain"):
        return name
    full = f"{name}.{pod['spec']['subdomain']}.{pod['metadata'].get('namespace', 'default')}.svc.{cluster_domain}"
    if len(full) > MAX_HOST_NAME:
        text = f"Failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long"
        raise ConfigError(f"{text} ({MAX_HOST_NAME} characters is the max, {len(full)} characters requested)")
    return full


def sandbox_config(
    pod: Object, attempt: int, logs: Path, dns: Dns, cgroup_parent: str, cluster_domain: str = "cluster.local"
) -> Any:
    """CRI's PodSandboxConfig. Raises ConfigError."""
    meta, spec = pod["metadata"], pod["spec"]
    context = spec.get("securityContext") or {}
    ids = {POD_NAME: meta["name"], POD_NAMESPACE: meta.get("namespace", ""), POD_UID: meta["uid"]}
    security = cri.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod),
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=_groups_policy(pod),
        seccomp=_profile(context.get("seccompProfile")),
    )
    names = {"TCP": cri.TCP, "UDP": cri.UDP, "SCTP": cri.SCTP}
    ports = [
        cri.PortMapping(
            protocol=names[port.get("protocol") or "TCP"],
            container_port=port["containerPort"],
            host_port=port.get("hostPort") or 0,
            host_ip=port.get("hostIP") or "",
        )
        for container in podspec.all_containers(pod)
        for port in container.get("ports") or ()
        if not spec.get("hostNetwork")
    ]
    return cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            attempt=attempt, name=meta["name"], uid=meta["uid"], namespace=meta.get("namespace", "")
        ),
        hostname="" if spec.get("hostNetwork") else host_name(pod, cluster_domain),
        log_directory=str(log_directory(logs, pod)),
        dns_config=cri.DNSConfig(servers=dns.servers, searches=dns.searches, options=dns.options),
        port_mappings=ports,
        labels={**(meta.get("labels") or {}), **ids},
        annotations=meta.get("annotations") or {},
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent,
            security_context=security,
            sysctls={item["name"]: item["value"] for item in context.get("sysctls") or ()},
        ),
    )


def oom_score(pod: Object, container: dict[str, Any], memory_bytes: int) -> int:
    """oom_score_adj: -997 guaranteed, 1000 best effort, between them by the share of memory requested."""
    quality = podspec.qos_class(pod)
    if quality == "Guaranteed":
        return -997
    if quality == "BestEffort":
        return 1000
    resources = container.get("resources") or {}
    requested = (resources.get("requests") or {}).get("memory") or (resources.get("limits") or {}).get("memory") or 0
    score = 1000 - 1000 * whole(requested) // max(1, memory_bytes)
    return min(999, max(3, score))


def linux_resources(pod: Object, container: dict[str, Any], memory_bytes: int) -> Any:
    """CRI's LinuxContainerResources."""
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    cpu = requests.get("cpu", limits.get("cpu", 0))
    quota = milli(limits["cpu"]) * PERIOD_US // 1000 if limits.get("cpu") else 0
    return cri.LinuxContainerResources(
        cpu_shares=max(MIN_SHARES, milli(cpu) * 1024 // 1000),
        cpu_period=PERIOD_US if quota else 0,
        cpu_quota=max(quota, 1000) if quota else 0,
        memory_limit_in_bytes=int(parse_quantity(limits.get("memory", 0))),
        oom_score_adj=oom_score(pod, container, memory_bytes),
    )


def security_context(pod: Object, container: dict[str, Any]) -> Any:
    """CRI's LinuxContainerSecurityContext."""
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    privileged = bool(own.get("privileged"))
    escalation = own.get("allowPrivilegeEscalation")
    fields: dict[str, Any] = {}
    for name, key in (("run_as_user", "runAsUser"), ("run_as_group", "runAsGroup")):
        if (value := podspec.security(pod, container, key)) is not None:
            fields[name] = cri.Int64Value(value=int(value))
    return cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(
            add_capabilities=capabilities.get("add") or (), drop_capabilities=capabilities.get("drop") or ()
        ),
        privileged=privileged,
        namespace_options=namespaces(pod),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        supplemental_groups=_groups(pod),
        supplemental_groups_policy=_groups_policy(pod),
        no_new_privs=escalation is False and not privileged,
        seccomp=_profile(podspec.security(pod, container, "seccompProfile")),
        **fields,
    )


def mounts(
    pod: Object, container: dict[str, Any], volumes: Volumes, env: dict[str, str], extra: dict[str, Path]
) -> list[Any]:
    """CRI mounts: the container's volumeMounts, then extra (container path -> node path) where they leave room."""
    by_name = {item["name"]: item for item in pod["spec"].get("volumes") or ()}
    found, taken = [], set()
    for item in container.get("volumeMounts") or ():
        volume = by_name.get(item["name"])
        if volume is None:
            raise ConfigError(f"volumeMounts: no volume named {item['name']!r}")
        path = volumes.path(volume)
        sub = item.get("subPath") or expand(item.get("subPathExpr") or "", env)
        if sub:
            path = sub_path(path, sub)
        elif not os.path.exists(path):
            path.mkdir(parents=True)  # a hostPath without a type
        target = item["mountPath"] if item["mountPath"].startswith("/") else "/" + item["mountPath"]
        taken.add(target)
        found.append(
            cri.Mount(
                container_path=target,
                host_path=str(path),
                readonly=bool(item.get("readOnly")),
                propagation=PROPAGATION.get(item.get("mountPropagation") or "", 0),
            )
        )
    found += [cri.Mount(container_path=t, host_path=str(p)) for t, p in extra.items() if t not in taken]
    return found


def container_config(pod: Object, container: dict[str, Any], attempt: int, env: dict[str, str],
                     mount_list: list[Any], memory_bytes: int) -> Any:  # fmt: skip
    """CRI's ContainerConfig."""
    meta = pod["metadata"]
    labels = {POD_NAME: meta["name"], POD_NAMESPACE: meta.get("namespace", ""), POD_UID: meta["uid"]}
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=container["name"], attempt=attempt),
        image=cri.ImageSpec(image=container.get("image", ""), user_specified_image=container.get("image", "")),
        command=[expand(text, env) for text in container.get("command") or ()],
        args=[expand(text, env) for text in container.get("args") or ()],
        working_dir=container.get("workingDir") or "",
        envs=[cri.KeyValue(key=key, value=value) for key, value in env.items()],
        mounts=mount_list,
        labels={**labels, CONTAINER_NAME: container["name"]},
        annotations={HASH: container_hash(container), RESTARTS: str(attempt), MESSAGE_PATH: path},
        log_path=f"{container['name']}/{attempt}.log",
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        linux=cri.LinuxContainerConfig(
            resources=linux_resources(pod, container, memory_bytes), security_context=security_context(pod, container)
        ),
    )
