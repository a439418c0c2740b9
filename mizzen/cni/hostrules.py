"""The host's iptables rules for a pod network: masquerade what leaves it, let it be forwarded.

Pure texts plus one function that applies them. Every chain carries the home's prefix.
"""

from __future__ import annotations

import subprocess


def run(command: list[str], text: str | None = None) -> str:
    """Run an iptables command; raises OSError with what it said."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def host_rules(prefix: str, bridge: str, subnet: str, saved: str) -> str:
    """The `iptables-restore --noflush` text; jumps that `saved` (iptables-save) has already are left out."""

    def jump(chain: str, target: str) -> list[str]:
        present = any(line.startswith(f"-A {chain} ") and line.endswith(f"-j {target}") for line in saved.splitlines())
        return [] if present else [f"-I {chain} 1 -j {target}"]

    lines = ["*nat", f":{prefix}MASQ - [0:0]", *jump("POSTROUTING", f"{prefix}MASQ")]
    lines += [
        f"-A {prefix}MASQ -s {subnet} -d {subnet} -j RETURN",
        f"-A {prefix}MASQ -s {subnet} -d 224.0.0.0/4 -j RETURN",
    ]
    lines += [f"-A {prefix}MASQ -s {subnet} -j MASQUERADE", "COMMIT"]
    lines += ["*filter", f":{prefix}FWD - [0:0]", *jump("FORWARD", f"{prefix}FWD")]
    lines += [f"-A {prefix}FWD -i {bridge} -j ACCEPT", f"-A {prefix}FWD -o {bridge} -j ACCEPT", "COMMIT", ""]
    return "\n".join(lines)


def apply_host_rules(prefix: str, bridge: str, subnet: str) -> None:
    """Make the host's rules so; doing it again changes nothing."""
    saved = run(["iptables-save"])
    text = host_rules(prefix, bridge, subnet, saved)
    if all(line in saved for line in text.splitlines() if line.startswith("-A")) and "-I" not in text:
        return
    run(["iptables-restore", "-w", "5", "--noflush"], text)


def removal(prefix: str, saved: str) -> str:
    """The `iptables-restore --noflush` text that removes every chain with prefix, and every rule that jumps to one."""
    out: list[str] = []
    table: list[str] = []
    chains: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains = [line], []
        elif line.startswith(f":{prefix}"):
            chains.append(line[1:].split()[0])
        elif line.startswith("-A ") and not line.startswith(f"-A {prefix}") and f" {prefix}" in line:
            table.append("-D" + line[2:])
        elif line == "COMMIT" and (chains or len(table) > 1):
            flush = [f"-F {chain}" for chain in chains]
            out += [*table, *flush, *(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join([*out, ""]) if out else ""


def remove_chains(prefix: str) -> None:
    """Remove all chains with prefix from all tables."""
    if text := removal(prefix, run(["iptables-save"])):
        run(["iptables-restore", "-w", "5", "--noflush"], text)
