"""Puts rules into the kernel: iptables-restore or nft, in this network namespace or in a named one.

Applying what is already there changes nothing. Not here: what the rules are (tables.py).
"""

from __future__ import annotations

import logging
import subprocess
from collections import Counter
from collections.abc import Sequence

import msgspec

from mizzen.cni.rules.config import CaptureConfig
from mizzen.cni.rules.errors import CaptureError
from mizzen.cni.rules.iptables import PREFIX, TABLES, iptables_text, own_chains, specification
from mizzen.cni.rules.nftables import nftables_cleanup, nftables_text
from mizzen.cni.rules.rule import V4, V6, Rule
from mizzen.cni.rules.tables import capture_rules

log = logging.getLogger("mizzen.cni.rules")

BINARIES = {V4: "iptables", V6: "ip6tables"}
GUARD = "ISTIO_GUARDRAIL"


class Namespace(msgspec.Struct, frozen=True):
    """Where commands run: this network namespace, or the one at `path`; `binary` replaces the word iptables."""

    path: str | None = None
    binary: str | None = None

    def iptables(self, family: int, suffix: str = "") -> str:
        name = self.binary or BINARIES[V4]
        return (name.replace("iptables", "ip6tables") if family == V6 else name) + suffix

    def run(self, argv: Sequence[str], text: str = "", *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command there; raises CaptureError when it fails (and check is on) or is missing."""
        inside = ["nsenter", f"--net={self.path}", "--"] if self.path else []
        try:
            done = subprocess.run([*inside, *argv], input=text, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise CaptureError(argv[0], "is not installed") from error
        if check and done.returncode:
            raise CaptureError(" ".join(argv), done.stderr.strip() or f"exit status {done.returncode}")
        return done


class State(msgspec.Struct, frozen=True):
    """What one family's iptables-save says of our chains."""

    chains: frozenset[tuple[str, str]]
    counts: dict[tuple[str, str], int]  # rules per (table, chain of ours)
    lines: tuple[tuple[str, str], ...]  # (table, text) of every rule that names one of our chains


def read_state(where: Namespace, family: int) -> State:
    return parse_state(where.run([where.iptables(family, "-save")]).stdout)


def parse_state(saved: str) -> State:
    table, chains, counts, lines = "", set(), Counter[tuple[str, str]](), []
    for text in saved.splitlines():
        if text.startswith("*"):
            table = text[1:]
        elif text.startswith(f":{PREFIX}"):
            chains.add((table, text[1:].split()[0]))
        elif text.startswith("-A ") and PREFIX in text:
            lines.append((table, text))
            if text.startswith(f"-A {PREFIX}"):
                counts[table, text.split()[1]] += 1
    return State(frozenset(chains), dict(counts), tuple(lines))


def same(where: Namespace, state: State, rules: Sequence[Rule], family: int) -> bool:
    """Whether exactly these rules are there: as many in each chain of ours, and each one found."""
    mine = [rule for rule in rules if family in rule.families]
    wanted = Counter((rule.table, rule.chain) for rule in mine if rule.chain.startswith(PREFIX))
    if dict(wanted) != state.counts:
        return False
    for rule in mine:
        argv = [where.iptables(family), "-w", "-t", rule.table, "-C", rule.chain, *specification(rule).split()]
        if where.run(argv, check=False).returncode:
            return False
    return True


def apply(
    config: CaptureConfig,
    netns: str | None = None,
    *,
    native_nftables: bool = False,
    reconcile: bool = False,
    force: bool = False,
    binary: str | None = None,
) -> None:
    """Makes a pod's interception hold.

    `netns`: path of a network namespace (None: this one). `reconcile`: rules of ours that differ are replaced behind a
    guard that drops traffic meanwhile; without it they are added on top with a warning. `force` skips the comparison.
    Raises CaptureError.
    """
    where, rules = Namespace(netns, binary), capture_rules(config)
    if config.with_ipv6:
        where.run(["ip", "-6", "addr", "replace", "::6/128", "dev", "lo"])
    if native_nftables:
        where.run(["nft", "-f", "-"], nftables_text(rules))
    else:
        for family in (V4, V6) if config.with_ipv6 else (V4,):
            apply_family(where, rules, family, reconcile=reconcile, force=force)
    if config.tproxy:
        route_marked(where, config)


def apply_family(where: Namespace, rules: Sequence[Rule], family: int, *, reconcile: bool, force: bool) -> None:
    state = read_state(where, family)
    if state.chains and not force and same(where, state, rules, family):
        log.info("interception rules are in place already (IPv%d)", family)
        return
    if state.chains and reconcile:
        guard(where, family, "-I")
        try:
            remove_family(where, family, state)
            restore(where, rules, family, frozenset())
        finally:
            guard(where, family, "-D")
        return
    if state.chains:
        log.warning("other interception rules are there already (IPv%d); these are added on top of them", family)
    restore(where, rules, family, state.chains)


def restore(where: Namespace, rules: Sequence[Rule], family: int, existing: frozenset[tuple[str, str]]) -> None:
    text = iptables_text(rules, family, existing)
    log.debug("%s\n%s", where.iptables(family, "-restore"), text)
    where.run([where.iptables(family, "-restore"), "--noflush", "-w"], text)


def guard(where: Namespace, family: int, verb: str) -> None:
    """Drops new and passing packets while rules are exchanged."""
    for chain in ("INPUT", "OUTPUT", "FORWARD"):
        comment = ["-m", "comment", "--comment", GUARD]
        where.run([where.iptables(family), "-w", "-t", "filter", verb, chain, *comment, "-j", "DROP"])


def remove_family(where: Namespace, family: int, state: State) -> None:
    """Removes our chains and every rule that jumps to them."""
    lines: list[str] = []
    for table in TABLES:
        chains = sorted(name for place, name in state.chains if place == table)
        outside = [text for place, text in state.lines if place == table and not text.startswith(f"-A {PREFIX}")]
        if chains or outside:
            lines += [f"*{table}", *(f"-D{text[2:]}" for text in outside)]
            lines += [*(f"-F {name}" for name in chains), *(f"-X {name}" for name in chains), "COMMIT"]
    if lines:
        where.run([where.iptables(family, "-restore"), "--noflush", "-w"], "".join(f"{line}\n" for line in lines))


def cleanup(
    config: CaptureConfig, netns: str | None = None, *, native_nftables: bool = False, binary: str | None = None
) -> None:
    """Removes what `apply` made: our chains, the rules of `config` in the kernel's own chains, routes of TPROXY."""
    where, rules = Namespace(netns, binary), capture_rules(config)
    if native_nftables:
        where.run(["nft", "-f", "-"], nftables_cleanup())
    else:
        for family in (V4, V6) if config.with_ipv6 else (V4,):
            state = read_state(where, family)
            remove_family(where, family, state)
            for rule in rules:
                if family in rule.families and not rule.chain.startswith(PREFIX) and not own_chains([rule]):
                    argv = [
                        where.iptables(family),
                        "-w",
                        "-t",
                        rule.table,
                        "-D",
                        rule.chain,
                        *specification(rule).split(),
                    ]
                    where.run(argv, check=False)
    if config.tproxy:
        for option in families(config):
            where.run(["ip", option, "rule", "del", *rule_words(config)], check=False)
            where.run(["ip", option, "route", "flush", "table", config.tproxy_route_table], check=False)


def families(config: CaptureConfig) -> list[str]:
    return ["-4", "-6"] if config.with_ipv6 else ["-4"]


def rule_words(config: CaptureConfig) -> list[str]:
    return ["fwmark", config.tproxy_mark, "lookup", config.tproxy_route_table]


def route_marked(where: Namespace, config: CaptureConfig) -> None:
    """Marked packets are delivered locally, whatever their destination."""
    for family in families(config):
        have = where.run(["ip", family, "rule", "show", *rule_words(config)], check=False).stdout.strip()
        if not have:
            where.run(["ip", family, "rule", "add", *rule_words(config)])
        everything = "default" if family == "-4" else "::/0"
        where.run(
            ["ip", family, "route", "replace", "local", everything, "dev", "lo", "table", config.tproxy_route_table]
        )
