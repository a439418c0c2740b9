"""Names on this machine that belong to one home directory, so that two meshes never touch each other's.

The tag is six hexadecimal digits of the home's real path; every interface, chain, cgroup and namespace that the node
makes carries it. Interface names have 15 characters at most (IFNAMSIZ - 1), iptables chains 28.
"""

from __future__ import annotations

import hashlib
from pathlib import Path


def home_tag(home: str | Path) -> str:
    """Six hexadecimal digits for a home directory; the same for every spelling of its path."""
    return hashlib.sha256(str(Path(home).resolve()).encode()).hexdigest()[:6]


def bridge_name(tag: str) -> str:
    """The bridge that all pods of this home hang on."""
    return f"mz-{tag}"


def veth_name(tag: str, sandbox: str) -> str:
    """The host's end of a sandbox's veth pair."""
    return f"mz{tag}{hashlib.sha256(sandbox.encode()).hexdigest()[:7]}"


def chain_prefix(tag: str) -> str:
    """What every iptables chain of this home begins with."""
    return f"MZ-{tag}-"


def cgroup_root(tag: str) -> str:
    """The cgroup path, in every hierarchy, below which all containers of this home are."""
    return f"/mizzen-{tag}"
