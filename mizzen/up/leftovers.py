"""What a mesh of one home has on this machine outside its folder: found by name and mark, told or removed.

Everything that the node makes carries the home's tag (mizzen/cni/names.py) or lies below the home. Removing is the node's
own clean-up; telling is for tests and the demo, and looks with other eyes: the kernel's lists, not the node's records.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from mizzen.cni.names import bridge_name, cgroup_root, chain_prefix, home_tag


def leftovers(home: Path) -> list[str]:
    """Processes, namespaces, interfaces, mounts, rules and cgroups of the home that are there now; [] when it is clean."""
    home = home.resolve()
    tag = home_tag(home)
    return [*_processes(home), *_namespaces(tag), *_interfaces(tag), *_mounts(home), *_rules(tag), *_cgroups(tag)]


def clear(home: Path) -> None:
    """Removes all of it."""
    from mizzen.runtime.cleanup import cleanup

    if home.is_dir():
        cleanup(home)


def _processes(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        mine = str(home).encode()
        ours = any(word == mine or word.startswith(mine + b"/") for word in words)
        if ours and b"mizzen" in b" ".join(words[:4]):
            found.append(f"process {entry.name}: {b' '.join(words).decode(errors='replace').strip()[:120]}")
    return found


def _namespaces(tag: str) -> list[str]:
    folder = Path("/run/netns")
    return (
        [f"network namespace {path.name}" for path in folder.iterdir() if tag in path.name] if folder.is_dir() else []
    )


def _interfaces(tag: str) -> list[str]:
    text = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True, text=True).stdout
    names = [link["ifname"] for link in json.loads(text)]
    return [f"interface {name}" for name in names if name == bridge_name(tag) or name.startswith(f"mz{tag}")]


def _mounts(home: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines]
    return [f"mount {target}" for target in targets if target.startswith(f"{home}/")]


def _rules(tag: str) -> list[str]:
    text = subprocess.run(["iptables-save"], capture_output=True, text=True).stdout
    return [f"iptables {line}" for line in text.splitlines() if chain_prefix(tag) in line or bridge_name(tag) in line]


def _cgroups(tag: str) -> list[str]:
    name = cgroup_root(tag).strip("/")
    root = Path("/sys/fs/cgroup")
    return [f"cgroup {path}" for path in [root / name, *root.glob(f"*/{name}")] if path.exists()]
