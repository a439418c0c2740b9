"""Rules as iptables-restore reads them (`--noflush`).

One text per IP family: tables in the order mangle, nat, raw; in each its new chains, then the rules in order.
Not here: which rules there are (tables.py), running anything (apply.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mizzen.cni.rules.rule import Action, Match, Rule

TABLES = ("mangle", "nat", "raw")
PREFIX = "ISTIO_"

# How a condition reads; a negation stands before its option.
CONDITIONS = {
    "iif": "{n}-i {v}",
    "oif": "{n}-o {v}",
    "src": "{n}-s {v}",
    "dst": "{n}-d {v}",
    "proto": "{n}-p {v}",
    "dport": "{n}--dport {v}",
    "sport": "{n}--sport {v}",
    "dports": "-m multiport {n}--dports {v}",
    "uid": "-m owner {n}--uid-owner {v}",
    "gid": "-m owner {n}--gid-owner {v}",
    "mark": "-m mark {n}--mark {v}",
    "connmark": "-m connmark {n}--mark {v}",
    "ctstate": "-m conntrack {n}--ctstate {v}",
}
ACTIONS = {
    "return": "RETURN",
    "accept": "ACCEPT",
    "drop": "DROP",
    "jump": "{v}",
    "redirect": "REDIRECT --to-ports {v}",
    "tproxy": "TPROXY --tproxy-mark {m}/0xffffffff --on-port {v}",
    "mark": "MARK --set-mark {v}",
    "ctzone": "CT --zone {v}",
    "savemark": "CONNMARK --save-mark",
    "restoremark": "CONNMARK --restore-mark",
}


def condition(match: Match) -> str:
    return CONDITIONS[match.kind].format(n="! " if match.negated else "", v=match.value)


def target(action: Action) -> str:
    return ACTIONS[action.kind].format(v=action.value, m=action.mark)


def specification(rule: Rule) -> str:
    """A rule without its verb and chain: what -A, -C and -D take."""
    return " ".join([*map(condition, rule.matches), "-j", target(rule.action)])


def line(rule: Rule) -> str:
    verb = f"-A {rule.chain}" if rule.at is None else f"-I {rule.chain} {rule.at}"
    return f"{verb} {specification(rule)}"


def own_chains(rules: Iterable[Rule]) -> list[str]:
    """Chains of our own that rules fill or jump to, in order of appearance."""
    named = (name for rule in rules for name in (rule.chain, rule.action.value if rule.action.kind == "jump" else ""))
    return list(dict.fromkeys(name for name in named if name.startswith(PREFIX)))


def iptables_text(
    rules: Iterable[Rule], family: int, existing: Collection[tuple[str, str]] = (), tables: Iterable[str] = TABLES
) -> str:
    """The input of iptables-restore (family 4) or ip6tables-restore (6), without the `existing` (table, chain)."""
    mine = [rule for rule in rules if family in rule.families]
    lines: list[str] = []
    for table in tables:
        inside = [rule for rule in mine if rule.table == table]
        if inside:
            fresh = [name for name in own_chains(inside) if (table, name) not in existing]
            lines += [f"*{table}", *(f"-N {name}" for name in fresh), *map(line, inside), "COMMIT"]
    return "".join(f"{text}\n" for text in lines)
