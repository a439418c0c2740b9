"""OCI runtime specifications: from a CRI container configuration, its sandbox and its image to runc's config.json.

Pure but for user names, which are looked up in the image's own /etc/passwd and /etc/group.
Refused by name: what is not built (SELinux, AppArmor and seccomp profiles of one's own, CDI devices, user namespaces).
Source: OCI runtime specification 1.0.2; defaults as containerd's CRI plugin has them.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

from mizzen.runtime.cri.images import PATH, Image
from mizzen.runtime.cri.seccomp import default_profile
from mizzen.wire import cri

DEFAULT_CAPABILITIES = str.split(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
)
ALL_CAPABILITIES = str.split(
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
PROPAGATION = {0: "rprivate", 1: "rslave", 2: "rshared"}
MASKED = str.split(
    "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
    "/proc/sched_debug /proc/scsi /sys/firmware"
)
READ_ONLY = str.split("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger")


OOM_LEAST = -1000


class Refused(Exception):
    """The configuration asks for what this runtime does not do; the text names the field."""


def _mount(destination: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def base_mounts(privileged: bool, host_network: bool) -> list[dict[str, Any]]:
    """/proc, /dev and /sys."""
    writable = "rw" if privileged else "ro"
    sys = _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", writable)
    if host_network:  # sysfs belongs to the network namespace; bind the host's
        sys = _mount("/sys", "bind", "/sys", "rbind", "nosuid", "noexec", "nodev", writable)
    return [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        sys,
    ]


def _table(root: Path, name: str) -> list[list[str]]:
    try:
        text = (root / "etc" / name).read_text()
    except OSError:
        return []
    return [line.split(":") for line in text.splitlines() if ":" in line and not line.startswith("#")]


def user(security: Any, image: Image, root: Path) -> dict[str, Any]:
    """The OCI user: runAsUser, else runAsUserName, else the image's `user[:group]`. Raises Refused for unknown names."""
    passwd = _table(root, "passwd")
    uid, gid, name = 0, 0, ""
    if security.HasField("run_as_user"):
        uid = security.run_as_user.value
        entry = next((row for row in passwd if len(row) > 3 and row[2] == str(uid)), None)
    else:
        wanted, _, group = (security.run_as_username or image.user).partition(":")
        entry = next((row for row in passwd if len(row) > 3 and wanted in (row[0], row[2])), None)
        if wanted and entry is None and not wanted.isdigit():
            raise Refused(f"no user {wanted!r} in the image's /etc/passwd")
        uid = int(entry[2]) if entry and wanted else int(wanted or 0)
        if group:
            row = next((row for row in _table(root, "group") if group in (row[0], row[2])), None)
            if row is None and not group.isdigit():
                raise Refused(f"no group {group!r} in the image's /etc/group")
            entry = [name, "", "", row[2] if row else group]
    if entry is not None:
        gid, name = int(entry[3]), entry[0]
    if security.HasField("run_as_group"):
        gid = security.run_as_group.value
    groups = list(security.supplemental_groups)
    if security.supplemental_groups_policy == cri.Merge and name:
        groups += [int(row[2]) for row in _table(root, "group") if len(row) > 3 and name in row[3].split(",")]
    return {"uid": uid, "gid": gid, "additionalGids": sorted({gid, *groups}), "umask": 0o022}


def capabilities(security: Any) -> dict[str, list[str]]:
    """The OCI capability sets. Raises Refused for a name that is none."""
    if security.privileged:
        names = set(ALL_CAPABILITIES)
    else:
        names = set(DEFAULT_CAPABILITIES)
        for added in security.capabilities.add_capabilities:
            names |= set(ALL_CAPABILITIES) if added.upper() == "ALL" else {added.upper().removeprefix("CAP_")}
        dropped = {name.upper().removeprefix("CAP_") for name in security.capabilities.drop_capabilities}
        if "ALL" in dropped:
            wanted = {name.upper().removeprefix("CAP_") for name in security.capabilities.add_capabilities}
            names = set(ALL_CAPABILITIES) if "ALL" in wanted else wanted
        names -= dropped
    if unknown := names - set(ALL_CAPABILITIES):
        raise Refused(f"capabilities.add: unknown {', '.join(sorted(unknown))}")
    full = [f"CAP_{name}" for name in ALL_CAPABILITIES if name in names]
    sets = {"bounding": full, "effective": full, "permitted": full}
    ambient = [f"CAP_{name.upper().removeprefix('CAP_')}" for name in security.capabilities.add_ambient_capabilities]
    return {**sets, "inheritable": ambient, "ambient": ambient} if ambient else sets


def environment(config: Any, image: Image, hostname: str, tty: bool) -> list[str]:
    """PATH and HOSTNAME, then the image's, then the container's; the later wins."""
    found = {"PATH": PATH, "HOSTNAME": hostname}
    if tty:
        found["TERM"] = "xterm"
    for item in image.env:
        key, _, value = item.partition("=")
        found[key] = value
    found.update((item.key, item.value) for item in config.envs)
    return [f"{key}={value}" for key, value in found.items()]


def arguments(config: Any, image: Image) -> list[str]:
    """command replaces the image's entrypoint and drops its cmd; args replace its cmd. Raises Refused when empty."""
    command, args = list(config.command), list(config.args)
    if not command:
        command = list(image.entrypoint)
        args = args or list(image.cmd)
    if not command + args:
        raise Refused("no command specified: neither the container nor its image has one")
    return command + args


def _devices(config: Any, privileged: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(linux.devices, linux.resources.devices)."""
    if privileged:
        return _host_devices(), [{"allow": True, "access": "rwm"}]
    made, rules = [], [{"allow": False, "access": "rwm"}]
    for device in config.devices:
        info = _device(device.host_path, device.container_path)
        made.append(info)
        rules.append(
            {"allow": True, "access": device.permissions or "rwm", **{k: info[k] for k in ("type", "major", "minor")}}
        )
    return made, rules


def _device(host_path: str, path: str) -> dict[str, Any]:
    try:
        info = os.stat(host_path)
    except OSError as error:
        raise Refused(f"device {host_path}: {error.strerror}") from error
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c"
    numbers = {"major": os.major(info.st_rdev), "minor": os.minor(info.st_rdev)}
    return {
        "path": path,
        "type": kind,
        **numbers,
        "fileMode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
    }


def _host_devices() -> list[dict[str, Any]]:
    found = []
    for entry in Path("/dev").iterdir():
        mode = entry.lstat().st_mode
        if (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)) and entry.name not in ("ptmx", "console"):
            found.append(_device(str(entry), str(entry)))
    return found


def resources(linux: Any, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """linux.resources of the OCI specification from CRI's; zero means unset."""
    found: dict[str, Any] = {"devices": rules}
    cpu = {"shares": linux.cpu_shares, "quota": linux.cpu_quota, "period": linux.cpu_period}
    named = {"cpus": linux.cpuset_cpus, "mems": linux.cpuset_mems}
    if chosen := {key: value for key, value in {**cpu, **named}.items() if value}:
        found["cpu"] = chosen
    memory = {"limit": linux.memory_limit_in_bytes, "swap": linux.memory_swap_limit_in_bytes}
    if chosen := {key: value for key, value in memory.items() if value}:
        found["memory"] = chosen
    if linux.hugepage_limits:
        found["hugepageLimits"] = [{"pageSize": item.page_size, "limit": item.limit} for item in linux.hugepage_limits]
    return found


@cache
def least_oom_score() -> int:
    """The least oom_score_adj that may be given: our own where the kernel does not let us lower it (within a container)."""
    file = Path("/proc/self/oom_score_adj")
    own = int(file.read_text())
    try:
        file.write_text(str(max(OOM_LEAST, own - 1)))
        file.write_text(str(own))
    except OSError:
        return own
    return OOM_LEAST


def refuse_unsupported(config: Any) -> None:
    """Raise Refused for what this runtime does not do."""
    security = config.linux.security_context
    if config.CDI_devices:
        raise Refused("CDI_devices are not supported")
    if any(security.selinux_options.ListFields()):
        raise Refused("securityContext.seLinuxOptions is not supported")
    if security.apparmor.profile_type == cri.Localhost:
        raise Refused("securityContext.appArmorProfile Localhost is not supported")
    if security.seccomp.profile_type == cri.Localhost:
        raise Refused("securityContext.seccompProfile Localhost is not supported")
    if security.namespace_options.userns_options.uids:
        raise Refused("hostUsers: false (user namespaces) is not supported")
    if any(mount.HasField("image") for mount in config.mounts):
        raise Refused("volumes.image is not supported")


def volume_mounts(config: Any) -> list[dict[str, Any]]:
    """CRI mounts as OCI binds, outer before inner. Raises Refused for a source that is not there."""
    found = []
    for item in sorted(config.mounts, key=lambda m: m.container_path.count("/")):
        source = os.path.realpath(item.host_path)
        if not os.path.exists(source):
            raise Refused(f"mount {item.container_path}: {item.host_path} does not exist")
        access = "ro" if item.readonly else "rw"
        found.append(_mount(item.container_path, "bind", source, "rbind", access, PROPAGATION[item.propagation]))
    return found


def spec(config: Any, image: Image, root: Path, *, hostname: str, namespaces: list[dict[str, str]],
         cgroup: str, extra_mounts: list[dict[str, Any]], sysctls: dict[str, str]) -> dict[str, Any]:  # fmt: skip
    """The content of config.json.

    root: the mounted root file system. namespaces: OCI entries (type, path). cgroup: cgroupsPath. extra_mounts: the
    sandbox's files (/etc/hostname, /etc/resolv.conf, /dev/shm) and masks, before the volumes.
    """
    refuse_unsupported(config)
    security = config.linux.security_context
    host_network = not any(entry["type"] == "network" for entry in namespaces)
    devices, rules = _devices(config, security.privileged)
    linux: dict[str, Any] = {
        "namespaces": namespaces,
        "cgroupsPath": cgroup,
        "resources": resources(config.linux.resources, rules),
        "devices": devices,
        "rootfsPropagation": "rslave" if any(m.propagation for m in config.mounts) else "rprivate",
    }
    if not security.privileged:
        linux["maskedPaths"] = list(security.masked_paths) or MASKED
        linux["readonlyPaths"] = list(security.readonly_paths) or READ_ONLY
        if security.HasField("seccomp") and security.seccomp.profile_type == cri.RuntimeDefault:
            linux["seccomp"] = default_profile(capabilities(security)["bounding"])
    if sysctls:
        linux["sysctl"] = sysctls
    process = {
        "terminal": config.tty,
        "user": user(security, image, root),
        "args": arguments(config, image),
        "env": environment(config, image, hostname, config.tty),
        "cwd": config.working_dir or image.workdir or "/",
        "capabilities": capabilities(security),
        "noNewPrivileges": security.no_new_privs,
        "oomScoreAdj": max(config.linux.resources.oom_score_adj, least_oom_score()),
    }
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(root), "readonly": security.readonly_rootfs},
        "mounts": base_mounts(security.privileged, host_network) + extra_mounts + volume_mounts(config),
        "linux": linux,
        "annotations": dict(config.annotations),
    }
