"""Pod security levels that namespaces ask for by their labels: baseline and restricted, refused or warned of.

Source: the Pod Security Standards; kube-apiserver's PodSecurity plug-in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import invalid, refused
from .base import Base, Write

if TYPE_CHECKING:
    from ..parts import Parts

Object = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
TEMPLATES = {
    "deployments.apps": ("spec", "template"), "replicasets.apps": ("spec", "template"), "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"), "jobs.batch": ("spec", "template"), "replicationcontrollers": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"), "podtemplates": ("template",),
}  # fmt: skip
BASELINE_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
SAFE_SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ]
)
RESTRICTED_VOLUMES = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "image",
        "name",
    ]
)
Check = Callable[[Object], str]


def _containers(spec: Object) -> Iterator[Object]:
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()


def _named(names: list[str], verb: str = "") -> str:
    """container "a" must, containers "a", "b" must"""
    shown = ", ".join(f'"{one}"' for one in names)
    return f"container{'s' if len(names) > 1 else ''} {shown} {verb}"


def _context(container: Object) -> Object:
    return container.get("securityContext") or {}


def _host_namespaces(spec: Object) -> str:
    found = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    return f"host namespaces ({', '.join(found)})" if found else ""


def _privileged(spec: Object) -> str:
    names = [one["name"] for one in _containers(spec) if _context(one).get("privileged")]
    return f"privileged ({_named(names, 'must not set securityContext.privileged=true')})" if names else ""


def _added(spec: Object) -> str:
    names, bad = [], []
    for one in _containers(spec):
        wrong = [
            cap
            for cap in (_context(one).get("capabilities") or {}).get("add") or ()
            if cap not in BASELINE_CAPABILITIES
        ]
        if wrong:
            names.append(one["name"])
            bad += [cap for cap in wrong if cap not in bad]
    if not names:
        return ""
    listed = ", ".join(f'"{cap}"' for cap in sorted(bad))
    return (
        f"non-default capabilities ({_named(names, f'must not include {listed} in securityContext.capabilities.add')})"
    )


def _host_paths(spec: Object) -> str:
    names = [one["name"] for one in spec.get("volumes") or () if one.get("hostPath") is not None]
    shown = ", ".join(f'"{one}"' for one in names)
    return f"hostPath volumes (volume{'s' if len(names) > 1 else ''} {shown})" if names else ""


def _host_ports(spec: Object) -> str:
    names, ports = [], []
    for one in _containers(spec):
        mine = [port["hostPort"] for port in one.get("ports") or () if port.get("hostPort")]
        if mine:
            names.append(one["name"])
            ports += [str(port) for port in mine if str(port) not in ports]
    if not names:
        return ""
    shown = ", ".join(f'"{one}"' for one in names)
    many = len(names) > 1
    return f"hostPort (container{'s' if many else ''} {shown} use{'' if many else 's'} hostPort{'s' if len(ports) > 1 else ''} {', '.join(sorted(ports))})"


def _proc_mount(spec: Object) -> str:
    names = [one["name"] for one in _containers(spec) if _context(one).get("procMount") not in (None, "", "Default")]
    verb = 'must not set securityContext.procMount to "Unmasked"'
    return f"procMount ({_named(names, verb)})" if names else ""


def _seccomp_baseline(spec: Object) -> str:
    found = []
    if ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type") == "Unconfined":
        found.append('pod must not set securityContext.seccompProfile.type to "Unconfined"')
    names = [
        one["name"]
        for one in _containers(spec)
        if (_context(one).get("seccompProfile") or {}).get("type") == "Unconfined"
    ]
    if names:
        found.append(_named(names, 'must not set securityContext.seccompProfile.type to "Unconfined"'))
    return f"seccompProfile ({', '.join(found)})" if found else ""


def _sysctls(spec: Object) -> str:
    bad = [
        one["name"]
        for one in (spec.get("securityContext") or {}).get("sysctls") or ()
        if one["name"] not in SAFE_SYSCTLS
    ]
    return f"forbidden sysctls ({', '.join(bad)})" if bad else ""


def _selinux(spec: Object) -> str:
    allowed = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
    contexts = [spec.get("securityContext") or {}, *(_context(one) for one in _containers(spec))]
    for one in contexts:
        options = one.get("seLinuxOptions") or {}
        if options.get("type", "") not in allowed or options.get("user") or options.get("role"):
            return "seLinuxOptions (pod or containers set forbidden securityContext.seLinuxOptions)"
    return ""


def _escalation(spec: Object) -> str:
    names = [one["name"] for one in _containers(spec) if _context(one).get("allowPrivilegeEscalation") is not False]
    return (
        f"allowPrivilegeEscalation != false ({_named(names, 'must set securityContext.allowPrivilegeEscalation=false')})"
        if names
        else ""
    )


def _dropped(spec: Object) -> str:
    missing = [
        one["name"]
        for one in _containers(spec)
        if "ALL" not in ((_context(one).get("capabilities") or {}).get("drop") or ())
    ]
    wrong = [
        one["name"] for one in _containers(spec)
        if any(cap != "NET_BIND_SERVICE" for cap in (_context(one).get("capabilities") or {}).get("add") or ())
    ]  # fmt: skip
    found = [_named(missing, 'must set securityContext.capabilities.drop=["ALL"]')] if missing else []
    if wrong:
        caps = sorted(
            {
                cap
                for one in _containers(spec)
                for cap in (_context(one).get("capabilities") or {}).get("add") or ()
                if cap != "NET_BIND_SERVICE"
            }
        )
        listed = ", ".join(f'"{cap}"' for cap in caps)
        found.append(_named(wrong, f"must not include {listed} in securityContext.capabilities.add"))
    return f"unrestricted capabilities ({'; '.join(found)})" if found else ""


def _volume_types(spec: Object) -> str:
    bad = [(one["name"], key) for one in spec.get("volumes") or () for key in one if key not in RESTRICTED_VOLUMES]
    if not bad:
        return ""
    names = ", ".join(f'"{name}"' for name, _ in bad)
    kinds = ", ".join(f'"{kind}"' for kind in sorted({kind for _, kind in bad}))
    word = "types" if len({kind for _, kind in bad}) > 1 else "type"
    return f"restricted volume types (volume{'s' if len(bad) > 1 else ''} {names} use{'' if len(bad) > 1 else 's'} restricted volume {word} {kinds})"


def _non_root(spec: Object) -> str:
    pod = (spec.get("securityContext") or {}).get("runAsNonRoot")
    explicit = [one["name"] for one in _containers(spec) if _context(one).get("runAsNonRoot") is False]
    implicit = [one["name"] for one in _containers(spec) if _context(one).get("runAsNonRoot") is None]
    if explicit:
        return f"runAsNonRoot != true ({_named(explicit, 'must not set securityContext.runAsNonRoot=false')})"
    if pod is False:
        return "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    if implicit and not pod:
        return f"runAsNonRoot != true (pod or {_named(implicit, 'must set securityContext.runAsNonRoot=true')})"
    return ""


def _root_user(spec: Object) -> str:
    if (spec.get("securityContext") or {}).get("runAsUser") == 0:
        return "runAsUser=0 (pod must not set runAsUser=0)"
    names = [one["name"] for one in _containers(spec) if _context(one).get("runAsUser") == 0]
    return f"runAsUser=0 ({_named(names, 'must not set runAsUser=0')})" if names else ""


def _seccomp_restricted(spec: Object) -> str:
    good = ("RuntimeDefault", "Localhost")
    pod = ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
    wrong = [
        one["name"]
        for one in _containers(spec)
        if (_context(one).get("seccompProfile") or {}).get("type") not in (None, *good)
    ]
    unset = [
        one["name"] for one in _containers(spec) if (_context(one).get("seccompProfile") or {}).get("type") is None
    ]
    if wrong:
        return f"seccompProfile ({_named(wrong, 'must not set securityContext.seccompProfile.type to ' + chr(34) + 'Unconfined' + chr(34))})"
    if pod is not None and pod not in good:
        return f'seccompProfile (pod must not set securityContext.seccompProfile.type to "{pod}")'
    if pod is None and unset:
        verb = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
        return f"seccompProfile (pod or {_named(unset, verb)})"
    return ""


BASELINE: tuple[Check, ...] = (
    _host_namespaces,
    _privileged,
    _added,
    _host_paths,
    _host_ports,
    _proc_mount,
    _seccomp_baseline,
    _selinux,
    _sysctls,
)
# What restricted asks for replaces what baseline asks for in the same matter.
RESTRICTED: tuple[Check, ...] = (
    _host_namespaces, _privileged, _host_ports, _proc_mount, _selinux, _sysctls, _escalation, _dropped, _volume_types, _non_root, _root_user,
    _seccomp_restricted,
)  # fmt: skip


def violations(level: str, spec: Object) -> str:
    checks = BASELINE if level == "baseline" else RESTRICTED if level == "restricted" else ()
    return ", ".join(text for text in (check(spec) for check in checks) if text)


class PodSecurity(Base):
    async def validate(self, write: Write, parts: Parts) -> None:
        if write.new is None or write.subresource not in ("", "ephemeralcontainers"):
            return
        if write.resource.qualified == "namespaces":
            self._namespace(write)
            return
        path = TEMPLATES.get(write.resource.qualified)
        pod = write.resource.qualified == "pods"
        if path is None and not pod:
            return
        labels = self._labels(write, parts)
        if labels:
            self._check(write, labels, self._spec(write.new, path), pod)

    def _labels(self, write: Write, parts: Parts) -> Object:
        item = parts.item("namespaces", "", write.namespace)
        return {key: value for key, value in (item.labels or {}).items() if key.startswith(PREFIX)} if item else {}

    def _spec(self, tree: Object, path: tuple[str, ...] | None) -> Object:
        node: Any = tree
        for step in path or ():
            node = node.get(step) or {}
        return node.get("spec") or {}

    def _check(self, write: Write, labels: Object, spec: Object, pod: bool) -> None:
        if pod and write.operation == "UPDATE" and (write.old or {}).get("spec") == spec:
            return
        enforce = labels.get(f"{PREFIX}enforce", "privileged")
        found = violations(enforce, spec) if pod else ""
        if found:
            version = labels.get(f"{PREFIX}enforce-version", "latest")
            raise write.refuse(f'violates PodSecurity "{enforce}:{version}": {found}')
        warn = labels.get(f"{PREFIX}warn", "privileged")
        found = violations(warn, spec)
        if found:
            version = labels.get(f"{PREFIX}warn-version", "latest")
            write.ask.warn(f'would violate PodSecurity "{warn}:{version}": {found}')

    def _namespace(self, write: Write) -> None:
        labels = ((write.new or {}).get("metadata") or {}).get("labels") or {}
        before = ((write.old or {}).get("metadata") or {}).get("labels") or {}
        problems = []
        for mode in ("enforce", "audit", "warn"):
            level, version = labels.get(f"{PREFIX}{mode}"), labels.get(f"{PREFIX}{mode}-version")
            if level is not None and level not in LEVELS and level != before.get(f"{PREFIX}{mode}"):
                problems.append(
                    invalid(
                        f"metadata.labels[{PREFIX}{mode}]", level, "must be one of privileged, baseline, restricted"
                    )
                )
            if version is not None and not re.fullmatch(r"latest|v1\.(0|[1-9]\d*)", version):
                problems.append(
                    invalid(f"metadata.labels[{PREFIX}{mode}-version]", version, 'must be "latest" or "v1.x"')
                )
        if problems:
            raise refused("", "Namespace", write.name, problems)
