"""Rules as `nft -f` reads them: three tables of family inet, flushed and filled anew in one transaction.

IPv4 and IPv6 rules stand side by side; each has a counter. Source: Istio's native nftables backend (names of tables and
chains are its own). Not here: which rules there are (tables.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from mizzen.cni.rules.iptables import TABLES, own_chains
from mizzen.cni.rules.rule import V6, Action, Match, Rule

BASE = {
    ("nat", "PREROUTING"): "type nat hook prerouting priority -100; policy accept;",
    ("nat", "OUTPUT"): "type nat hook output priority -100; policy accept;",
    ("mangle", "PREROUTING"): "type filter hook prerouting priority -150; policy accept;",
    ("mangle", "OUTPUT"): "type route hook output priority -150; policy accept;",
    ("raw", "PREROUTING"): "type filter hook prerouting priority -300; policy accept;",
    ("raw", "OUTPUT"): "type filter hook output priority -300; policy accept;",
}
NAMES = {"iif": "iifname", "oif": "oifname", "uid": "meta skuid", "gid": "meta skgid", "mark": "meta mark"}


def nft_table(table: str) -> str:
    return f"istio-proxy-{table}"


def nft_chain(chain: str) -> str:
    return chain.lower().replace("_", "-")


def condition(match: Match, proto: str, address: str) -> str:
    """One condition; `proto` is the rule's transport, `address` its `ip` or `ip6`."""
    equal = "!= " if match.negated else ""
    kind, value = match.kind, match.value
    if kind in ("iif", "oif"):
        return f'{NAMES[kind]} {equal}"{value}"'
    if kind in ("src", "dst"):
        return f"{address} {kind[0]}addr {equal}{value}"
    if kind == "proto":
        return f"meta l4proto {equal}{value}"
    if kind in ("dport", "sport"):
        return f"{proto} {kind} {equal}{value}"
    if kind == "dports":
        return f"{proto} dport {equal}{{ {', '.join(value.split(','))} }}"
    if kind == "connmark":
        return f"ct mark {equal}{value}"
    if kind == "ctstate":
        return f"ct state {equal}{value.lower()}"
    return f"{NAMES[kind]} {equal}{value}"


def target(action: Action, address: str) -> str:
    statements = {
        "jump": f"jump {nft_chain(action.value)}",
        "redirect": f"redirect to :{action.value}",
        "tproxy": f"meta mark set {action.mark} tproxy {address} to :{action.value} accept",
        "mark": f"meta mark set {action.value}",
        "ctzone": f"ct zone set {action.value}",
        "savemark": "ct mark set meta mark",
        "restoremark": "meta mark set ct mark",
    }
    return statements.get(action.kind, action.kind)


def statement(rule: Rule) -> str:
    """A rule without its table and chain."""
    proto = next((match.value for match in rule.matches if match.kind == "proto"), "")
    address = "ip6" if rule.families == (V6,) else "ip"
    parts = [condition(match, proto, address) for match in rule.matches]
    return " ".join([*parts, "counter", target(rule.action, address)])


def ordered(rules: Iterable[Rule]) -> list[Rule]:
    """Rules of one chain in their final order: a rule with `at` goes to that place among those before it."""
    everything: list[Rule] = []
    for rule in rules:
        if rule.at is None:
            everything.append(rule)
            continue
        # Places are counted per family, as iptables has a list for each.
        family = rule.families[0]
        seen = [index for index, other in enumerate(everything) if family in other.families]
        place = seen[rule.at - 1] if rule.at <= len(seen) else len(everything)
        everything.insert(place, rule)
    return everything


def nftables_text(rules: Iterable[Rule]) -> str:
    """The whole input of `nft -f -`. Applying it twice gives the same."""
    everything = list(rules)
    lines: list[str] = []
    for table in TABLES:
        inside = [rule for rule in everything if rule.table == table]
        if not inside:
            continue
        name = nft_table(table)
        lines += [f"add table inet {name}", f"flush table inet {name}"]
        chains = list(
            dict.fromkeys([*(rule.chain for rule in inside if (table, rule.chain) in BASE), *own_chains(inside)])
        )
        for chain in chains:
            hook = BASE.get((table, chain))
            lines.append(f"add chain inet {name} {nft_chain(chain)}" + (f" {{ {hook} }}" if hook else ""))
        for chain in chains:
            texts = map(statement, ordered(rule for rule in inside if rule.chain == chain))
            lines += [f"add rule inet {name} {nft_chain(chain)} {text}" for text in texts]
    return "".join(f"{line}\n" for line in lines)


def nftables_cleanup() -> str:
    """Removes the three tables, whether or not they are there."""
    return "".join(f"add table inet {nft_table(t)}\ndelete table inet {nft_table(t)}\n" for t in TABLES)
