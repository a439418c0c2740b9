"""The runtime's default seccomp profile: everything but what changes the machine, unless a capability allows it.

Source: what container engines deny by default (module loading, kexec, clocks, mounts, namespaces, tracing of others, keyrings).
"""

from __future__ import annotations

import os
from typing import Any

ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}

# Capability that lifts the denial: system calls. "" is lifted by none.
DENIED = {
    "": "add_key keyctl request_key kexec_load kexec_file_load userfaultfd uselib ustat sysfs _sysctl nfsservctl vm86 vm86old",
    "CAP_SYS_ADMIN": "mount umount2 pivot_root setns unshare bpf fanotify_init lookup_dcookie quotactl quotactl_fd setdomainname "
    "sethostname swapon swapoff fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr perf_event_open",
    "CAP_SYS_MODULE": "init_module finit_module delete_module create_module get_kernel_syms query_module",
    "CAP_SYS_TIME": "settimeofday clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex stime",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp process_vm_readv process_vm_writev process_madvise",
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_NICE": "mbind set_mempolicy move_pages migrate_pages",
}


def default_profile(capabilities: list[str]) -> dict[str, Any]:
    """The OCI seccomp section for a process with these capabilities."""
    names = [name for needs, names in DENIED.items() if needs not in capabilities for name in names.split()]
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ARCHITECTURES.get(os.uname().machine, []),
        "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
